//! What the dispatcher knows about its runners.

use longshore_conformance::simulated::{LaunchStep, ProbeStep, Refusal, Run, Script};
use longshore_core::ErrorKind;
use longshore_dispatch::{BreakerState, RunnerStatus};
use tokio::time::sleep;

use crate::support::*;

impl Scene {
    /// Returns the status of the first runner.
    fn status(&self) -> RunnerStatus {
        self.dispatcher.runner_status().swap_remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn the_launches_under_way_and_the_jobs_that_run_are_counted() {
    let slow = LaunchStep::Start { after: 10 * SECOND };
    let run = Run::exits(0, MINUTE);
    let runs = [run.clone(), run].into();
    let scene = scene([Script { runs, ..launches([slow, slow]) }, Script::default()]);
    let counts = || (scene.status().launching, scene.status().running);
    assert_eq!(counts(), (0, 0));
    let first = scene.dispatcher.submit(job()).await.unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(counts(), (1, 0));
    let second = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(counts(), (2, 0));
    sleep(6 * SECOND).await;
    assert_eq!(counts(), (1, 1));
    sleep(10 * SECOND).await;
    assert_eq!(counts(), (0, 2));
    first.end().await;
    second.end().await;
    assert_eq!(counts(), (0, 0));
    assert_eq!(scene.dispatcher.runner_status()[1].runner, name("second"));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_launch_is_cancelled_is_no_longer_counted() {
    let slow = LaunchStep::Start { after: 10 * MINUTE };
    let scene = scene([launches([slow])]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(scene.status().launching, 1);
    job.cancel();
    job.end().await;
    assert_eq!((scene.status().launching, scene.status().running), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_is_away_shows_why_and_when_it_is_asked_again() {
    let away = ProbeStep::Fail(Refusal::new(ErrorKind::Unavailable).retry_after(10 * SECOND));
    let script = Script { probes: [away, ProbeStep::Well].into(), ..Script::default() };
    let scene = scene([script, Script::default()]);
    let before = scene.status();
    assert_eq!(before.breaker, BreakerState::Closed);
    assert_eq!((before.last_error, before.last_probe), (None, None));
    scene.run(job()).await;
    let open = scene.status();
    let BreakerState::Open { error, retry_at } = &open.breaker else { panic!("{open:?}") };
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("simulated"), "{error:?}");
    assert!(*retry_at >= error.at);
    assert_eq!(open.last_error.as_ref().unwrap().kind, ErrorKind::Unavailable);
    assert_eq!(open.last_probe.as_ref().unwrap().error, open.last_error);
    // It is probed again although no job waits for it.
    sleep(MINUTE).await;
    let closed = scene.status();
    assert_eq!(closed.breaker, BreakerState::Closed);
    assert_eq!(closed.last_probe.unwrap().error, None);
    assert_eq!(closed.last_error, open.last_error, "the last error stays known");
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_is_full_shows_until_when() {
    let full = Refusal::new(ErrorKind::Saturated).retry_after(MINUTE);
    let scene = scene([launches([LaunchStep::Refuse(full)]), Script::default()]);
    scene.run(job()).await;
    let status = scene.status();
    let BreakerState::Full { error, .. } = &status.breaker else { panic!("{status:?}") };
    assert_eq!(error.kind, ErrorKind::Saturated);
    sleep(2 * MINUTE).await;
    assert_eq!(scene.status().breaker, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_a_person_asks_for_is_remembered_too() {
    let hangs = Script { probes: [ProbeStep::Hang].into(), ..Script::default() };
    let scene = scene([hangs]);
    scene.dispatcher.examine(&job()).await.unwrap();
    let error = scene.status().last_probe.unwrap().error.unwrap();
    assert!(error.message.contains("connectTimeout"), "{error:?}");
    assert_eq!(scene.status().breaker, BreakerState::Closed, "doctor changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_status_is_json_that_can_be_read_again() {
    let away = Refusal::new(ErrorKind::Unavailable).retry_after(MINUTE);
    let scene = scene([launches([LaunchStep::Refuse(away)]), Script::default()]);
    scene.run(job()).await;
    let status = scene.status();
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(written["breaker"]["state"], "open");
    assert_eq!(written["breaker"]["error"]["kind"], "Unavailable");
    assert_eq!(serde_json::from_value::<RunnerStatus>(written).unwrap(), status);
}

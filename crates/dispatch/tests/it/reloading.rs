//! Runners that are added, cordoned, drained and taken out while jobs are in flight.

use std::num::NonZeroU32;
use std::sync::Arc;

use futures::FutureExt;
use longshore_conformance::simulated::{LaunchStep, Run, Script};
use longshore_core::{ErrorKind, Outcome};
use longshore_dispatch::{BuildError, Dispatcher, Settings, Submission, WhenFull};
use tokio::time::sleep;

use crate::support::*;

/// Each of its jobs runs for a minute.
fn minutes() -> Script {
    Script { runs: vec![Run::exits(0, MINUTE); 5].into(), ..Script::default() }
}

fn names(dispatcher: &Dispatcher) -> Vec<String> {
    dispatcher.runners().iter().map(|runner| runner.name().to_string()).collect()
}

/// The dispatcher of a [`Scene`] has all of its runners; this leaves it only those at `kept`.
fn keep(scene: &Scene, kept: &[usize], settings: Settings) {
    let runners = kept.iter().map(|i| scene.runners[*i].clone());
    scene.dispatcher.reload(builder(runners).settings(settings)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_where_it_runs_though_its_runner_is_taken_out() {
    let scene = scene([minutes(), Script::default()]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    keep(&scene, &[1], Settings::default());
    assert_eq!(names(&scene.dispatcher), ["second"]);
    let next = scene.run(super::support::job()).await;
    assert_eq!(next.runner, Some(name("second")));
    let (first, id) = (name("first"), job.id().clone());
    let drained = scene.dispatcher.drain(&first);
    tokio::pin!(drained);
    assert!(drained.as_mut().now_or_never().is_none(), "a job is still there");
    scene.dispatcher.cancel(&id, None).await.unwrap();
    let result = job.end().await;
    assert!(matches!(result.outcome, Outcome::Cancelled { .. }), "{}", result.outcome);
    drained.await.unwrap();
    assert_eq!(scene.present(), 0, "it is removed from its runner");
    let gone = scene.dispatcher.cordon(&first).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::InvalidSpec);
    scene.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_a_place_goes_to_the_runners_of_the_moment_it_gets_one() {
    let mut one = Settings::default();
    one.max_jobs = NonZeroU32::MIN;
    let scene = scene_with(one.clone(), [minutes(), minutes(), minutes()]);
    let running = scene.dispatcher.submit(job()).await.unwrap();
    let waits = || Submission::new(job()).when_full(WhenFull::Wait(10 * MINUTE));
    let queued = scene.dispatcher.submit(waits()).await.unwrap();
    sleep(SECOND).await;
    keep(&scene, &[1, 2], one);
    let result = queued.end().await;
    assert_eq!(result.runner, Some(name("second")), "{:?}", result.passed_over);
    assert!(result.passed_over[0].message.contains("no longer configured"));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_a_reload_adds_is_given_at_once_and_none_is_taken_away() {
    let at_most = |count| {
        let mut settings = Settings::default();
        settings.max_jobs = NonZeroU32::new(count).unwrap();
        settings
    };
    let scene = scene_with(at_most(1), [minutes()]);
    let waits = || Submission::new(job()).when_full(WhenFull::Wait(10 * MINUTE));
    let mut jobs = vec![];
    for _ in 0..3 {
        jobs.push(scene.dispatcher.submit(waits()).await.unwrap());
    }
    let running = || scene.dispatcher.runner_status()[0].running;
    sleep(SECOND).await;
    assert_eq!(running(), 1);
    keep(&scene, &[0], at_most(2));
    sleep(SECOND).await;
    assert_eq!(running(), 2, "the counts of a runner go on");
    keep(&scene, &[0], at_most(1));
    jobs.remove(0).end().await;
    sleep(SECOND).await;
    assert_eq!(running(), 1);
    for job in jobs {
        assert!(job.end().await.outcome.is_success());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_runner_takes_no_job_and_keeps_those_it_has() {
    let scene = scene([minutes(), Script::default()]);
    let (first, dispatcher) = (name("first"), &scene.dispatcher);
    let job_there = dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    dispatcher.cordon(&first).unwrap();
    assert!(dispatcher.runner_status()[0].cordoned);
    // A reload does not end a cordon.
    keep(&scene, &[0, 1], Settings::default());
    let other = scene.run(job()).await;
    assert_eq!(other.runner, Some(name("second")));
    assert_eq!(other.passed_over[0].kind, ErrorKind::Unavailable.name());
    dispatcher.uncordon(&first).unwrap();
    let back = dispatcher.submit(job()).await.unwrap();
    assert!(job_there.end().await.outcome.is_success());
    assert_eq!(back.end().await.runner, Some(first));
}

/// Whatever has begun there is waited for; whatever has not goes elsewhere.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_launches_under_way_and_lets_no_job_in_from_the_queue_for_a_launch() {
    let mut one = Settings::default();
    one.max_concurrent_launches = NonZeroU32::MIN;
    let slow = Script { runs: minutes().runs, ..launches([LaunchStep::Start { after: MINUTE }]) };
    let scene = scene_with(one, [slow, Script::default()]);
    let launching = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    let queues = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    let first = name("first");
    let drained = scene.dispatcher.drain(&first);
    let order = async { tokio::join!(drained, async { launching.end().await }) };
    let (drained, there) = order.await;
    drained.unwrap();
    assert_eq!(there.runner, Some(first));
    assert_eq!(queues.end().await.runner, Some(name("second")));
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_runner_is_added_and_the_same_ones_are_kept() {
    let scene = scene([Script::default(), Script::default()]);
    keep(&scene, &[1], Settings::default());
    let kept = scene.dispatcher.runners();
    let new = scene.runners[0].clone();
    let next = Dispatcher::builder().runner(Arc::new(new)).runner(Arc::clone(&kept[0]));
    scene.dispatcher.reload(next).unwrap();
    assert_eq!(names(&scene.dispatcher), ["first", "second"]);
    assert!(Arc::ptr_eq(&scene.dispatcher.runners()[1], &kept[0]));
    assert_eq!(scene.run(job()).await.runner, Some(name("first")));
}

/// Its counts began at zero, and a drain did not wait for the job from before.
#[tokio::test(start_paused = true)]
async fn a_runner_that_was_taken_out_and_is_back_still_knows_its_jobs() {
    let scene = scene([minutes(), minutes()]);
    let (first, dispatcher) = (name("first"), &scene.dispatcher);
    let earlier = dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    keep(&scene, &[1], Settings::default());
    keep(&scene, &[0, 1], Settings::default());
    let status = &dispatcher.runner_status()[0];
    assert_eq!((status.running, status.cordoned), (1, false));
    let later = dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    dispatcher.drain(&first).await.unwrap();
    assert_eq!(scene.present(), 0, "the drain has waited for both");
    for job in [earlier, later] {
        assert_eq!(job.end().await.runner, Some(first.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_is_refused_changes_nothing() {
    let scene = scene([Script::default(), Script::default()]);
    let twice = [scene.runners[0].clone(), scene.runners[0].clone()];
    let error = scene.dispatcher.reload(builder(twice)).unwrap_err();
    assert_eq!(error, BuildError::DuplicateRunner(name("first")));
    assert_eq!(scene.dispatcher.reload(Dispatcher::builder()), Err(BuildError::NoRunner));
    assert_eq!(names(&scene.dispatcher), ["first", "second"]);
    assert_eq!(scene.run(job()).await.runner, Some(name("first")));
}

//! Runners that hang: in a launch, and in the events of a job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use longshore_conformance::Forward;
use longshore_conformance::simulated::{
    LaunchStep, ProbeStep, Run, Script, SettleStep, SimulatedRunner, What, Written,
};
use longshore_core::{
    Attempt, ErrorKind, Event, Handle, LaunchContext, LaunchError, LogPosition, Outcome, Result,
    Runner, Started,
};
use longshore_dispatch::{Dispatcher, Settings};
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

const HANG: LaunchStep = LaunchStep::Hang { effect: None };

/// Submits as many jobs as may be launched at once.
async fn fill(dispatcher: &Dispatcher) {
    for _ in 0..8 {
        dispatcher.submit(job()).await.unwrap();
    }
    sleep(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_behind_hung_launches_use_the_next_runner_within_seconds() {
    let scene = scene([launches([HANG; 8]), Script::default()]);
    fill(&scene.dispatcher).await;
    let began = Instant::now();
    let results = join_all((0..20).map(|_| scene.run(job()))).await;
    assert!(began.elapsed() < 15 * SECOND, "{:?}", began.elapsed());
    for result in results {
        assert!(result.outcome.is_success(), "{result:?}");
        assert_eq!(result.runner, Some(name("second")));
        let passed = &result.passed_over[0];
        assert_eq!((&passed.runner, passed.kind.as_str()), (&name("first"), "Unavailable"));
        assert!(passed.message.contains("(8) have reported nothing for 10s"), "{passed:?}");
    }
    scene.shut_down().await;
    assert_eq!(scene.count(|w| *w == What::Started), 28, "each job ran once");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_other_runner_takes_waits_for_the_one_that_hangs() {
    let slow = LaunchStep::Start { after: MINUTE };
    let scene = scene([launches([slow; 8]), refuses(ErrorKind::Saturated)]);
    fill(&scene.dispatcher).await;
    let result = scene.run(job()).await;
    assert!(result.outcome.is_success(), "{result:?}");
    assert_eq!(result.runner, Some(name("first")));
    let passed: Vec<_> = result.passed_over.iter().map(|p| p.runner.as_str()).collect();
    assert_eq!(passed, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_names_one_runner_waits_for_its_slow_launches() {
    let slow = LaunchStep::Start { after: MINUTE };
    let scene = scene([launches([slow; 8]), Script::default()]);
    fill(&scene.dispatcher).await;
    let mut spec = job();
    spec.runners = Some(vec![name("first")]);
    let result = scene.run(spec).await;
    assert_eq!(result.runner, Some(name("first")));
    assert!(result.passed_over.is_empty());
}

/// A runner whose launches report that they pull an image, and take ten minutes.
#[derive(Debug)]
struct Pulls(SimulatedRunner);

#[async_trait]
impl Forward for Pulls {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        context.events.emit(Event::Pulling { current: 0, total: None });
        self.0.launch(attempt, context).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_pull_is_no_hang_and_jobs_wait_for_it() {
    let slow = LaunchStep::Start { after: 10 * MINUTE };
    let scene = scene_through(Pulls, [launches([slow; 8]), Script::default()]);
    fill(&scene.dispatcher).await;
    let result = scene.run(job()).await;
    assert_eq!(result.runner, Some(name("first")));
    assert!(result.passed_over.is_empty(), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_never_returns_gives_up_its_slot_before_it_is_settled() {
    let mut settings = Settings::default();
    settings.max_concurrent_launches = 1.try_into().unwrap();
    let mut script = launches([HANG]);
    script.settles.extend([SettleStep::Hang; 100]);
    script.probes.extend([ProbeStep::Well, ProbeStep::Hang]);
    let scene = scene_with(settings, [script, Script::default()]);
    let hung = scene.dispatcher.submit(job()).await.unwrap();
    sleep(20 * MINUTE + 31 * SECOND).await;
    let began = Instant::now();
    let result = scene.run(job()).await;
    assert_eq!(result.runner, Some(name("second")));
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    let why = &result.passed_over[0].message;
    assert!(why.contains("neither by its deadline nor after its cancellation"), "{why}");
    assert!(matches!(hung.end().await.outcome, Outcome::Lost { .. }));
}

/// A runner whose events of a job report its start, and then nothing more.
#[derive(Debug)]
struct Silent(SimulatedRunner);

#[async_trait]
impl Forward for Silent {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    fn events(&self, _: &Handle) -> BoxStream<'static, Result<Event>> {
        stream::iter([Ok(Event::Started(None))]).chain(stream::pending()).boxed()
    }
}

fn silent(run: Run) -> Scene {
    scene_through(Silent, [Script { runs: [run].into(), ..Script::default() }])
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_whose_events_never_end_is_lost_after_lost_after() {
    let scene = silent(Run::endless());
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(60 * MINUTE).await;
    job.cancel_within(20 * SECOND);
    let began = Instant::now();
    let Outcome::Lost { message } = job.end().await.outcome else { panic!("not lost") };
    assert_eq!(began.elapsed(), 20 * SECOND + Settings::default().lost_after.get());
    assert!(message.contains("did not report the end of the job"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_job_past_its_timeout_whose_events_never_end_is_lost_after_lost_after() {
    let scene = silent(Run::endless());
    let mut spec = job();
    spec.timeout = Some("1h".parse().unwrap());
    spec.grace_period = Some("20s".parse().unwrap());
    let began = Instant::now();
    let outcome = scene.run(spec).await.outcome;
    assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
    assert_eq!(began.elapsed(), 60 * MINUTE + 20 * SECOND + Settings::default().lost_after.get());
}

#[tokio::test(start_paused = true)]
async fn output_that_is_followed_ends_though_the_events_never_do() {
    let lines = [Written::stdout(Duration::ZERO, Bytes::from("hello"))];
    let scene = silent(Run::exits(0, MINUTE).writing(lines));
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    let logs = scene.dispatcher.logs(job.id(), LogPosition::START, true).await.unwrap();
    let chunks = timeout(2 * MINUTE, logs.collect::<Vec<_>>()).await.expect("it never ended");
    assert_eq!(chunks.len(), 1);
}

/// A runner whose first stream of events reports nothing after the start.
#[derive(Debug)]
struct SilentOnce(SimulatedRunner, AtomicBool);

#[async_trait]
impl Forward for SilentOnce {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        if self.1.swap(true, Ordering::Relaxed) {
            return self.0.events(handle);
        }
        stream::iter([Ok(Event::Started(None))]).chain(stream::pending()).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_found_ended_once_its_events_are_opened_again() {
    let script = Script { runs: [Run::endless()].into(), ..Script::default() };
    let scene = scene_through(|runner| SilentOnce(runner, false.into()), [script]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(60 * MINUTE).await;
    let began = Instant::now();
    job.cancel_within(20 * SECOND);
    assert_eq!(job.end().await.outcome, Outcome::Cancelled { code: Some(143) });
    assert!(began.elapsed() < MINUTE, "{:?}", began.elapsed());
}

//! Jobs for which there is no place: among those in flight, or on any runner.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_conformance::simulated::{
    LaunchStep, Refusal, Run, Script, SimulatedRunner, What, World,
};
use longshore_core::{ErrorKind, JobResult, NotRunReason, Outcome};
use longshore_dispatch::{Dispatcher, Job, JobEvent, Settings, Submission, WhenFull};
use longshore_journal::{Filter, Journal, State};
use tokio::time::{Instant, timeout};

use crate::support::*;

/// One runner under a dispatcher with a journal that can be read.
struct Setup {
    world: World,
    runner: SimulatedRunner,
    journal: Journal,
    dispatcher: Dispatcher,
}

fn setup(settings: Settings, script: Script) -> Setup {
    let world = World::new();
    let runner = world.runner(name("only"), script);
    let journal = Journal::in_memory().unwrap();
    let builder = Dispatcher::builder().settings(settings).jitter_seed(1);
    let builder = builder.runner(Arc::new(runner.clone())).journal(journal.clone());
    Setup { world, runner, journal, dispatcher: builder.build().unwrap() }
}

/// At most `count` jobs are in flight.
fn at_most(count: u32) -> Settings {
    let mut settings = Settings::default();
    settings.max_jobs = NonZeroU32::new(count).unwrap();
    settings
}

/// Each job runs for ten seconds.
fn runs(count: usize) -> Script {
    Script { runs: vec![Run::exits(0, 10 * SECOND); count].into(), ..Script::default() }
}

fn waiting(patience: Duration) -> Submission {
    Submission::new(job()).when_full(WhenFull::Wait(patience))
}

/// Returns the names of the jobs, in the order of their launches.
async fn launched(dispatcher: &Dispatcher, count: usize) -> Vec<String> {
    let mut names = std::collections::HashMap::new();
    let mut launched = Vec::new();
    let mut events = dispatcher.subscribe();
    while launched.len() < count {
        let (id, event) = timeout(60 * MINUTE, events.next()).await.unwrap().unwrap().unwrap();
        match event {
            JobEvent::Submitted { spec } => {
                names.insert(id, spec.name.clone().unwrap());
            }
            JobEvent::Launching { .. } => launched.push(names[&id].clone()),
            _ => {}
        }
    }
    launched
}

fn not_run(result: &JobResult) -> &str {
    match &result.outcome {
        Outcome::NotRun { reason: NotRunReason::NoRunner, message } => message,
        other => panic!("{other:?}"),
    }
}

async fn events(job: &mut Job) -> Vec<String> {
    job.take_events().unwrap().map(|event| word(&event)).collect().await
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_does_not_wait_is_refused_and_not_recorded() {
    let setup = setup(at_most(1), runs(2));
    let refusing = || Submission::new(job()).when_full(WhenFull::Refuse);
    let first = setup.dispatcher.submit(refusing()).await.unwrap();
    let error = setup.dispatcher.submit(refusing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Saturated);
    assert_eq!(error.to_string(), "1 jobs are in flight (job.maxJobs)");
    assert_eq!(setup.journal.list(Filter::default()).await.unwrap().len(), 1);
    first.end().await;
    setup.dispatcher.submit(refusing()).await.unwrap().end().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_is_on_record_and_runs_as_soon_as_there_is_a_place() {
    let setup = setup(at_most(1), runs(2));
    let began = Instant::now();
    let first = setup.dispatcher.submit(waiting(MINUTE)).await.unwrap();
    let mut second = setup.dispatcher.submit(waiting(MINUTE)).await.unwrap();
    assert!(began.elapsed() < SECOND, "submit does not wait");
    let record = setup.dispatcher.record(second.id().as_str()).await.unwrap();
    assert_eq!(record.state(), State::Queued);
    first.end().await;
    assert_eq!(events(&mut second).await[..2], ["queued", "launching only"]);
    assert!(second.end().await.outcome.is_success());
    assert!((20 * SECOND..22 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_in_vain_ends_when_it_said() {
    let setup = setup(at_most(1), runs(1));
    let first = setup.dispatcher.submit(job()).await.unwrap();
    let began = Instant::now();
    let result = setup.dispatcher.submit(waiting(3 * SECOND)).await.unwrap().end().await;
    let message = "there was no place for 3s: 1 jobs are in flight (job.maxJobs)";
    assert_eq!(not_run(&result), message);
    assert!((3 * SECOND..4 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    let cancelled = setup.dispatcher.submit(waiting(MINUTE)).await.unwrap();
    cancelled.cancel();
    assert_eq!(cancelled.end().await.outcome, Outcome::Cancelled { code: None });
    assert!(first.end().await.outcome.is_success());
    assert_eq!(setup.runner.present(), 0);
    assert_eq!(setup.world.ledger().iter().filter(|e| e.what == What::Started).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn priorities_and_fair_shares_decide_who_is_next() {
    let mut settings = at_most(1);
    settings.fair_share_label = Some("tenant".to_owned());
    let setup = setup(settings, runs(8));
    let watching = setup.dispatcher.clone();
    let order = tokio::spawn(async move { launched(&watching, 7).await });
    tokio::task::yield_now().await;
    let submitted = [
        ("first", "red", 0),
        ("red-1", "red", 0),
        ("red-2", "red", 0),
        ("red-3", "red", 0),
        ("blue-1", "blue", 0),
        ("blue-2", "blue", 0),
        ("urgent", "red", 7),
    ];
    for (text, tenant, priority) in submitted {
        let mut spec = job();
        spec.name = Some(text.to_owned());
        spec.labels.insert("tenant".to_owned(), tenant.to_owned());
        let submission = Submission::new(spec).when_full(WhenFull::Wait(60 * MINUTE));
        setup.dispatcher.submit(submission.priority(priority)).await.unwrap();
    }
    let expected = ["first", "urgent", "blue-1", "red-1", "blue-2", "red-2", "red-3"];
    assert_eq!(order.await.unwrap(), expected);
    setup.dispatcher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_many_jobs_shares_the_places_with_the_others() {
    let mut settings = at_most(2);
    settings.fair_share_label = Some("tenant".to_owned());
    let setup = setup(settings, runs(10));
    let watching = setup.dispatcher.clone();
    let order = tokio::spawn(async move { launched(&watching, 6).await });
    tokio::task::yield_now().await;
    for (text, tenant) in
        [("a", "red"), ("b", "red"), ("c", "red"), ("d", "red"), ("x", "blue"), ("y", "blue")]
    {
        let mut spec = job();
        spec.name = Some(text.to_owned());
        spec.labels.insert("tenant".to_owned(), tenant.to_owned());
        let submission = Submission::new(spec).when_full(WhenFull::Wait(60 * MINUTE));
        setup.dispatcher.submit(submission).await.unwrap();
    }
    assert_eq!(order.await.unwrap(), ["a", "b", "x", "c", "y", "d"]);
    setup.dispatcher.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_a_runner_that_is_full_and_keeps_one_reason_for_it() {
    let full = || LaunchStep::Refuse(Refusal::new(ErrorKind::Saturated));
    // A wait that no clock can express has no end, and is a wait all the same.
    for patience in [60 * MINUTE, Duration::MAX] {
        let steps = (0..6).map(|_| full()).chain([LaunchStep::Start { after: SECOND }]);
        let setup = setup(Settings::default(), launches(steps));
        let submission = waiting(patience).relaunch_if_never_started();
        let result = setup.dispatcher.submit(submission).await.unwrap().end().await;
        assert!(result.outcome.is_success(), "{result:?}");
        let passed = &result.passed_over;
        assert_eq!((passed.len(), passed[0].kind.as_str()), (1, "Saturated"));
        let record = setup.dispatcher.record(result.job.as_str()).await.unwrap();
        assert_eq!(record.passed_over.len(), 1);
        assert!(record.relaunch.unwrap().until.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_stays_full_or_refuses_otherwise_ends_the_wait() {
    let full = LaunchStep::Refuse(Refusal::new(ErrorKind::Saturated));
    let began = Instant::now();
    let setup_full = setup(Settings::default(), launches(vec![full; 100]));
    let result = setup_full.dispatcher.submit(waiting(MINUTE)).await.unwrap().end().await;
    assert!(not_run(&result).starts_with("there was no place for 60s: "), "{result:?}");
    assert!(not_run(&result).contains("only: simulated: Saturated"), "{result:?}");
    assert!((MINUTE..MINUTE + SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    let away = LaunchStep::Refuse(Refusal::new(ErrorKind::Unavailable));
    let setup_away = setup(Settings::default(), launches([away]));
    let result = setup_away.dispatcher.submit(waiting(MINUTE)).await.unwrap().end().await;
    assert!(not_run(&result).starts_with("no runner took it"), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_a_bound() {
    let mut settings = at_most(1);
    settings.max_queued_jobs = 2;
    let setup = setup(settings, runs(3));
    for _ in 0..3 {
        setup.dispatcher.submit(waiting(MINUTE)).await.unwrap();
    }
    let error = setup.dispatcher.submit(waiting(MINUTE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Saturated);
    assert_eq!(error.to_string(), "2 jobs wait for a place (job.maxQueuedJobs)");
    setup.dispatcher.shutdown().await;
    let records = setup.journal.list(Filter::default()).await.unwrap();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.result.is_some()));
}

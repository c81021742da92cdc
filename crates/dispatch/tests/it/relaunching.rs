//! Jobs that go on by themselves after a restart, as long as nothing of them had started.

use std::num::NonZeroU32;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use longshore_conformance::simulated::{
    LaunchStep, Run, Script, SettleStep, SimulatedRunner, What, World,
};
use longshore_core::{ErrorKind, JobId, JobSpec, NotRunReason, Outcome, Secret, SecretSource};
use longshore_dispatch::{Dispatcher, Settings, Submission, WhenFull};
use longshore_journal::{Journal, NewJob, Relaunch, State};
use tokio::time::sleep;

use crate::support::*;

/// Services that follow each other, with the same runner and journal.
struct Setup {
    world: World,
    runner: SimulatedRunner,
    journal: Journal,
    settings: Settings,
}

impl Setup {
    fn new(script: Script) -> Self {
        let world = World::new();
        let runner = world.runner(name("only"), script);
        let journal = Journal::in_memory().unwrap();
        let max_jobs = NonZeroU32::new(1).unwrap();
        let mut settings = Settings::default();
        settings.max_jobs = max_jobs;
        Self { world, runner, journal, settings }
    }

    /// Starts a service.
    fn service(&self) -> Dispatcher {
        let builder = Dispatcher::builder().settings(self.settings.clone()).jitter_seed(1);
        let builder =
            builder.installation("here".parse().unwrap()).runner(Arc::new(self.runner.clone()));
        builder.journal(self.journal.clone()).build().unwrap()
    }

    fn started(&self, job: &JobId) -> usize {
        let of_job = |attempt: &str| attempt.starts_with(&format!("{job}-"));
        let ledger = self.world.ledger();
        ledger.iter().filter(|e| of_job(e.attempt.as_str()) && e.what == What::Started).count()
    }
}

fn relaunched() -> Submission {
    let submission = Submission::new(job()).when_full(WhenFull::Wait(60 * MINUTE));
    submission.relaunch_if_never_started()
}

async fn killed(service: Dispatcher) {
    service.abandon();
    service.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waited_for_a_place_goes_on_after_a_restart() {
    let setup =
        Setup::new(Script { runs: vec![Run::exits(0, MINUTE); 3].into(), ..Script::default() });
    let service = setup.service();
    let first = service.submit(job()).await.unwrap().id().clone();
    let second = service.submit(relaunched()).await.unwrap().id().clone();
    let third = service.submit(Submission::new(job()).when_full(WhenFull::Wait(MINUTE)));
    let third = third.await.unwrap().id().clone();
    sleep(SECOND).await;
    killed(service).await;
    let service = setup.service();
    // A look changes nothing: another process goes on with the job.
    assert_eq!(service.look(&second).await.unwrap().state(), State::Queued);
    let mut results = Vec::new();
    for job in [&first, &second, &third] {
        results.push(service.attach(job).await.unwrap().end().await);
    }
    assert!(results[0].outcome.is_success() && results[1].outcome.is_success(), "{results:?}");
    let interrupted = |outcome: &Outcome| {
        matches!(outcome, Outcome::NotRun { reason: NotRunReason::Interrupted, .. })
    };
    assert!(interrupted(&results[2].outcome), "{results:?}");
    assert_eq!([&first, &second, &third].map(|job| setup.started(job)), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_a_kill_interrupted_is_fenced_before_the_next_one() {
    let hang = LaunchStep::Hang { effect: None };
    let script = Script {
        launches: [hang].into(),
        runs: [Run::exits(3, MINUTE)].into(),
        ..Script::default()
    };
    let setup = Setup::new(script);
    let service = setup.service();
    let job = service.submit(relaunched()).await.unwrap().id().clone();
    sleep(SECOND).await;
    killed(service).await;
    let service = setup.service();
    let result = service.attach(&job).await.unwrap().end().await;
    assert_eq!(result.outcome.exit_code(), 3, "{result:?}");
    assert_eq!(result.attempt, Some(job.attempt(2)));
    assert_eq!(setup.started(&job), 1);
    let record = service.record(job.as_str()).await.unwrap();
    assert_eq!(record.attempts.len(), 2);
    service.remove(&job).await.unwrap();
    assert_eq!(setup.runner.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_may_have_started_is_followed_and_not_relaunched() {
    let lost = LaunchStep::Hang { effect: Some(SECOND) };
    let script = Script {
        launches: [lost].into(),
        settles: [SettleStep::Answer].into(),
        runs: [Run::exits(4, MINUTE)].into(),
        ..Script::default()
    };
    let setup = Setup::new(script);
    let service = setup.service();
    let job = service.submit(relaunched()).await.unwrap().id().clone();
    sleep(5 * SECOND).await;
    killed(service).await;
    let result = setup.service().attach(&job).await.unwrap().end().await;
    assert_eq!(result.outcome.exit_code(), 4, "{result:?}");
    assert_eq!((result.attempt, setup.started(&job)), (Some(job.attempt(1)), 1));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_what_waits_and_a_cancel_ends_it() {
    let setup =
        Setup::new(Script { runs: vec![Run::exits(0, MINUTE); 3].into(), ..Script::default() });
    let service = setup.service();
    service.submit(job()).await.unwrap();
    let waiting = service.submit(relaunched()).await.unwrap();
    let cancelled = service.submit(relaunched()).await.unwrap().id().clone();
    let id = waiting.id().clone();
    let closing = service.clone();
    let closed = tokio::spawn(async move { closing.shutdown().await });
    let stopped = waiting.wait().await.unwrap_err().to_string();
    assert!(stopped.contains("the job goes on when it is taken up"), "{stopped}");
    closed.await.unwrap();
    let service = setup.service();
    service.cancel(&cancelled, None).await.unwrap();
    let result = service.attach(&cancelled).await.unwrap().end().await;
    assert_eq!(result.outcome, Outcome::Cancelled { code: None });
    assert!(service.attach(&id).await.unwrap().end().await.outcome.is_success());
    assert_eq!([&id, &cancelled].map(|job| setup.started(job)), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_job_waits_goes_on_over_a_restart() {
    let setup = Setup::new(Script { runs: vec![Run::endless(); 2].into(), ..Script::default() });
    let mut new = NewJob::new("here".parse().unwrap(), job());
    new.runners = vec![name("only")];
    let mut how = Relaunch::new(0);
    how.until = Some(Timestamp::now() - SignedDuration::from_secs(1));
    new.relaunch = Some(how);
    let id = new.id.clone();
    // The process that submitted it is gone.
    drop(setup.journal.submit(new).await.unwrap());
    let service = setup.service();
    service.submit(job()).await.unwrap();
    let result = service.attach(&id).await.unwrap().end().await;
    let reason = result.outcome.to_string();
    assert!(reason.contains("there was no place for"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_only_this_process_knows_cannot_be_relaunched_and_what_is_gone_is_named() {
    let setup =
        Setup::new(Script { runs: vec![Run::exits(0, MINUTE); 2].into(), ..Script::default() });
    let service = setup.service();
    for submission in
        [relaunched().secret("TOKEN", Secret::new("x")), relaunched().with_stdin(&b"input"[..])]
    {
        let error = service.submit(submission).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec, "{error}");
    }
    let scene = scene([Script::default()]);
    let error = scene.dispatcher.submit(relaunched()).await.unwrap_err();
    assert!(error.to_string().contains("its record is in memory"), "{error}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let mut spec: JobSpec = job();
    let source = SecretSource::File(file.path().to_owned());
    spec.secret_env.insert("TOKEN".to_owned(), source);
    service.submit(job()).await.unwrap();
    let submission = Submission::new(spec).when_full(WhenFull::Wait(60 * MINUTE));
    let waiting =
        service.submit(submission.relaunch_if_never_started()).await.unwrap().id().clone();
    killed(service).await;
    drop(file);
    let result = setup.service().attach(&waiting).await.unwrap().end().await;
    let Outcome::NotRun { message, .. } = &result.outcome else { panic!("{result:?}") };
    assert!(message.contains("TOKEN"), "{message}");
}

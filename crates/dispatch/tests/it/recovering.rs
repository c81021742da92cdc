//! Jobs that outlive the dispatcher that submitted them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_conformance::simulated::{
    LaunchStep, Run, Script, SimulatedRunner, What, World, Written,
};
use longshore_core::{
    Capabilities, Capability, ErrorKind, JobId, LogChunk, LogPosition, NotRunReason, Outcome,
};
use longshore_dispatch::{Detached, Dispatcher, Fate, JobEvent, Settings, Submission};
use longshore_journal::{Filter, Journal, Options, State};
use tokio::time::{Instant, sleep, timeout};

use crate::support::*;

/// A backend and a journal that outlive their dispatchers.
pub struct Setup {
    world: World,
    pub runner: SimulatedRunner,
    pub journal: Journal,
}

impl Setup {
    pub fn new(script: Script) -> Self {
        let world = World::new();
        let runner = world.runner(name("first"), script);
        Self { world, runner, journal: Journal::in_memory().unwrap() }
    }

    pub fn running(run: Run) -> Self {
        let mut script = Script::default();
        script.runs.push_back(run);
        Self::new(script)
    }

    /// Creates the dispatcher of another process.
    pub fn dispatcher(&self) -> Dispatcher {
        self.dispatcher_with(Settings::default())
    }

    pub fn dispatcher_with(&self, settings: Settings) -> Dispatcher {
        Dispatcher::builder()
            .runner(Arc::new(self.runner.clone()))
            .settings(settings)
            .jitter_seed(1)
            .installation("here".parse().unwrap())
            .journal(self.journal.clone())
            .build()
            .unwrap()
    }

    fn count(&self, what: fn(&What) -> bool) -> usize {
        self.world.ledger().iter().filter(|e| what(&e.what)).count()
    }

    pub fn starts(&self) -> usize {
        self.count(|w| *w == What::Started)
    }

    async fn state(&self, job: &JobId) -> State {
        self.journal.record(job).await.unwrap().state()
    }

    /// Creates a job that started, and whose dispatcher was killed.
    pub async fn orphan(&self) -> JobId {
        let dispatcher = self.dispatcher();
        let mut job = dispatcher.submit(job()).await.unwrap();
        let id = job.id().clone();
        let mut events = job.take_events().unwrap();
        while !matches!(events.next().await.unwrap(), JobEvent::Started { .. }) {}
        kill(&dispatcher).await;
        id
    }
}

pub async fn kill(dispatcher: &Dispatcher) {
    dispatcher.abandon();
    timeout(MINUTE, dispatcher.shutdown()).await.unwrap();
}

pub async fn attached(dispatcher: &Dispatcher, job: &JobId) -> Outcome {
    dispatcher.attach(job).await.unwrap().end().await.outcome
}

pub const fn exited(code: i32) -> Outcome {
    Outcome::Exited { code, signal: None }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_is_followed_to_its_end_by_another_dispatcher() {
    let setup = Setup::running(Run::exits(7, 10 * MINUTE));
    let job = setup.orphan().await;
    assert_eq!(setup.state(&job).await, State::Running);
    assert_eq!(attached(&setup.dispatcher(), &job).await, exited(7));
    let record = setup.journal.record(&job).await.unwrap();
    assert_eq!(record.result.unwrap().outcome, exited(7));
    assert_eq!((setup.starts(), setup.runner.present()), (1, 1), "it stays, with its output");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_meanwhile_has_its_own_outcome() {
    let setup = Setup::running(Run::exits(3, MINUTE));
    let job = setup.orphan().await;
    sleep(20 * MINUTE).await;
    let began = Instant::now();
    assert_eq!(attached(&setup.dispatcher(), &job).await, exited(3));
    assert!(began.elapsed() < MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_job_deleted_meanwhile_is_lost() {
    let setup = Setup::running(Run::exits(0, 10 * MINUTE).vanishing(MINUTE));
    let job = setup.orphan().await;
    sleep(5 * MINUTE).await;
    let outcome = attached(&setup.dispatcher(), &job).await;
    assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_had_not_started_is_fenced_and_never_does() {
    let effect = Some(5 * MINUTE);
    let setup = Setup::new(launches([LaunchStep::Hang { effect }]));
    let first = setup.dispatcher();
    let id = first.submit(job()).await.unwrap().id().clone();
    sleep(MINUTE).await;
    kill(&first).await;
    let outcome = attached(&setup.dispatcher(), &id).await;
    let Outcome::NotRun { reason: NotRunReason::Interrupted, message } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(message.contains("before the job started"), "{message}");
    sleep(20 * MINUTE).await;
    assert_eq!((setup.starts(), setup.count(|w| *w == What::StartPrevented)), (0, 1));
    assert!(setup.journal.record(&id).await.unwrap().is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_dispatcher_lives_is_waited_for_and_not_touched() {
    let setup = Setup::running(Run::exits(5, 10 * MINUTE));
    let owner = setup.dispatcher();
    let job = owner.submit(job()).await.unwrap();
    let id = job.id().clone();
    sleep(MINUTE).await;
    let other = setup.dispatcher();
    assert!(other.is_in_hand(&id).await.unwrap());
    assert_eq!(other.look(&id).await.unwrap().state(), State::Running);
    let error = other.remove(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    let (here, there) = tokio::join!(job.end(), attached(&other, &id));
    assert_eq!((here.outcome, there), (exited(5), exited(5)));
    assert_eq!(setup.runner.present(), 0, "its owner removes it");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_the_dispatcher_that_has_the_job_in_hand() {
    let setup = Setup::running(Run::exits(0, 60 * MINUTE));
    let owner = setup.dispatcher();
    let job = owner.submit(job()).await.unwrap();
    sleep(MINUTE).await;
    let other = setup.dispatcher();
    assert!(other.cancel(job.id(), None).await.unwrap());
    let id = job.id().clone();
    assert!(matches!(job.end().await.outcome, Outcome::Cancelled { .. }));
    assert!(!other.cancel(&id, None).await.unwrap(), "it is over");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_a_job_in_nobodys_hand_is_kept_for_who_takes_it_up() {
    let setup = Setup::running(Run::exits(0, 60 * MINUTE));
    let job = setup.orphan().await;
    let dispatcher = setup.dispatcher();
    assert!(dispatcher.cancel(&job, Some(SECOND)).await.unwrap());
    let outcome = attached(&dispatcher, &job).await;
    assert!(matches!(outcome, Outcome::Cancelled { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_detached_job_is_left_once_it_has_started() {
    let setup = Setup::running(Run::exits(9, 10 * MINUTE));
    let dispatcher = setup.dispatcher();
    let detached = dispatcher.submit_detached(job()).await.unwrap();
    let id = detached.id().clone();
    assert_eq!(detached.left().await.unwrap(), Detached::Running);
    assert!(!dispatcher.is_in_hand(&id).await.unwrap());
    assert!(setup.journal.record(&id).await.unwrap().detached);
    assert_eq!(attached(&setup.dispatcher(), &id).await, exited(9));
}

#[tokio::test(start_paused = true)]
async fn a_detached_job_that_nobody_takes_is_over_at_once() {
    let setup = Setup::new(refuses(ErrorKind::Saturated));
    let detached = setup.dispatcher().submit_detached(job()).await.unwrap();
    let Detached::Ended(result) = detached.left().await.unwrap() else { panic!("it runs") };
    assert!(matches!(result.outcome, Outcome::NotRun { .. }), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn one_idempotency_key_is_one_job() {
    let setup = Setup::running(Run::exits(4, 10 * MINUTE));
    let submission = || Submission::new(job()).with_key("nightly");
    let (here, there) = (setup.dispatcher(), setup.dispatcher());
    let first = here.submit(submission()).await.unwrap();
    let second = there.submit(submission()).await.unwrap();
    assert_eq!(first.id(), second.id());
    let (first, second) = tokio::join!(first.end(), second.end());
    assert_eq!((first.outcome, second.outcome), (exited(4), exited(4)));
    assert_eq!(setup.starts(), 1);
    let third = there.submit(submission()).await.unwrap().end().await;
    assert_eq!((third.outcome, setup.starts()), (exited(4), 1), "its record answers");
    // Whether a command has a stdin may depend on who runs it.
    let fed = submission().with_stdin(tokio::io::empty());
    assert_eq!(there.submit(fed).await.unwrap().end().await.outcome, exited(4));
    let mut another = job();
    another.name = Some("another".to_owned());
    let error = here.submit(Submission::new(another).with_key("nightly")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidSpec);
}

#[tokio::test(start_paused = true)]
async fn a_job_left_before_anything_had_started_goes_on_when_it_is_submitted_again() {
    let setup = Setup::new(Script { probes: [hangs()].into(), ..Script::default() });
    let submission = || Submission::new(job()).with_key("nightly");
    let first = setup.dispatcher();
    let id = first.submit(submission()).await.unwrap().id().clone();
    sleep(SECOND).await;
    kill(&first).await;
    assert_eq!(setup.state(&id).await, State::Queued);
    let result = setup.dispatcher().submit(submission()).await.unwrap().end().await;
    assert_eq!((result.job, result.outcome), (id, exited(0)));
    assert_eq!(setup.starts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_a_job_left_before_its_start_holds_when_it_is_submitted_again() {
    let setup = Setup::new(Script { probes: [hangs()].into(), ..Script::default() });
    let submission = || Submission::new(job()).with_key("nightly");
    let first = setup.dispatcher();
    let id = first.submit(submission()).await.unwrap().id().clone();
    sleep(SECOND).await;
    kill(&first).await;
    let second = setup.dispatcher();
    assert!(second.cancel(&id, None).await.unwrap());
    let result = second.submit(submission()).await.unwrap().end().await;
    assert_eq!((result.outcome, setup.starts()), (Outcome::Cancelled { code: None }, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_by_its_id_reaches_a_job_that_was_submitted_again() {
    let mut script = Script { probes: [hangs()].into(), ..Script::default() };
    script.runs.push_back(Run::exits(0, 60 * MINUTE));
    let setup = Setup::new(script);
    let submission = || Submission::new(job()).with_key("nightly");
    let first = setup.dispatcher();
    let id = first.submit(submission()).await.unwrap().id().clone();
    sleep(SECOND).await;
    kill(&first).await;
    let again = setup.dispatcher().submit(submission()).await.unwrap();
    sleep(MINUTE).await;
    assert_eq!(setup.starts(), 1);
    assert!(setup.dispatcher().cancel(&id, Some(SECOND)).await.unwrap());
    let result = again.end().await;
    assert!(matches!(result.outcome, Outcome::Cancelled { .. }), "{result:?}");
}

pub const fn hangs() -> longshore_conformance::simulated::ProbeStep {
    longshore_conformance::simulated::ProbeStep::Hang
}

#[tokio::test(start_paused = true)]
async fn the_output_of_a_job_on_record_can_be_read_from_anywhere_and_followed() {
    let written = (0..10).map(|i| Written::stdout(i * MINUTE, format!("line {i}\n").into()));
    let setup = Setup::running(Run::exits(0, 15 * MINUTE).writing(written));
    let job = setup.orphan().await;
    sleep(4 * MINUTE + SECOND).await;
    let dispatcher = setup.dispatcher();
    assert_eq!(text(&dispatcher, &job, false).await, lines(5), "what is there");
    assert_eq!(text(&dispatcher, &job, true).await, lines(10), "all of it");
    assert_eq!(attached(&dispatcher, &job).await, exited(0));
    assert_eq!(text(&dispatcher, &job, false).await, lines(10), "after the end, too");
    dispatcher.remove(&job).await.unwrap();
    let error = dispatcher.logs(&job, LogPosition::START, false).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(setup.runner.present(), 0);
}

pub fn lines(count: usize) -> String {
    (0..count).map(|i| format!("line {i}\n")).collect()
}

pub async fn text(dispatcher: &Dispatcher, job: &JobId, follow: bool) -> String {
    let chunks = dispatcher.logs(job, LogPosition::START, follow).await.unwrap();
    let data = chunks.map(|chunk| match chunk.unwrap() {
        LogChunk::Data { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    });
    timeout(60 * MINUTE, data.collect()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_look_records_an_end_and_leaves_alone_what_runs() {
    let setup = Setup::running(Run::exits(6, 10 * MINUTE));
    let job = setup.orphan().await;
    let dispatcher = setup.dispatcher();
    assert_eq!(dispatcher.look(&job).await.unwrap().state(), State::Running);
    sleep(20 * MINUTE).await;
    let record = dispatcher.look(&job).await.unwrap();
    assert_eq!(record.result.map(|result| result.outcome), Some(exited(6)));
    assert_eq!(setup.runner.present(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_local_process_that_runs_does_not_wait_for_its_end() {
    let mut setup = Setup::running(Run::endless());
    let process = Capabilities::default().with(Capability::Process);
    setup.runner = setup.runner.with_capabilities(process);
    let job = setup.orphan().await;
    let (dispatcher, began) = (setup.dispatcher(), Instant::now());
    assert_eq!(dispatcher.look(&job).await.unwrap().state(), State::Running);
    assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_backend_that_is_away_changes_nothing() {
    let mut script = Script { outages: vec![MINUTE..60 * MINUTE], ..Script::default() };
    script.runs.push_back(Run::exits(0, 5 * MINUTE));
    let setup = Setup::new(script);
    let job = setup.orphan().await;
    sleep(20 * MINUTE).await;
    let began = Instant::now();
    assert_eq!(setup.dispatcher().look(&job).await.unwrap().state(), State::Running);
    assert!(began.elapsed() <= MINUTE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_reaper_removes_what_is_over_and_keeps_what_runs() {
    let mut script = Script::default();
    script.runs.extend([Run::exits(0, MINUTE), Run::exits(0, 600 * MINUTE)]);
    let setup = Setup::new(script);
    let (over, runs) = (setup.orphan().await, setup.orphan().await);
    sleep(20 * MINUTE).await;
    let dispatcher = setup.dispatcher();
    let dry = dispatcher.gc(Some(Duration::ZERO), true).await.unwrap();
    assert!(dry.leftovers.is_empty(), "it is not on record that it ended: {dry:?}");
    assert_eq!(attached(&dispatcher, &over).await, exited(0));
    // The record's clock is the system's, which is not paused.
    let dry = dispatcher.gc(Some(Duration::ZERO), true).await.unwrap();
    let fates: Vec<&Fate> = dry.leftovers.iter().map(|left| &left.fate).collect();
    assert_eq!(fates, [&Fate::Remove]);
    assert_eq!(setup.runner.present(), 2, "a dry run changes nothing");
    let reaped = dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(reaped.leftovers[0].fate, Fate::Removed);
    assert_eq!(reaped.leftovers[0].attempt, over.attempt(1));
    assert_eq!(reaped.forgotten, [over]);
    assert_eq!((setup.runner.present(), setup.state(&runs).await), (1, State::Running));
}

/// Two of three commands ended with "there is no job X".
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reapers_that_run_at_once_do_not_fail_on_what_another_forgets() {
    const ROUNDS: usize = 8;
    const JOBS: usize = 25;
    let folder = tempfile::tempdir().unwrap();
    let mut script = Script::default();
    script.runs.extend((0..JOBS * ROUNDS).map(|_| Run::exits(0, Duration::ZERO)));
    let mut setup = Setup::new(script);
    let mut reapers = Vec::new();
    for _ in 0..3 {
        // As in three processes: each has its own connection to the journal.
        setup.journal = Journal::open(folder.path(), Options::default()).await.unwrap();
        reapers.push(setup.dispatcher());
    }
    for round in 0..ROUNDS {
        for _ in 0..JOBS {
            setup.orphan().await;
        }
        let mut reaping = tokio::task::JoinSet::new();
        for reaper in reapers.clone() {
            reaping.spawn(async move { reaper.gc(Some(Duration::ZERO), false).await });
        }
        while let Some(reaped) = reaping.join_next().await {
            reaped.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
        }
    }
    reapers[0].gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(setup.runner.present(), 0);
    assert!(setup.journal.list(Filter::default()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_reaper_keeps_what_ended_lately() {
    let setup = Setup::running(Run::exits(0, MINUTE));
    let job = setup.orphan().await;
    sleep(20 * MINUTE).await;
    let reaped = setup.dispatcher().gc(None, false).await.unwrap();
    assert!(reaped.leftovers.is_empty(), "{reaped:?}");
    assert_eq!((setup.state(&job).await, setup.runner.present()), (State::Ended, 1));
}

#[tokio::test(start_paused = true)]
async fn the_reaper_keeps_a_lost_job_that_still_runs() {
    let outage = MINUTE..20 * MINUTE;
    let mut script = Script { outages: vec![outage], ..Script::default() };
    script.runs.push_back(Run::exits(0, 60 * MINUTE));
    let setup = Setup::new(script);
    let dispatcher = setup.dispatcher();
    let lost = dispatcher.submit(job()).await.unwrap().end().await;
    assert!(matches!(lost.outcome, Outcome::Lost { .. }), "{lost:?}");
    sleep(20 * MINUTE).await;
    let reaped = dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(reaped.leftovers[0].fate, Fate::Kept, "{reaped:?}");
    assert_eq!(setup.runner.present(), 1);
    sleep(60 * MINUTE).await;
    let reaped = dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(reaped.leftovers[0].fate, Fate::Removed, "{reaped:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_of_its_own_nothing_is_kept_of_a_job_that_is_done() {
    let scene = scene([Script::default()]);
    let result = scene.run(job()).await;
    assert!(result.outcome.is_success());
    assert!(scene.dispatcher.records(Filter::default()).await.unwrap().is_empty());
}

/// Runs in real time, since the journal waits for another process.
#[tokio::test]
async fn without_its_intent_on_record_nothing_is_launched() {
    let folder = tempfile::tempdir().unwrap();
    let impatient = Options::default().busy_timeout(SECOND / 20);
    let journal = Journal::open(folder.path(), impatient).await.unwrap();
    let setup = Setup { journal, ..Setup::new(Script::default()) };
    let mut settings = Settings::default();
    settings.connect_timeout = (SECOND / 2).into();
    let away = Script { probes: [hangs()].into(), ..Script::default() };
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(setup.world.runner(name("away"), away)))
        .runner(Arc::new(setup.runner.clone()))
        .settings(settings)
        .journal(setup.journal.clone())
        .build()
        .unwrap();
    let submitted = dispatcher.submit(job()).await.unwrap();
    let other = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let result = timeout(MINUTE, submitted.wait()).await.unwrap().unwrap();
    let Outcome::NotRun { reason: NotRunReason::Internal, message } = result.outcome else {
        panic!("{:?}", result.outcome)
    };
    assert!(message.contains("keeps it locked"), "{message}");
    assert_eq!(setup.count(|w| *w == What::LaunchAsked), 0);
}

//! Runs the real dispatcher over faulty backends, seed by seed.
//!
//! `LONGSHORE_SIM_SEEDS=N` runs N seeds instead of 2,000, from `LONGSHORE_SIM_FIRST` on (0 by
//! default); `LONGSHORE_SIM_SEED=N` runs that one and prints what happened.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_conformance::simulated::{
    Entry, Observed, PlannedJob, ReaderHabit, Scenario, SimulatedRunner, World, check,
};
use longshore_core::{Event, JobId, LogChunk, Outcome, Runner};
use longshore_dispatch::{Dispatcher, JobEvent, JobEvents, JobLogs, Submission};
use tokio::time::{Instant, sleep, timeout};

use crate::careless::*;
use crate::support::{MINUTE, job};

/// Longer than any job of a scenario can take, in simulated time.
pub const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a scenario's runners are passed to the dispatcher.
type Wrap = fn(SimulatedRunner) -> Arc<dyn Runner>;

fn as_it_is(runner: SimulatedRunner) -> Arc<dyn Runner> {
    Arc::new(runner)
}

/// Runs `story` in simulated time.
pub fn simulate<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(story)
}

/// Returns what was `observed`, or the first promise that it breaks.
pub fn judge(ledger: &[Entry], observed: Vec<Observed>) -> Result<Vec<Observed>, String> {
    let broken = observed.iter().find_map(|job| {
        let broken = check(ledger, job).err()?;
        Some(format!("{}: {broken}; result {:?}", job.result.job, job.result))
    });
    broken.map_or(Ok(observed), Err)
}

/// Runs a seed. Returns what happened, and the first promise that was broken.
fn run_seed(seed: u64, wrap: Wrap) -> (Vec<Entry>, Result<Vec<Observed>, String>) {
    simulate(async {
        let scenario = Scenario::new(seed);
        let world = World::new();
        let observed = timeout(PATIENCE, play(&scenario, &world, seed, wrap)).await;
        // Lets everything that is still under way on the backends take effect.
        sleep(60 * MINUTE).await;
        let ledger = world.ledger();
        let verdict = match observed {
            Err(_) => Err("a job has no end".to_owned()),
            Ok(observed) => judge(&ledger, observed),
        };
        (ledger, verdict)
    })
}

async fn play(scenario: &Scenario, world: &World, seed: u64, wrap: Wrap) -> Vec<Observed> {
    let mut builder = Dispatcher::builder().jitter_seed(seed);
    for (name, script) in &scenario.runners {
        builder = builder.runner(wrap(world.runner(name.clone(), script.clone())));
    }
    let dispatcher = builder.build().unwrap();
    let jobs = scenario.jobs.iter().enumerate();
    futures::future::join_all(jobs.map(|(i, job)| one_job(&dispatcher, scenario, i, *job))).await
}

async fn one_job(
    dispatcher: &Dispatcher,
    scenario: &Scenario,
    number: usize,
    planned: PlannedJob,
) -> Observed {
    let began = Instant::now();
    sleep(planned.submitted).await;
    let mut spec = job();
    spec.timeout = planned.timeout.map(Into::into);
    spec.grace_period = Some(planned.grace.into());
    let id: JobId = format!("job{number}").parse().unwrap();
    let mut submission = Submission::new(spec).with_id(id);
    if planned.reader == ReaderHabit::None {
        submission = submission.without_logs();
    }
    let mut job = dispatcher.submit(submission).await.unwrap();
    let logs = job.take_logs();
    let events = job.take_events().filter(|_| scenario.third_parties);
    let canceller = job.canceller();
    let ending = async {
        let submitted = Instant::now();
        let mut asks = [(planned.cancelled, false), (planned.killed, true)];
        asks.sort();
        for (after, kill) in asks.into_iter().filter_map(|(at, kill)| Some((at?, kill))) {
            tokio::time::sleep_until(submitted + after).await;
            if kill { canceller.kill() } else { canceller.cancel() }
        }
        std::future::pending::<()>().await;
    };
    let first = [planned.cancelled, planned.killed].into_iter().flatten().min();
    let cancelled = first.map(|after| (began.elapsed() + after, planned.grace));
    let waiting = async { tokio::join!(read(logs, planned.reader), hear(events), job.wait()) };
    let (output, heard, result) = tokio::select! {
        biased;
        seen = waiting => seen,
        () = ending => unreachable!("it is pending for ever"),
    };
    Observed {
        result: result.unwrap(),
        output,
        heard,
        cancelled,
        order: scenario.runners.iter().map(|(name, _)| name.clone()).collect(),
        may_be_lost: scenario.long_outages,
        may_be_left: scenario.outages,
        killed: false,
    }
}

/// Returns what the job's events say in words.
async fn hear(events: Option<JobEvents>) -> Option<Vec<String>> {
    let words = events?.filter_map(|event| {
        std::future::ready(match event {
            JobEvent::Runner { event: Event::Waiting(text), .. } => Some(text),
            JobEvent::Settling { message, .. } => Some(message),
            _ => None,
        })
    });
    Some(words.collect().await)
}

/// Reads the output as `habit` says. Returns the whole output if it is known to be whole.
async fn read(logs: Option<JobLogs>, habit: ReaderHabit) -> Option<Vec<u8>> {
    let mut logs = logs?;
    let mut output = Vec::new();
    let mut pieces = 0;
    let mut whole = true;
    while let Some(chunk) = logs.next().await {
        match chunk {
            LogChunk::Data { offset, bytes, .. } => {
                assert_eq!(offset, output.len() as u64, "bytes out of order");
                output.extend_from_slice(&bytes);
            }
            _ => whole = false,
        }
        pieces += 1;
        match habit {
            ReaderHabit::Slow(pause) => sleep(pause).await,
            ReaderHabit::Leaves(after) if pieces > after => return None,
            _ => {}
        }
    }
    whole.then_some(output)
}

pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Returns the seeds to run.
pub fn seeds() -> Range<u64> {
    let first = variable("LONGSHORE_SIM_FIRST").unwrap_or(0);
    first..first + variable("LONGSHORE_SIM_SEEDS").unwrap_or(2000)
}

pub fn tell(seed: u64, ledger: &[Entry], verdict: &str) -> String {
    let lines = ledger.iter().map(|e| format!("  {:>12?} {} {:?}\n", e.at, e.attempt, e.what));
    let lines: String = lines.collect();
    format!("seed {seed} (LONGSHORE_SIM_SEED={seed} plays it again): {verdict}\n{lines}")
}

#[test]
fn no_promise_is_broken_whatever_fails() {
    if let Some(seed) = variable("LONGSHORE_SIM_SEED") {
        let (ledger, verdict) = run_seed(seed, as_it_is);
        println!("{:#?}\n{}", Scenario::new(seed), tell(seed, &ledger, &format!("{verdict:#?}")));
        assert!(verdict.is_ok());
        return;
    }
    let seeds = seeds();
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let (ledger, verdict) = run_seed(seed, as_it_is);
        match verdict {
            Ok(observed) => seen.note(&observed, &ledger),
            Err(broken) => panic!("{}", tell(seed, &ledger, &broken)),
        }
    }
    println!("seeds {seeds:?}: {seen:?}");
    seen.is_telling();
}

/// What the seeds brought about, so that a simulation in which nothing happens is noticed.
#[derive(Debug, Default)]
struct Seen {
    jobs: usize,
    ran: usize,
    fell_back: usize,
    cancelled_before: usize,
    cancelled_after: usize,
    lost: usize,
    not_run: usize,
    fenced: usize,
    starts_prevented: usize,
    outputs: usize,
    vanished: usize,
    marks_lost: usize,
    lost_without_marks: usize,
    changed: usize,
    blocked: usize,
    released: usize,
    started_again: usize,
    deletions_pending: usize,
}

impl Seen {
    fn note(&mut self, observed: &[Observed], ledger: &[Entry]) {
        use longshore_conformance::simulated::What;
        let count = |what: What| ledger.iter().filter(|e| e.what == what).count();
        self.fenced += count(What::Fenced);
        self.starts_prevented += count(What::StartPrevented);
        self.vanished += count(What::Vanished);
        self.marks_lost += count(What::MarksLost);
        self.blocked += count(What::Blocked);
        self.released += count(What::Released);
        self.deletions_pending += count(What::DeletionPending);
        self.changed += ledger.iter().filter(|e| matches!(e.what, What::Changed(_))).count();
        for Observed { result, output, .. } in observed {
            self.jobs += 1;
            self.started_again += usize::from(!result.started_again.is_empty());
            let stripped = |e: &Entry| {
                e.what == What::MarksLost && result.attempt.as_ref() == Some(&e.attempt)
            };
            let is_lost = matches!(result.outcome, Outcome::Lost { .. });
            self.lost_without_marks += usize::from(is_lost && ledger.iter().any(stripped));
            self.outputs += usize::from(output.as_ref().is_some_and(|o| !o.is_empty()));
            let ran = result.separate_streams.is_some();
            self.ran += usize::from(ran);
            self.fell_back += usize::from(ran && !result.passed_over.is_empty());
            match &result.outcome {
                Outcome::Cancelled { code: None } => self.cancelled_before += 1,
                Outcome::Cancelled { .. } => self.cancelled_after += 1,
                Outcome::Lost { .. } => self.lost += 1,
                Outcome::NotRun { .. } => self.not_run += 1,
                _ => {}
            }
        }
    }

    fn is_telling(&self) {
        let enough = self.jobs / 200;
        for (what, count) in [
            ("ran", self.ran),
            ("fell back", self.fell_back),
            ("cancelled before the start", self.cancelled_before),
            ("cancelled after the start", self.cancelled_after),
            ("not run", self.not_run),
            ("fenced", self.fenced),
            ("starts prevented", self.starts_prevented),
            ("outputs read", self.outputs),
            ("deleted by another user", self.vanished),
            ("stripped of their marks", self.marks_lost),
            ("lost without their marks", self.lost_without_marks),
            ("changed by a third party", self.changed),
            ("kept from starting by a change", self.blocked),
            ("started again by the backend", self.started_again),
            ("kept by a foreign finalizer", self.deletions_pending),
        ] {
            assert!(count >= enough, "only {count} of {} jobs: {what}", self.jobs);
        }
    }
}

#[test]
fn a_seed_plays_the_same_way_every_time() {
    for seed in 0..50 {
        let (once, _) = run_seed(seed, as_it_is);
        let (again, _) = run_seed(seed, as_it_is);
        assert_eq!(once, again, "seed {seed}");
    }
}

/// Asserts that some seed catches `wrap` breaking `promise`.
fn is_caught(wrap: Wrap, promise: &str) {
    is_found(&[promise], |seed| run_seed(seed, wrap).1.err());
}

/// Asserts that `play` finds one of the `promises` broken in some seed. Plays no seed after that.
pub fn is_found(promises: &[&str], play: impl Fn(u64) -> Option<String>) {
    let mut others = BTreeSet::new();
    for said in (0..500).filter_map(play) {
        if promises.iter().any(|promise| said.contains(promise)) {
            return;
        }
        others.insert(said);
    }
    panic!("{promises:?} was not found broken: {others:#?}");
}

#[test]
fn a_dispatcher_that_falls_back_after_indeterminate_is_caught() {
    is_caught(careless::<FALLS_BACK_AFTER_INDETERMINATE>, "it started 2 times");
    is_caught(careless::<FALLS_BACK_AFTER_INDETERMINATE>, "could still start");
}

#[test]
fn a_dispatcher_that_looks_instead_of_fencing_is_caught() {
    is_caught(careless::<LOOKS_INSTEAD_OF_FENCING>, "it started 2 times");
    is_caught(careless::<LOOKS_INSTEAD_OF_FENCING>, "could still start");
}

#[test]
fn a_dispatcher_that_does_not_adopt_what_is_there_already_is_caught() {
    is_caught(careless::<REFUSES_WHAT_IS_THERE>, "it started 2 times");
}

#[test]
fn a_dispatcher_that_leaves_jobs_behind_is_caught() {
    is_caught(careless::<NEVER_REMOVES>, "was left behind");
}

#[test]
fn a_dispatcher_that_tells_another_outcome_is_caught() {
    is_caught(careless::<TAKES_ANY_END_FOR_SUCCESS>, "was reported");
}

#[test]
fn a_dispatcher_that_forgets_a_cancel_is_caught() {
    is_caught(careless::<FORGETS_A_CANCEL>, "it ran until");
}

#[test]
fn a_dispatcher_that_removes_a_running_job_is_caught() {
    is_caught(careless::<REMOVES_BEFORE_THE_END>, "removed while it ran");
}

#[test]
fn a_dispatcher_that_never_hears_of_the_end_is_caught() {
    is_caught(careless::<DROPS_THE_END>, "has no end");
}

#[test]
fn a_dispatcher_that_loses_output_is_caught() {
    is_caught(careless::<READS_WHAT_IS_THERE>, "bytes were written");
}

#[test]
fn a_settle_that_takes_lost_marks_for_a_proof_is_caught() {
    is_caught(careless::<TAKES_LOST_MARKS_FOR_A_PROOF>, "could still start");
}

#[test]
fn a_dispatcher_that_follows_by_labels_is_caught() {
    is_caught(careless::<FOLLOWS_BY_LABELS>, "was reported");
}

#[test]
fn a_dispatcher_that_removes_by_labels_is_caught() {
    is_caught(careless::<REMOVES_BY_LABELS>, "was left behind");
}

#[test]
fn a_dispatcher_that_falls_back_after_a_change_is_caught() {
    is_caught(careless::<REFUSES_WHAT_WAS_CHANGED>, "it started 2 times");
}

#[test]
fn a_dispatcher_that_hides_a_change_is_caught() {
    is_caught(careless::<HIDES_CHANGES>, "nothing names the change");
}

#[test]
fn a_dispatcher_that_hides_a_second_start_is_caught() {
    is_caught(careless::<HIDES_SECOND_STARTS>, "it started again as");
}

#[test]
fn a_dispatcher_that_blames_the_backend_for_its_own_second_start_is_caught() {
    is_caught(careless::<EXCUSES_ITS_OWN_SECOND_START>, "it started 2 times");
}

#[test]
fn a_dispatcher_that_reports_the_last_run_is_caught() {
    is_caught(careless::<TAKES_THE_LAST_RUN_FOR_THE_JOB>, "was reported");
}

#[test]
fn a_dispatcher_that_takes_a_pending_deletion_for_the_end_is_caught() {
    is_caught(careless::<TAKES_A_PENDING_DELETION_FOR_THE_END>, "was reported");
}

//! Kills the real dispatcher at any of its calls and at any time. Its successors find only the
//! journal and the backends, and some of them are configured for other backends.
//!
//! The seeds and their replay are the same as in the simulation without kills.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longshore_conformance::Forwarding;
use longshore_conformance::simulated::{
    Dice, Entry, Observed, Scenario, Script, SimulatedRunner, What, World,
};
use longshore_core::{InstallationId, JobId, JobResult, NotRunReason, Outcome};
use longshore_dispatch::{Dispatcher, Submission};
use longshore_journal::{Filter, Journal};
use tokio::time::{sleep, timeout};

use crate::mortal::{Fate, Flaw, Mortal};
use crate::simulation::{PATIENCE, is_found, judge, seeds, simulate, tell, variable};
use crate::support::{MINUTE, job};

/// The result of one seed.
struct Played {
    ledger: Vec<Entry>,
    verdict: Result<Vec<Observed>, String>,
    kills: usize,
    moves: usize,
}

fn run_seed(seed: u64, flaw: Flaw) -> Played {
    simulate(async {
        let scenario = Scenario::new(seed);
        let world = World::new();
        let mut story = Story::new(&scenario, &world, seed, flaw);
        let played = timeout(PATIENCE, story.play()).await;
        // Lets everything that is still under way on the backends take effect.
        sleep(60 * MINUTE).await;
        let ledger = world.ledger();
        let verdict = match played {
            Err(_) => Err("a job has no end".to_owned()),
            Ok(observed) => observed.and_then(|observed| judge(&ledger, observed)),
        };
        Played { ledger, verdict, kills: story.kills, moves: story.moves }
    })
}

/// Part of the error about a job on another backend.
const ELSEWHERE: &str = "on another target";

struct Story<'a> {
    scenario: &'a Scenario,
    runners: Vec<SimulatedRunner>,
    /// Runners with the same names for other backends, on which nothing is.
    elsewhere: Vec<SimulatedRunner>,
    journal: Journal,
    installation: InstallationId,
    dice: Dice,
    flaw: Flaw,
    kills: usize,
    /// How often a runner was configured for another backend.
    moves: usize,
    /// The results that were reported, by any life.
    told: BTreeMap<JobId, JobResult>,
}

impl<'a> Story<'a> {
    fn new(scenario: &'a Scenario, world: &World, seed: u64, flaw: Flaw) -> Self {
        let runners = |target: &str| {
            let runners = scenario.runners.iter().map(|(name, script)| {
                let script = Script { target: Some(target.to_owned()), ..script.clone() };
                world.runner(name.clone(), script)
            });
            runners.collect()
        };
        Self {
            scenario,
            runners: runners("here"),
            elsewhere: runners("elsewhere"),
            journal: Journal::in_memory().unwrap(),
            installation: "simulated".parse().unwrap(),
            dice: Dice::new(!seed),
            flaw,
            kills: 0,
            moves: 0,
            told: BTreeMap::new(),
        }
    }

    /// Creates a dispatcher. So many percent of its runners are for other backends.
    fn dispatcher(&mut self, fate: &Arc<Fate>, elsewhere: u64) -> Dispatcher {
        let mut builder = Dispatcher::builder()
            .jitter_seed(self.dice.below(u64::MAX))
            .installation(self.installation.clone())
            .journal(self.journal.clone());
        for (here, there) in self.runners.iter().zip(&self.elsewhere) {
            let moves = self.dice.percent(elsewhere);
            self.moves += usize::from(moves);
            let runner = if moves { there } else { here };
            let (runner, fate, flaw) = (runner.clone(), Arc::clone(fate), self.flaw);
            builder = builder.runner(Arc::new(Forwarding(Mortal { runner, fate, flaw })));
        }
        builder.build().unwrap()
    }

    /// Runs several lives, all but the last two of them cut short. Those end the jobs here, and then
    /// the jobs on the other backends, and clean up.
    async fn play(&mut self) -> Result<Vec<Observed>, String> {
        let lives = 1 + self.dice.below(3);
        for life in 0..lives + 2 {
            let last = life >= lives;
            let elsewhere = match life.cmp(&lives) {
                Ordering::Less => 30,
                Ordering::Equal => 0,
                Ordering::Greater => 100,
            };
            let fate = if last { Fate::immortal() } else { Fate::mortal(&mut self.dice) };
            let dispatcher = self.dispatcher(&fate, elsewhere);
            let time_is_up = self.dice.duration(Duration::ZERO..60 * MINUTE);
            let death = fate.death.clone();
            tokio::select! {
                biased;
                () = death.cancelled() => {}
                lived = self.live(&dispatcher, life == 0) => {
                    for result in lived?.into_iter().flatten() {
                        self.tell(result)?;
                    }
                    if last {
                        self.clear(&dispatcher).await;
                    }
                    continue;
                }
                () = sleep(time_is_up), if !last => {}
            }
            dispatcher.abandon();
            dispatcher.shutdown().await;
            self.kills += 1;
            sleep(self.dice.duration(Duration::ZERO..20 * MINUTE)).await;
        }
        self.observed().await
    }

    /// Runs one life: submits the planned jobs, or continues with the recorded ones.
    async fn live(
        &mut self,
        dispatcher: &Dispatcher,
        first: bool,
    ) -> Result<Vec<Option<JobResult>>, String> {
        let mut jobs = Vec::new();
        if first {
            for (i, planned) in self.scenario.jobs.iter().enumerate() {
                jobs.push((i, planned.submitted, planned.cancelled));
            }
        } else {
            for record in self.unfinished().await {
                let number = record.as_str().trim_start_matches("job").parse().unwrap();
                let cancelled =
                    self.dice.percent(20).then(|| self.dice.duration(Duration::ZERO..MINUTE));
                jobs.push((number, Duration::ZERO, cancelled));
            }
        }
        let again: Vec<bool> = jobs.iter().map(|_| first || self.dice.percent(40)).collect();
        let one = jobs.into_iter().zip(again).map(|((number, after, cancelled), submit)| {
            self.one_job(dispatcher, number, after, cancelled, submit)
        });
        futures::future::try_join_all(one).await
    }

    /// Follows one job to its end. Returns `None` if it is on another backend.
    async fn one_job(
        &self,
        dispatcher: &Dispatcher,
        number: usize,
        after: Duration,
        cancelled: Option<Duration>,
        submit: bool,
    ) -> Result<Option<JobResult>, String> {
        sleep(after).await;
        let planned = &self.scenario.jobs[number];
        let id: JobId = format!("job{number}").parse().unwrap();
        let attached = if submit {
            let mut spec = job();
            spec.timeout = planned.timeout.map(Into::into);
            spec.grace_period = Some(planned.grace.into());
            let submission = Submission::new(spec).with_id(id.clone()).with_key(id.as_str());
            dispatcher.submit(submission.without_logs()).await
        } else {
            dispatcher.attach(&id).await
        };
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) if error.to_string().contains(ELSEWHERE) => return Ok(None),
            Err(error) => return Err(format!("{id}: {error}")),
        };
        let canceller = attached.canceller();
        let ending = async {
            if let Some(after) = cancelled {
                sleep(after).await;
                canceller.cancel();
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            result = attached.wait() => match result {
                Ok(result) => Ok(Some(result)),
                Err(stopped) if stopped.reason.contains(ELSEWHERE) => Ok(None),
                Err(stopped) => Err(stopped.to_string()),
            },
            () = ending => unreachable!("it is pending for ever"),
        }
    }

    async fn unfinished(&self) -> Vec<JobId> {
        let open = self.journal.list(Filter::default().not_ended()).await.unwrap();
        open.into_iter().map(|record| record.id).collect()
    }

    fn tell(&mut self, result: JobResult) -> Result<(), String> {
        match self.told.insert(result.job.clone(), result.clone()) {
            Some(before) if before != result => {
                Err(format!("{:?} was told, and then {:?}", before.outcome, result.outcome))
            }
            _ => Ok(()),
        }
    }

    /// Runs the reaper repeatedly, since a backend may be out of reach.
    async fn clear(&self, dispatcher: &Dispatcher) {
        for _ in 0..8 {
            dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
            sleep(10 * MINUTE).await;
        }
    }

    /// Returns the recorded result of each job in the end, with the results that were reported
    /// before.
    async fn observed(&self) -> Result<Vec<Observed>, String> {
        // The reaper has deleted the records of the others, whose results were all reported.
        let left = self.journal.list(Filter::default()).await.unwrap();
        for record in &left {
            let recorded = record.result.as_ref();
            let recorded = recorded.ok_or_else(|| format!("{} has no outcome", record.id))?;
            let told = self.told.get(&record.id);
            if told.is_some_and(|told| told != recorded) {
                return Err(format!("{}: {told:?} was told, {recorded:?} is on record", record.id));
            }
        }
        let order: Vec<_> = self.scenario.runners.iter().map(|(name, _)| name.clone()).collect();
        let observed = self.told.values().map(|result| Observed {
            result: result.clone(),
            output: None,
            heard: None,
            cancelled: None,
            order: order.clone(),
            may_be_lost: self.scenario.long_outages,
            may_be_left: self.scenario.outages,
            killed: true,
        });
        Ok(observed.collect())
    }
}

/// What the seeds brought about.
#[derive(Debug, Default)]
struct Seen {
    kills: usize,
    moves: usize,
    jobs: usize,
    ran: usize,
    interrupted: usize,
    dropped_launches: usize,
    fenced: usize,
    prevented: usize,
    marks_lost: usize,
    changed: usize,
    started_again: usize,
    deletions_pending: usize,
}

impl Seen {
    fn note(&mut self, played: &Played, observed: &[Observed]) {
        let count = |what: What| played.ledger.iter().filter(|e| e.what == what).count();
        self.kills += played.kills;
        self.moves += played.moves;
        self.jobs += observed.len();
        self.ran += count(What::Started);
        self.dropped_launches += count(What::LaunchDropped);
        self.fenced += count(What::Fenced);
        self.prevented += count(What::StartPrevented);
        self.marks_lost += count(What::MarksLost);
        self.deletions_pending += count(What::DeletionPending);
        self.changed += played.ledger.iter().filter(|e| matches!(e.what, What::Changed(_))).count();
        self.started_again +=
            observed.iter().filter(|o| !o.result.started_again.is_empty()).count();
        let interrupted = |job: &&Observed| {
            matches!(job.result.outcome, Outcome::NotRun { reason: NotRunReason::Interrupted, .. })
        };
        self.interrupted += observed.iter().filter(interrupted).count();
    }

    fn is_telling(&self) {
        for (what, count) in [
            ("kills", self.kills),
            ("moves to another backend", self.moves),
            ("ran", self.ran),
            ("interrupted", self.interrupted),
            ("launches dropped", self.dropped_launches),
            ("fenced", self.fenced),
            ("starts prevented", self.prevented),
            ("stripped of their marks", self.marks_lost),
            ("changed by a third party", self.changed),
            ("started again by the backend", self.started_again),
            ("kept by a foreign finalizer", self.deletions_pending),
        ] {
            assert!(count >= self.jobs / 200, "only {count} of {} jobs: {what}", self.jobs);
        }
    }
}

#[test]
fn no_promise_is_broken_whenever_the_dispatcher_is_killed() {
    if let Some(seed) = variable("LONGSHORE_SIM_SEED") {
        let played = run_seed(seed, Flaw::None);
        let verdict = format!("{:#?}", played.verdict);
        println!("{:#?}\n{}", Scenario::new(seed), tell(seed, &played.ledger, &verdict));
        assert!(played.verdict.is_ok());
        return;
    }
    let seeds = seeds();
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        let played = run_seed(seed, Flaw::None);
        match &played.verdict {
            Ok(observed) => seen.note(&played, observed),
            Err(broken) => panic!("{}", tell(seed, &played.ledger, broken)),
        }
    }
    println!("seeds {seeds:?}: {seen:?}");
    seen.is_telling();
}

/// Asserts that some seed shows that `flaw` breaks one of the `promises`.
fn is_caught(flaw: Flaw, promises: &[&str]) {
    is_found(promises, |seed| run_seed(seed, flaw).verdict.err());
}

#[test]
fn a_recovery_that_looks_instead_of_fencing_is_caught() {
    is_caught(Flaw::LooksOnly, &["could still start", "still runs"]);
}

#[test]
fn a_reaper_that_overlooks_what_lost_its_labels_is_caught() {
    is_caught(Flaw::RemovesByLabels, &["was left behind", "could still start"]);
}

#[test]
fn a_recovery_that_hides_a_second_start_is_caught() {
    is_caught(Flaw::HidesSecondStarts, &["it started again as"]);
}

#[test]
fn a_runner_that_ignores_the_target_of_a_handle_is_caught() {
    is_caught(Flaw::IgnoresTargets, &["Interrupted", "Lost"]);
}

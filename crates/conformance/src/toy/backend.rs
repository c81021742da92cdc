//! The toy's backend: what an engine or a cluster is to a real runner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Attempt, AttemptId, Error, ErrorKind, InstallationId, Result, Settled};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Flaw::{self, *};
use super::job::{Job, Stop};
use super::signals::Target;

/// What the backend did with a pending job.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Started(Arc<Job>),
    Withdrawn,
    Failed(ErrorKind, String),
}

pub(super) type Decision = watch::Receiver<Option<Answer>>;

/// A job that the backend accepted and that has not started yet.
#[derive(Debug)]
pub(super) struct Pending {
    attempt: Attempt,
    instance: u64,
    answer: watch::Sender<Option<Answer>>,
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    Pending(Arc<Pending>),
    Started(Arc<Job>),
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) flaw: Option<Flaw>,
    pub(super) folder: tempfile::TempDir,
    start_delay: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    instances: u64,
    entries: HashMap<AttemptId, Entry>,
    /// The attempts that must not start, with the instance that fenced each.
    fenced: HashMap<AttemptId, u64>,
    /// Every attempt that ever started.
    started: HashSet<AttemptId>,
    removed: HashMap<AttemptId, InstallationId>,
    cancelled_early: HashSet<AttemptId>,
}

/// Ensures that no process of a job outlives the backend, whatever the flaw is.
impl Drop for Backend {
    fn drop(&mut self) {
        for attempt in &self.state().started {
            Target::All(attempt.clone()).signal(Signal::KILL);
        }
    }
}

impl Backend {
    pub(super) fn new(flaw: Option<Flaw>, start_delay: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { flaw, folder, start_delay, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Returns the number of a new instance of the runner, from 1.
    pub(super) fn new_instance(&self) -> u64 {
        let mut state = self.state();
        state.instances += 1;
        state.instances
    }

    pub(super) fn entry(&self, attempt: &AttemptId) -> Option<Entry> {
        self.state().entries.get(attempt).cloned()
    }

    pub(super) fn was_removed(&self, attempt: &AttemptId) -> bool {
        self.state().removed.contains_key(attempt)
    }

    /// Accepts the attempt unless it exists or is fenced. It starts after the start delay.
    pub(super) fn submit(self: &Arc<Self>, attempt: &Attempt, instance: u64) -> Result<Decision> {
        let mut state = self.state();
        let fence = state.fenced.get(&attempt.id);
        let own = !self.has(FencesInOneInstance) || fence == Some(&instance);
        if fence.is_some() && own && !self.has(ForgetsItsFence) {
            return Err(Error::new(ErrorKind::Internal, "the attempt is fenced"));
        }
        match state.entries.get(&attempt.id) {
            Some(Entry::Started(job)) if !self.starts_again(job) => {
                return Ok(watch::channel(Some(Answer::Started(Arc::clone(job)))).1);
            }
            Some(Entry::Pending(pending)) if !self.has(StartsTwiceAtOnce) => {
                return Ok(pending.answer.subscribe());
            }
            _ => {}
        }
        let (answer, decision) = watch::channel(None);
        let pending = Arc::new(Pending { attempt: attempt.clone(), instance, answer });
        state.entries.insert(attempt.id.clone(), Entry::Pending(Arc::clone(&pending)));
        drop(state);
        let backend = Arc::clone(self);
        tokio::spawn(async move {
            sleep(backend.start_delay).await;
            if backend.has(StartsLateAfterItsFence) && pending.is_withdrawn() {
                sleep(backend.start_delay / 2).await;
            }
            backend.start(&pending);
        });
        Ok(decision)
    }

    fn starts_again(&self, job: &Job) -> bool {
        match self.flaw {
            Some(StartsTwice) => job.has_ended(),
            Some(StartsAgainWhileItRuns) => !job.has_ended(),
            _ => false,
        }
    }

    fn start(&self, pending: &Arc<Pending>) {
        let mut state = self.state();
        let attempt = &pending.attempt;
        let fenced = state.fenced.contains_key(&attempt.id);
        let held = fenced && self.has(RemovalLiftsTheFenceUnderWay);
        let starts_anyway = self.has(StartsLateAfterItsFence) || self.has(IgnoresItsFenceUnderWay);
        if pending.is_withdrawn() && !starts_anyway {
            return;
        }
        if held {
            state.entries.remove(&attempt.id);
            pending.answer.send_replace(Some(Answer::Withdrawn));
            return;
        }
        let files = self.folder.path().join(attempt.id.as_str());
        let answer = match Job::start(attempt, files, pending.instance, self.flaw) {
            Ok(job) => {
                let job = Arc::new(job);
                state.started.insert(attempt.id.clone());
                state.entries.insert(attempt.id.clone(), Entry::Started(Arc::clone(&job)));
                Answer::Started(job)
            }
            Err(error) => {
                if !self.has(KeepsARejectedJob) {
                    state.entries.remove(&attempt.id);
                }
                Answer::Failed(error.kind(), error.to_string())
            }
        };
        pending.answer.send_replace(Some(answer));
    }

    /// Withdraws the attempt if it is pending. Returns whether it cannot start any more.
    pub(super) fn withdraw(&self, attempt: &AttemptId) -> bool {
        let mut state = self.state();
        match state.entries.get(attempt) {
            Some(Entry::Started(_)) => false,
            Some(Entry::Pending(pending)) => {
                pending.answer.send_replace(Some(Answer::Withdrawn));
                state.entries.remove(attempt);
                true
            }
            None => true,
        }
    }

    pub(super) fn settle(&self, attempt: &AttemptId, instance: u64) -> Settled {
        if self.has(RemovalLiftsTheFenceUnderWay) {
            let mut state = self.state();
            if !matches!(state.entries.get(attempt), Some(Entry::Started(_))) {
                state.fenced.insert(attempt.clone(), instance);
                return Settled::NeverStarted;
            }
        } else if self.withdraw(attempt) {
            if self.has(NeverFences) {
                return Settled::MayHaveStarted;
            }
            self.state().fenced.insert(attempt.clone(), instance);
            return Settled::NeverStarted;
        }
        let Some(Entry::Started(job)) = self.entry(attempt) else { return Settled::NeverStarted };
        if self.has(KillsWhatItSettles) {
            job.stop(Stop::Removed);
        }
        let never = match self.flaw {
            Some(FencesWhatRuns) => !job.has_ended(),
            Some(ForgetsWhatHasEnded) => job.has_ended(),
            _ => false,
        };
        if never { Settled::NeverStarted } else { Settled::MayHaveStarted }
    }

    pub(super) fn adopt(&self, installation: &InstallationId, instance: u64) -> Vec<AttemptId> {
        let state = self.state();
        let is_ours = |entry: &&Entry| {
            let hides_pending = self.has(StartsAfterACancel) || self.has(StartsAfterItsDeadline);
            let (attempt, by, ended) = match entry {
                Entry::Pending(_) if hides_pending => return false,
                Entry::Pending(pending) => (&pending.attempt, pending.instance, false),
                Entry::Started(job) => (&job.attempt, job.instance, job.has_ended()),
            };
            (attempt.installation == *installation || self.has(MixesInstallations))
                && (by == instance || !self.has(AdoptsOnlyItsOwnJobs))
                && !(ended && self.has(AdoptsNoEndedJobs))
        };
        let mut found: Vec<AttemptId> =
            state.entries.values().filter(is_ours).map(|entry| entry.attempt().clone()).collect();
        if self.has(AdoptsRemovedJobs) {
            let removed = state.removed.iter().filter(|(_, theirs)| *theirs == installation);
            found.extend(removed.map(|(attempt, _)| attempt.clone()));
        }
        found
    }

    /// Notes a cancel of a job that is pending. Returns whether there was one before.
    pub(super) fn cancelled_early(&self, attempt: &AttemptId) -> bool {
        let mut state = self.state();
        if let Some(Entry::Pending(_)) = state.entries.get(attempt) {
            state.cancelled_early.insert(attempt.clone());
        }
        state.cancelled_early.contains(attempt)
    }

    /// Forgets the attempt. Returns its job, whose processes still run.
    pub(super) fn remove(&self, attempt: &AttemptId) -> Option<Arc<Job>> {
        self.withdraw(attempt);
        let mut state = self.state();
        if self.has(RemovalLiftsTheFence) || self.has(RemovalLiftsTheFenceUnderWay) {
            state.fenced.remove(attempt);
        }
        let Some(Entry::Started(job)) = state.entries.remove(attempt) else { return None };
        state.removed.insert(attempt.clone(), job.attempt.installation.clone());
        Some(job)
    }
}

impl Entry {
    fn attempt(&self) -> &AttemptId {
        match self {
            Self::Pending(pending) => &pending.attempt.id,
            Self::Started(job) => &job.attempt.id,
        }
    }
}

impl Pending {
    fn is_withdrawn(&self) -> bool {
        self.answer.borrow().is_some()
    }

    pub(super) fn decision(&self) -> Decision {
        self.answer.subscribe()
    }
}

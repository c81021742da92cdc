//! An attempt that is committed on the simulated backend.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use longshore_core::{HumanDuration, LogStream, Outcome, RejectReason, Report};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

use super::meddling::SecondStart;
use super::script::{Run, Written};

/// The exit codes for the default actions of TERM and KILL: 128 + 15 and 128 + 9.
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// An attempt that was committed, or that a third party started.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) run: Run,
    pub(super) beginning: Beginning,
    pub(super) started: Instant,
    timeout: Option<Duration>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) ending: watch::Sender<Option<Ending>>,
    fate: Mutex<Fate>,
}

/// How an attempt began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Its commit took effect, and its program started.
    Committed {
        /// What a third party changed in it.
        difference: Option<String>,
    },
    /// Its commit took effect, and its program never starts.
    Blocked {
        /// What a third party changed in it.
        difference: String,
    },
    /// A third party started it.
    Released,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Running,
    Ended { report: Report, at: Instant },
    Removed,
}

/// A cancel in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    term: Instant,
    kill: Instant,
}

/// What others did to it.
#[derive(Debug, Default)]
struct Fate {
    unlabelled: bool,
    deleting: bool,
    /// Whether it ran when Longshore asked for its removal, once it did.
    removal_asked: Option<bool>,
    started_again: Vec<String>,
}

/// The end that an attempt comes to if nothing else happens.
pub(super) struct Next {
    /// When; `None` for never.
    pub(super) at: Option<Instant>,
    pub(super) outcome: Outcome,
    /// Whether nothing ended it from outside.
    pub(super) by_itself: bool,
}

impl Live {
    pub(super) fn new(run: Run, beginning: Beginning, timeout: Option<HumanDuration>) -> Self {
        Self {
            run,
            beginning,
            started: Instant::now(),
            timeout: timeout.map(HumanDuration::get),
            phase: watch::channel(Phase::Running).0,
            ending: watch::channel(None).0,
            fate: Mutex::default(),
        }
    }

    pub(super) const fn program_runs(&self) -> bool {
        !matches!(self.beginning, Beginning::Blocked { .. })
    }

    /// Returns what a third party changed in it when it was created.
    pub(super) fn difference(&self) -> Option<&str> {
        match &self.beginning {
            Beginning::Committed { difference } => difference.as_deref(),
            Beginning::Blocked { difference } => Some(difference),
            Beginning::Released => None,
        }
    }

    /// Returns from when on the backend cannot read it.
    pub(super) fn unreadable_from(&self) -> Option<Instant> {
        self.run.unreadable.map(|wait| self.started + wait)
    }

    pub(super) fn is_removed(&self) -> bool {
        *self.phase.borrow() == Phase::Removed
    }

    /// Whether a search by labels finds it.
    pub(super) fn is_listed(&self) -> bool {
        let fate = self.fate();
        !fate.unlabelled && !fate.deleting && !self.is_removed()
    }

    pub(super) fn lose_labels(&self) {
        self.fate().unlabelled = true;
    }

    pub(super) fn is_being_deleted(&self) -> bool {
        self.fate().deleting && !self.is_removed()
    }

    /// Asks for its deletion. Returns whether this is the first time.
    pub(super) fn ask_deletion(&self, by_longshore: bool) -> bool {
        let running = *self.phase.borrow() == Phase::Running;
        let mut fate = self.fate();
        if by_longshore {
            fate.removal_asked.get_or_insert(running);
        }
        !std::mem::replace(&mut fate.deleting, true)
    }

    /// Returns whether it ran when Longshore asked for its removal, or `None` if it did not ask.
    pub(super) fn removal_asked(&self) -> Option<bool> {
        self.fate().removal_asked
    }

    pub(super) fn cancel(&self, grace: Duration) {
        let now = Instant::now();
        self.ending.send_modify(|ending| {
            let before = ending.unwrap_or(Ending { term: now, kill: now + grace });
            *ending = Some(Ending { term: before.term, kill: before.kill.min(now + grace) });
        });
    }

    /// Returns when its program starts a second time while the first run lasts.
    pub(super) fn starts_again(&self) -> Option<Instant> {
        match self.run.second_start {
            Some(SecondStart::Beside(wait) | SecondStart::InPlace(wait)) if self.program_runs() => {
                Some(self.started + wait)
            }
            _ => None,
        }
    }

    pub(super) fn started_again(&self, name: &str) {
        self.fate().started_again.push(name.to_owned());
    }

    /// Returns the outcome of a run that a second one replaced.
    pub(super) fn replaced() -> Outcome {
        let message = "simulated: a third party changed it, and it was started again";
        Outcome::Lost { message: message.to_owned() }
    }

    /// Returns its report at its end.
    pub(super) fn report(
        &self,
        outcome: Outcome,
        started: Option<Timestamp>,
        now: Timestamp,
    ) -> Report {
        let mut report = Report::new(outcome);
        report.started_at = started;
        report.finished_at = Some(now);
        report.started_again.clone_from(&self.fate().started_again);
        report
    }

    /// Returns what it writes.
    pub(super) fn output(&self) -> &[Written] {
        if self.program_runs() { &self.run.output } else { &[] }
    }

    /// Returns what it wrote to standard output until `at`.
    pub(super) fn written_by(&self, at: Instant) -> Bytes {
        let until = at - self.started;
        let stdout = self.output().iter().filter(|w| w.stream == LogStream::Stdout);
        stdout.filter(|w| w.at <= until).flat_map(|w| w.bytes.iter().copied()).collect()
    }

    /// Returns when and how it ends according to the current state.
    pub(super) fn end(&self, ending: Option<Ending>) -> Next {
        if let Beginning::Blocked { difference } = &self.beginning {
            return self.end_blocked(difference, ending);
        }
        let by_itself = self.run.lasts.map(|d| (self.started + d, self.run.outcome.clone(), true));
        let late = Outcome::DeadlineExceeded { code: Some(TERMINATED) };
        let by_timeout = self.timeout.map(|d| (self.started + d, late, false));
        let by_cancel = ending.map(|ending| match self.run.term {
            Some(term) if ending.term + term < ending.kill => {
                (ending.term + term, Outcome::Cancelled { code: Some(TERMINATED) }, false)
            }
            _ => (ending.kill, Outcome::Cancelled { code: Some(KILLED) }, false),
        });
        let ends = [by_itself, by_timeout, by_cancel];
        match ends.into_iter().flatten().min_by_key(|(at, ..)| *at) {
            Some((at, outcome, by_itself)) => Next { at: Some(at), outcome, by_itself },
            None => Next { at: None, outcome: self.run.outcome.clone(), by_itself: true },
        }
    }

    fn end_blocked(&self, difference: &str, ending: Option<Ending>) -> Next {
        let rejected = Outcome::Rejected {
            reason: RejectReason::ContainerConfig,
            message: format!("simulated: it cannot start: {difference}"),
        };
        let by_itself = self.run.lasts.map(|d| self.started + d);
        match (by_itself, ending) {
            (at, Some(ending)) if at.is_none_or(|at| ending.term < at) => Next {
                at: Some(ending.term),
                outcome: Outcome::Cancelled { code: None },
                by_itself: false,
            },
            (at, _) => Next { at, outcome: rejected, by_itself: false },
        }
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock()
    }
}

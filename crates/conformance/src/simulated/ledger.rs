//! What truly happened.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use longshore_core::{AttemptId, ErrorKind, Outcome, RunnerName};
use tokio::time::Instant;

/// One thing that happened on a simulated backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// When, counted from the world's beginning.
    pub at: Duration,
    /// Where.
    pub runner: RunnerName,
    /// To which attempt.
    pub attempt: AttemptId,
    /// What.
    pub what: What,
}

impl Entry {
    /// The job's identity, as text.
    #[must_use]
    pub fn job(&self) -> &str {
        self.attempt.as_str().rsplit_once('-').map_or("", |(job, _)| job)
    }
}

/// What happened to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Its runner was asked to launch it.
    LaunchAsked,
    /// Its runner refused it: nothing started, nothing is under way.
    Refused(ErrorKind),
    /// Its launch was dropped before it had answered.
    LaunchDropped,
    /// It started.
    Started,
    /// It was fenced: it can never start.
    Fenced,
    /// A start came after the fence, and was prevented.
    StartPrevented,
    /// Its runner was asked to end it.
    CancelAsked,
    /// It ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// What it had written to standard output.
        output: Bytes,
    },
    /// Somebody else deleted it while it ran.
    Vanished,
    /// It was removed.
    Removed {
        /// Whether it still ran.
        running: bool,
    },
}

/// The ledger of a world, shared by its backends.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    epoch: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), entries: Arc::default() }
    }

    pub(super) const fn epoch(&self) -> Instant {
        self.epoch
    }

    pub(super) fn note(&self, runner: &RunnerName, attempt: &AttemptId, what: What) {
        let entry = Entry {
            at: self.epoch.elapsed(),
            runner: runner.clone(),
            attempt: attempt.clone(),
            what,
        };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

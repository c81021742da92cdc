//! What truly happened.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::{AttemptId, ErrorKind, Outcome, RunnerName};
use parking_lot::Mutex;
use tokio::time::Instant;

/// One thing that happened on a simulated backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// When it happened, since the world's beginning.
    pub at: Duration,
    /// The runner on whose backend it happened.
    pub runner: RunnerName,
    /// The attempt.
    pub attempt: AttemptId,
    /// What happened.
    pub what: What,
}

impl Entry {
    /// Returns the job's id as text.
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
    /// Its runner refused it: nothing started and nothing will.
    Refused(ErrorKind),
    /// Its launch was dropped before it answered.
    LaunchDropped,
    /// Its commit took effect, and it started.
    Started,
    /// Its commit took effect, and it can never start, because a third party changed it.
    Blocked,
    /// A third party started it, uncommitted.
    Released,
    /// The backend started its program a second time, as the instance of this name.
    StartedAgain(String),
    /// A third party changed its object, in these words.
    Changed(String),
    /// A third party removed Longshore's marks from its object.
    MarksLost,
    /// Its deletion was accepted, and another controller's finalizer keeps it for now.
    DeletionPending,
    /// It was fenced: it can never start.
    Fenced,
    /// The fence prevented a later start.
    StartPrevented,
    /// Its runner was asked to end it.
    CancelAsked,
    /// It ended.
    Ended {
        /// The outcome.
        outcome: Outcome,
        /// What it wrote to standard output.
        output: Bytes,
    },
    /// A third party deleted it. It ran when the deletion was accepted.
    Vanished,
    /// It was removed.
    Removed {
        /// Whether it was still running when the removal was asked for.
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
        self.entries.lock().push(entry);
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().clone()
    }
}

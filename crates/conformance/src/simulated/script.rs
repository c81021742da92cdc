//! How a simulated backend answers.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, LogStream, Outcome, RunnerName};

use super::meddling::{Meddling, SecondStart};

/// How a simulated backend answers. Each call takes the next entry of its queue; with an empty
/// queue every call succeeds.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The minimum duration of every call.
    pub latency: Duration,
    /// What names the backend's server.
    pub server: Option<String>,
    /// What names the access to it.
    pub access: Option<String>,
    /// The target of its attempts. What it does not know of another target proves nothing.
    pub target: Option<String>,
    /// What probes find.
    pub probes: VecDeque<ProbeStep>,
    /// What launches do.
    pub launches: VecDeque<LaunchStep>,
    /// What third parties do to each launched attempt.
    pub meddling: VecDeque<Meddling>,
    /// How the started jobs run; once empty, [`Run::default`].
    pub runs: VecDeque<Run>,
    /// What settling does.
    pub settles: VecDeque<SettleStep>,
    /// What cancelling does.
    pub cancels: VecDeque<CallStep>,
    /// What removing does.
    pub removals: VecDeque<CallStep>,
    /// After how many pieces a stream of output fails with an error.
    pub log_breaks: VecDeque<usize>,
    /// When the backend is unreachable, since the world's beginning. Its jobs continue to run.
    pub outages: Vec<Range<Duration>>,
}

/// A scripted refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Its kind.
    pub kind: ErrorKind,
    /// How long the backend asks to wait.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Returns a refusal of `kind`.
    #[must_use]
    pub const fn new(kind: ErrorKind) -> Self {
        Self { kind, retry_after: None }
    }

    /// Sets how long the backend asks to wait.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub(super) fn error(&self, runner: &RunnerName) -> Error {
        let error = Error::new(self.kind, format!("simulated: {:?}", self.kind)).on(runner);
        match self.retry_after {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    }
}

/// What a probe finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeStep {
    /// The backend is healthy.
    Well,
    /// It fails.
    Fail(Refusal),
    /// It never answers.
    Hang,
}

/// What a launch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaunchStep {
    /// It starts the job after a delay, unless it is cancelled or its deadline passes first.
    Start {
        /// How long it takes.
        after: Duration,
    },
    /// It refuses the job.
    Refuse(Refusal),
    /// Its answer is lost: it returns `Indeterminate`.
    AnswerLost {
        /// When the job nevertheless starts, since the call, unless it is fenced first. That may be
        /// before or after the answer.
        effect: Option<Duration>,
        /// When the launch stops waiting, since the call.
        answer: Duration,
    },
    /// It never answers, neither at its deadline nor when it is cancelled. Breaks the contract.
    Hang {
        /// As in [`AnswerLost`](Self::AnswerLost).
        effect: Option<Duration>,
    },
}

/// What settling does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettleStep {
    /// It answers truthfully, and fences what has not started.
    Answer,
    /// It fails and changes nothing.
    Fail,
    /// It fences what has not started, but its answer is lost.
    AnswerLost,
    /// It does not answer before its deadline, and then fails.
    Hang,
}

/// What another call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallStep {
    /// It does what it should.
    Answer,
    /// It fails and changes nothing.
    Fail,
    /// It does what it should, but its answer is lost.
    AnswerLost,
}

/// How a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// How long it runs unless it is ended early; `None` means forever.
    pub lasts: Option<Duration>,
    /// How it ends after that time.
    pub outcome: Outcome,
    /// How long it takes to end after TERM; `None` means that it ignores TERM.
    pub term: Option<Duration>,
    /// When another party deletes it while it runs, since its start.
    pub vanishes: Option<Duration>,
    /// How long another controller's finalizer keeps the attempt after its deletion was accepted.
    /// Meanwhile a job that runs continues, and `adopt` does not return the attempt.
    pub finalizer: Option<Duration>,
    /// From when on, since its start, the backend cannot read the attempt: it answers, but each event
    /// stream of the attempt fails.
    pub unreadable: Option<Duration>,
    /// When the backend starts the job's program a second time, without being asked.
    pub second_start: Option<SecondStart>,
    /// What it writes.
    pub output: Vec<Written>,
}

/// A piece of output, and when it is written, since the job's start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// When.
    pub at: Duration,
    /// The stream.
    pub stream: LogStream,
    /// What.
    pub bytes: Bytes,
}

impl Written {
    /// Returns `bytes` written to standard output `at` after the start.
    #[must_use]
    pub const fn stdout(at: Duration, bytes: Bytes) -> Self {
        Self { at, stream: LogStream::Stdout, bytes }
    }
}

impl Default for Run {
    /// Returns a job that runs for a second, writes nothing, and exits with 0.
    fn default() -> Self {
        Self {
            lasts: Some(Duration::from_secs(1)),
            outcome: Outcome::Exited { code: 0, signal: None },
            term: Some(Duration::ZERO),
            vanishes: None,
            finalizer: None,
            unreadable: None,
            second_start: None,
            output: Vec::new(),
        }
    }
}

impl Run {
    /// Returns a job that runs until it is ended.
    #[must_use]
    pub fn endless() -> Self {
        Self { lasts: None, ..Self::default() }
    }

    /// Returns a job that exits with `code` after `lasts`.
    #[must_use]
    pub fn exits(code: i32, lasts: Duration) -> Self {
        let outcome = Outcome::Exited { code, signal: None };
        Self { lasts: Some(lasts), outcome, ..Self::default() }
    }

    /// Makes the job ignore TERM.
    #[must_use]
    pub const fn ignoring_term(mut self) -> Self {
        self.term = None;
        self
    }

    /// Lets another party delete the job after `wait`, if it still runs.
    #[must_use]
    pub const fn vanishing(mut self, wait: Duration) -> Self {
        self.vanishes = Some(wait);
        self
    }

    /// Lets another controller's finalizer keep the deleted attempt for `wait`.
    #[must_use]
    pub const fn finalized_after(mut self, wait: Duration) -> Self {
        self.finalizer = Some(wait);
        self
    }

    /// Lets the backend fail to read the attempt from `wait` on.
    #[must_use]
    pub const fn unreadable_after(mut self, wait: Duration) -> Self {
        self.unreadable = Some(wait);
        self
    }

    /// Lets the backend start the job's program a second time.
    #[must_use]
    pub const fn starting_again(mut self, again: SecondStart) -> Self {
        self.second_start = Some(again);
        self
    }

    /// Sets the outcome.
    #[must_use]
    pub fn ending_as(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Sets the output.
    #[must_use]
    pub fn writing(mut self, output: impl IntoIterator<Item = Written>) -> Self {
        self.output = output.into_iter().collect();
        self
    }
}

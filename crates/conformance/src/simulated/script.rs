//! What a simulated backend does when it is asked.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, LogStream, Outcome, RunnerName};

/// What a simulated backend does when it is asked. Each queue is used up in the order of the
/// calls; once it is empty everything goes well.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// How long every call takes at least.
    pub latency: Duration,
    /// What probes find.
    pub probes: VecDeque<ProbeStep>,
    /// What launches do.
    pub launches: VecDeque<LaunchStep>,
    /// How the jobs go that start; once empty, [`Run::default`].
    pub runs: VecDeque<Run>,
    /// What settling does.
    pub settles: VecDeque<SettleStep>,
    /// What cancelling does.
    pub cancels: VecDeque<CallStep>,
    /// What removing does.
    pub removals: VecDeque<CallStep>,
    /// After how many pieces a stream of output breaks off with an error.
    pub log_breaks: VecDeque<usize>,
    /// When the backend is out of reach, counted from the world's beginning. What runs there goes
    /// on.
    pub outages: Vec<Range<Duration>>,
}

/// A refusal to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Its kind.
    pub kind: ErrorKind,
    /// What the backend asks to wait.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal of `kind`.
    #[must_use]
    pub const fn new(kind: ErrorKind) -> Self {
        Self { kind, retry_after: None }
    }

    /// The same, with a wait asked for.
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
    /// All is well.
    Well,
    /// It fails.
    Fail(Refusal),
    /// No answer, ever.
    Hang,
}

/// What a launch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaunchStep {
    /// It starts the job after a while, unless it is cancelled or its deadline comes before.
    Start {
        /// How long it takes.
        after: Duration,
    },
    /// It refuses the job.
    Refuse(Refusal),
    /// Its answer is lost: it says `Indeterminate`.
    AnswerLost {
        /// When the job starts all the same, counted from the call, if nobody fences it before;
        /// that may be before the answer or after it.
        effect: Option<Duration>,
        /// When the launch gives up waiting, counted from the call.
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
    /// It fails, and has changed nothing.
    Fail,
    /// It fences what has not started, and its answer is lost.
    AnswerLost,
    /// No answer before its deadline, then an error.
    Hang,
}

/// What another call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallStep {
    /// It does what it should.
    Answer,
    /// It fails, and has changed nothing.
    Fail,
    /// It does what it should, and its answer is lost.
    AnswerLost,
}

/// How a job goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// How long it runs if nobody ends it; none: for ever.
    pub lasts: Option<Duration>,
    /// How it then ends.
    pub outcome: Outcome,
    /// How long it takes to end after TERM; none: it ignores it.
    pub term: Option<Duration>,
    /// When somebody deletes it while it runs, counted from the start.
    pub vanishes: Option<Duration>,
    /// What it writes.
    pub output: Vec<Written>,
}

/// A piece of output, and when it is written, counted from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// When.
    pub at: Duration,
    /// Where to.
    pub stream: LogStream,
    /// What.
    pub bytes: Bytes,
}

impl Written {
    /// `bytes` written to standard output `at` after the start.
    #[must_use]
    pub const fn stdout(at: Duration, bytes: Bytes) -> Self {
        Self { at, stream: LogStream::Stdout, bytes }
    }
}

impl Default for Run {
    /// A job that runs a second, writes nothing, and exits with 0.
    fn default() -> Self {
        Self {
            lasts: Some(Duration::from_secs(1)),
            outcome: Outcome::Exited { code: 0, signal: None },
            term: Some(Duration::ZERO),
            vanishes: None,
            output: Vec::new(),
        }
    }
}

impl Run {
    /// A job that runs until it is ended.
    #[must_use]
    pub fn endless() -> Self {
        Self { lasts: None, ..Self::default() }
    }

    /// A job that exits with `code` after `lasts`.
    #[must_use]
    pub fn exits(code: i32, lasts: Duration) -> Self {
        let outcome = Outcome::Exited { code, signal: None };
        Self { lasts: Some(lasts), outcome, ..Self::default() }
    }

    /// The same, ignoring TERM.
    #[must_use]
    pub const fn ignoring_term(mut self) -> Self {
        self.term = None;
        self
    }

    /// The same, deleted by somebody after `wait`, if it still runs then.
    #[must_use]
    pub const fn vanishing(mut self, wait: Duration) -> Self {
        self.vanishes = Some(wait);
        self
    }

    /// The same, ending as `outcome`.
    #[must_use]
    pub fn ending_as(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same, writing `output`.
    #[must_use]
    pub fn writing(mut self, output: impl IntoIterator<Item = Written>) -> Self {
        self.output = output.into_iter().collect();
        self
    }
}

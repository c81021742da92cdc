//! The result of trying one runner for a job.

use std::sync::Arc;

use longshore_core::{AttemptId, Error, Report, Started};

use crate::attempt_client::AttemptClient;
use crate::candidate::Candidate;

/// An attempt that has started or may have started.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) candidate: Arc<Candidate>,
    pub(crate) attempt: AttemptId,
    pub(crate) number: u32,
    pub(crate) client: AttemptClient,
    pub(crate) found: Found,
    /// Whether the registry did not answer under an earlier pull policy.
    pub(crate) after_no_answer: bool,
}

/// What is known about an attempt.
#[derive(Debug)]
pub(crate) enum Found {
    Started(Started),
    MayHaveStarted,
    Ended(Report),
    Unknown,
}

/// The outcome of trying one runner.
pub(crate) enum Tried {
    Taken(Box<Taken>),
    Refused(Error),
    /// The launches under way on the runner make no progress. Nothing of this job was launched.
    Hangs(Error),
    /// The job was cancelled, and provably nothing started.
    Cancelled,
    /// A step could not be recorded. Provably nothing started.
    Unrecorded(Error),
}

//! The error of a caller that waits for a job which this process no longer follows.

use longshore_core::JobId;
use serde::{Deserialize, Serialize};

/// This process no longer follows a job. Nothing is known about the job's end, and nothing is
/// recorded: it may still run, and [`Dispatcher::attach`](crate::Dispatcher::attach) follows it from
/// any process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[error("stopped following job {job}, which may still run: {reason}")]
#[non_exhaustive]
pub struct Stopped {
    /// The job.
    pub job: JobId,
    /// Why this process stopped, in one line for a person.
    pub reason: String,
}

impl Stopped {
    pub(crate) fn new(job: &JobId, reason: impl Into<String>) -> Self {
        Self { job: job.clone(), reason: reason.into() }
    }
}

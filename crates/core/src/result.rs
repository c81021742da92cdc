//! The result of a job.

use jiff::Timestamp;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, Error, ImageReport, JobId, Outcome, RunnerName};

/// The result of a job, with the same keys on every runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// The attempt that ran, or the last one made. `None` if no runner was asked to launch.
    pub attempt: Option<AttemptId>,
    /// The runner that ran the job or caused `outcome`. `None` if no runner took the job.
    pub runner: Option<RunnerName>,
    /// How it ended.
    pub outcome: Outcome,
    /// The image the job ran; `None` for a process.
    pub image: Option<ImageReport>,
    /// Whether stdout and stderr were kept separate. `None` if the job did not run.
    pub separate_streams: Option<bool>,
    /// Each runner that was passed over, in order.
    pub passed_over: Vec<PassedOver>,
    /// When the job started, by the backend's clock.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub started_at: Option<Timestamp>,
    /// When the job ended, by the backend's clock.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub finished_at: Option<Timestamp>,
    /// The starts of the job beyond the first one, by Pod or container. Empty unless Kubernetes,
    /// whose Jobs promise "at least once", or another client of the backend started it again.
    #[serde(default)]
    pub started_again: Vec<String>,
    /// Why the job may have received only a part of its stdin. `None` if it received all of it, or
    /// as much as it wanted.
    #[serde(default)]
    pub stdin_error: Option<String>,
}

impl JobResult {
    /// Creates a result of `job` with only `outcome` known.
    #[must_use]
    pub const fn new(job: JobId, outcome: Outcome) -> Self {
        Self {
            job,
            attempt: None,
            runner: None,
            outcome,
            image: None,
            separate_streams: None,
            passed_over: Vec::new(),
            started_at: None,
            finished_at: None,
            started_again: Vec::new(),
            stdin_error: None,
        }
    }
}

/// A runner that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PassedOver {
    /// The runner.
    pub runner: RunnerName,
    /// The class of the reason: the name of an `ErrorKind`.
    pub kind: String,
    /// The reason, in one line for a person.
    pub message: String,
}

impl PassedOver {
    /// Creates the record that `runner` was passed over because of `error`.
    #[must_use]
    pub fn new(runner: &RunnerName, error: &Error) -> Self {
        Self {
            runner: runner.clone(),
            kind: error.kind().name().to_owned(),
            message: error.to_string(),
        }
    }
}

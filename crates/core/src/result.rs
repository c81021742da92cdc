//! What became of a job.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AttemptId, Error, ImageReport, JobId, Outcome, RunnerName};

/// What became of a job: the same keys whichever runner took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// The attempt that ran, or the last one made; none if no runner was asked to launch.
    pub attempt: Option<AttemptId>,
    /// The runner that ran it, or to which `outcome` is due; none if no runner took it.
    pub runner: Option<RunnerName>,
    /// How it ended.
    pub outcome: Outcome,
    /// The image it ran; none for a process.
    pub image: Option<ImageReport>,
    /// Whether stdout and stderr were kept apart; none if it did not run.
    pub separate_streams: Option<bool>,
    /// Each runner that was passed over, in order.
    pub passed_over: Vec<PassedOver>,
    /// When the job started, by the backend's clock.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When it ended, by the backend's clock.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub finished_at: Option<Timestamp>,
    /// What the backend by itself started beside the one whose end this is, by name: empty but in
    /// rare cases on Kubernetes, whose Jobs promise "at least once".
    #[serde(default)]
    pub started_again: Vec<String>,
}

impl JobResult {
    /// A result of `job` with nothing known but `outcome`.
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
        }
    }
}

/// A runner that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PassedOver {
    /// The runner.
    pub runner: RunnerName,
    /// The class of the reason, a name of `ErrorKind`.
    pub kind: String,
    /// The reason, in one line for a person.
    pub message: String,
}

impl PassedOver {
    /// `runner` passed over because of `error`.
    #[must_use]
    pub fn new(runner: &RunnerName, error: &Error) -> Self {
        Self {
            runner: runner.clone(),
            kind: error.kind().name().to_owned(),
            message: error.to_string(),
        }
    }
}

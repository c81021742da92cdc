//! What the dispatcher knows about a runner.

use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, RunnerName};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the dispatcher knows about a runner from the jobs and probes up to now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunnerStatus {
    /// The runner.
    pub runner: RunnerName,
    /// Whether the runner takes no new jobs, because a program has [cordoned](crate::Dispatcher::cordon)
    /// it.
    #[serde(default)]
    pub cordoned: bool,
    /// Whether jobs ask the runner at all.
    pub breaker: BreakerState,
    /// The number of its launches under way.
    pub launching: u32,
    /// The number of its jobs that this process follows. They have started, or may have.
    pub running: u32,
    /// The last refusal of a launch or failure of a probe.
    pub last_error: Option<RunnerError>,
    /// The last probe.
    pub last_probe: Option<LastProbe>,
}

/// Whether jobs ask a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum BreakerState {
    /// Jobs ask the runner. Nothing is known to be wrong with it.
    Closed,
    /// The runner was unavailable. Jobs pass it over at once, until a probe succeeds.
    Open {
        /// Why and since when.
        error: RunnerError,
        /// When it is probed again.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
        retry_at: Timestamp,
    },
    /// The runner had no capacity, and asked to wait. Jobs pass it over at once.
    Full {
        /// Why and since when.
        error: RunnerError,
        /// When jobs ask it again.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
        retry_at: Timestamp,
    },
}

/// An error of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunnerError {
    /// When it happened.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// Its class.
    #[serde(flatten)]
    pub kind: ErrorKind,
    /// The error, in one line for a person.
    pub message: String,
}

/// The last probe of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LastProbe {
    /// When it ended.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// Why the runner cannot take work, or `None` if it can.
    pub error: Option<RunnerError>,
}

impl RunnerError {
    /// Describes `error`, which happened at `at`.
    pub(crate) fn new(error: &Error, at: Timestamp) -> Self {
        Self { at, kind: error.kind(), message: error.to_string() }
    }
}

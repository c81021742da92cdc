//! What a launch would submit.

use serde::{Deserialize, Serialize};

/// What a launch would submit to the backend, except what is only known at launch.
///
/// Secrets appear as `***`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Plan {
    /// The format of `text`.
    pub format: PlanFormat,
    /// What would be submitted: a Job's YAML, a container's create body as JSON, or an argv.
    pub text: String,
    /// Notes for a person: what is only known at launch (the digest), what will differ (merged
    /// streams), hints.
    pub notes: Vec<String>,
}

/// The format of a [`Plan`]'s text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum PlanFormat {
    /// YAML for `kubectl`.
    Yaml,
    /// JSON for the Docker Engine API.
    Json,
    /// A command line, quoted for a POSIX shell, preceded by the environment.
    Argv,
}

impl Plan {
    /// Creates a plan without notes.
    #[must_use]
    pub const fn new(format: PlanFormat, text: String) -> Self {
        Self { format, text, notes: Vec::new() }
    }
}

//! What a check of a job finds out before the job is launched.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What [`Runner::check`](crate::Runner::check) found out about a job that is not launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Finding {
    /// What it means for the job.
    pub severity: Severity,
    /// What the finding is about.
    pub cause: FindingCause,
    /// What was found, in one line for a person, with the backend's own words.
    pub message: String,
    /// What to do about it. `None` if the message says everything.
    pub hint: Option<String>,
}

/// What a [`Finding`] means for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Severity {
    /// It could not be checked, which says nothing about the job.
    Note,
    /// The job may start, and may fail because of it.
    Warning,
    /// The job would be refused, or could not start.
    Error,
}

/// What a [`Finding`] is about. The names are those of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[non_exhaustive]
pub enum FindingCause {
    /// The Pod Security Standard that the namespace enforces.
    PodSecurity,
    /// A `ResourceQuota`.
    ResourceQuota,
    /// A `LimitRange`.
    LimitRange,
    /// An admission webhook.
    AdmissionWebhook,
    /// A `ValidatingAdmissionPolicy`.
    AdmissionPolicy,
    /// The Pod's service account.
    ServiceAccount,
    /// A Secret with which the image is pulled.
    ImagePullSecret,
    /// A Secret that the job's Pod uses.
    Secret,
    /// The Pod's `PriorityClass`.
    PriorityClass,
    /// The Pod's `RuntimeClass`.
    RuntimeClass,
    /// The namespace.
    Namespace,
    /// A permission of Longshore's own.
    Permission,
    /// The job, which the runner cannot express or which the backend finds invalid.
    Job,
    /// Anything else.
    Other,
}

impl Finding {
    /// Creates a finding without a hint.
    pub fn new(severity: Severity, cause: FindingCause, message: impl Into<String>) -> Self {
        Self { severity, cause, message: message.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

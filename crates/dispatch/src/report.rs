//! What `plan` and `doctor` report.

use std::fmt;

use longshore_core::{
    Error, Finding, Health, ImageRef, LocalImage, PassedOver, Plan, RegistryAuth, RegistryIdentity,
    RunnerName, Secret, Severity,
};
use longshore_registry::Found;

use serde::{Deserialize, Serialize};

use crate::EffectivePullPolicy;

/// What one runner would submit for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunnerPlan {
    /// The runner.
    pub runner: RunnerName,
    /// The pull policy that applies there. Relevant only if the job runs in a container there.
    pub pull_policy: EffectivePullPolicy,
    /// What it would submit, or why it would be passed over.
    pub result: Result<Plan, PassedOver>,
}

impl RunnerPlan {
    pub(crate) const fn new(
        runner: RunnerName,
        pull_policy: EffectivePullPolicy,
        result: Result<Plan, PassedOver>,
    ) -> Self {
        Self { runner, pull_policy, result }
    }
}

/// Whether one runner can take work now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunnerHealth {
    /// The runner.
    pub runner: RunnerName,
    /// The pull policy that applies there to a job that names none. `None` if the runner does not
    /// run containers.
    pub pull_policy: Option<EffectivePullPolicy>,
    /// What it found, or why it cannot take work.
    pub result: Result<Health, Error>,
    /// What it found out about a particular job, if it can take work.
    pub findings: Vec<Finding>,
}

impl RunnerHealth {
    pub(crate) const fn new(
        runner: RunnerName,
        pull_policy: Option<EffectivePullPolicy>,
        result: Result<Health, Error>,
    ) -> Self {
        Self { runner, pull_policy, result, findings: Vec::new() }
    }

    /// Returns whether the runner can take work and, if it was asked about a job, would not refuse
    /// that job.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.result.is_ok() && self.findings.iter().all(|found| found.severity < Severity::Error)
    }
}

/// What [`Dispatcher::examine`](crate::Dispatcher::examine) found out about a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Examination {
    /// What is known about the job's image. `None` for a job without a container.
    pub image: Option<ImagePreview>,
    /// Each of the job's runners, in the job's order.
    pub runners: Vec<RunnerHealth>,
}

impl Examination {
    pub(crate) const fn new(image: Option<ImagePreview>, runners: Vec<RunnerHealth>) -> Self {
        Self { image, runners }
    }
}

/// A login for a registry, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LoginName {
    /// The registry.
    pub server: String,
    /// The name of the user. `None` if an identity token replaces name and password.
    pub username: Option<String>,
    /// Where the login is configured, such as `job.registries[0]`.
    pub origin: String,
}

impl LoginName {
    /// Returns the name of the login that was `found`, if any.
    pub(crate) fn of(found: &Found) -> Option<Self> {
        let auth = found.auth.as_ref()?;
        let username = match &auth.identity {
            RegistryIdentity::Password { username, .. } => Some(username.clone()),
            _ => None,
        };
        let origin = found.origin.clone().unwrap_or_default();
        Some(Self { server: auth.server.clone(), username, origin })
    }

    /// Returns the login with a mask in place of its secret, for a plan.
    pub(crate) fn masked(&self) -> RegistryAuth {
        let mask = Secret::new("***");
        match &self.username {
            Some(username) => RegistryAuth::password(&self.server, username, mask),
            None => RegistryAuth::token(&self.server, mask),
        }
    }
}

impl fmt::Display for LoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(username) => write!(f, "{} (user {username})", self.origin),
            None => write!(f, "{} (an identity token)", self.origin),
        }
    }
}

/// What is known about a job's image before anything starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImagePreview {
    /// The image, with `job.imageRegistryPrefix` applied.
    pub image: ImageRef,
    /// The login for its registry, or `None` for an anonymous pull; or why the job would be
    /// refused.
    pub login: Result<Option<LoginName>, Error>,
    /// Problems with that login.
    pub warnings: Vec<String>,
    /// What each runner that runs containers has, in the job's order.
    pub runners: Vec<RunnerImage>,
}

/// What is known about a job's image on one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RunnerImage {
    /// The runner.
    pub runner: RunnerName,
    /// The pull policy that applies there.
    pub pull_policy: EffectivePullPolicy,
    /// Whether the image is on the runner. Also unknown if the backend did not answer.
    pub local: LocalImage,
    /// A hint if the policy may not do what is expected of it.
    pub warning: Option<String>,
}

//! What `plan` and `doctor` report.

use longshore_core::{Error, Health, ImageRef, LocalImage, PassedOver, Plan, RunnerName};

use crate::EffectivePullPolicy;

/// What one runner would submit for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Debug)]
#[non_exhaustive]
pub struct RunnerHealth {
    /// The runner.
    pub runner: RunnerName,
    /// The pull policy that applies there to a job that names none.
    pub pull_policy: EffectivePullPolicy,
    /// What it found, or why it cannot take work.
    pub result: Result<Health, Error>,
}

impl RunnerHealth {
    pub(crate) const fn new(
        runner: RunnerName,
        pull_policy: EffectivePullPolicy,
        result: Result<Health, Error>,
    ) -> Self {
        Self { runner, pull_policy, result }
    }
}

/// What is known about a job's image before anything starts.
#[derive(Debug)]
#[non_exhaustive]
pub struct ImagePreview {
    /// The image, with `job.imageRegistryPrefix` applied.
    pub image: ImageRef,
    /// The origin of the login for its registry, such as `job.registries[0]`, or `None` for an
    /// anonymous pull; or why the job would be refused.
    pub login: Result<Option<String>, Error>,
    /// Problems with that login.
    pub warnings: Vec<String>,
    /// What each runner that runs containers has, in the job's order.
    pub runners: Vec<RunnerImage>,
}

/// What is known about a job's image on one runner.
#[derive(Clone, Debug, PartialEq, Eq)]
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

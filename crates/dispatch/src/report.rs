//! What `plan` and `doctor` tell.

use std::fmt;

use longshore_core::{Error, Health, PassedOver, Plan, PullPolicies, RunnerName};

/// The pull policy in force for a job on a runner, and who set it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectivePullPolicy {
    /// The policies, tried in turn.
    pub policies: PullPolicies,
    /// Who set them.
    pub origin: PullPolicyOrigin,
}

impl EffectivePullPolicy {
    pub(crate) const fn new(policies: PullPolicies, origin: PullPolicyOrigin) -> Self {
        Self { policies, origin }
    }
}

/// Who set a pull policy; a later one wins. `Display` is the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullPolicyOrigin {
    /// `job.imagePullPolicy`, set or by default.
    Shared,
    /// `job.<runner>.imagePullPolicy`.
    Runner(RunnerName),
    /// The job itself.
    Job,
}

impl fmt::Display for PullPolicyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("job.imagePullPolicy"),
            Self::Runner(name) => write!(f, "job.{name}.imagePullPolicy"),
            Self::Job => f.write_str("the job's imagePullPolicy"),
        }
    }
}

/// What one runner would submit for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunnerPlan {
    /// The runner.
    pub runner: RunnerName,
    /// The pull policy in force there; of use only if the job runs in a container there.
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

/// Whether one runner may take work now.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunnerHealth {
    /// The runner.
    pub runner: RunnerName,
    /// The pull policy in force there for a job that names none.
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

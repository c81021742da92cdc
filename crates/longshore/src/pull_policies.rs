//! The configured pull policies of the runners.

use longshore_core::{PullPolicies, RunnerName};
use longshore_dispatch::{DispatcherBuilder, PullPolicyOrigin};

use crate::settings::Config;

/// Adds the pull policies that are configured for single runners to the dispatcher.
pub(crate) fn apply(builder: DispatcherBuilder, config: &Config) -> DispatcherBuilder {
    of_runners(config)
        .into_iter()
        .filter_map(|(name, policies)| Some((name, policies?)))
        .fold(builder, |builder, (name, policies)| builder.runner_pull_policy(name, policies))
}

fn of_runners(config: &Config) -> [(RunnerName, Option<PullPolicies>); 2] {
    let cortex = config.docker.pull_policy().map(PullPolicies::from);
    [
        (RunnerName::kubernetes(), config.job.kubernetes.image_pull_policy.clone()),
        (RunnerName::docker(), config.job.docker.image_pull_policy.clone().or(cortex)),
    ]
}

/// Returns the configuration key that set a pull policy, in the form of
/// [`Setting::key`](crate::config::Setting::key), or `None` if the job set it.
#[must_use]
pub fn pull_policy_key(config: &Config, origin: &PullPolicyOrigin) -> Option<String> {
    match origin {
        PullPolicyOrigin::Shared => Some("job.imagePullPolicy".to_owned()),
        PullPolicyOrigin::Rule { .. } => Some("job.imagePullPolicyRules".to_owned()),
        PullPolicyOrigin::Runner(name) if is_cortexs(config, name) => {
            Some("docker.autoUpdate".to_owned())
        }
        PullPolicyOrigin::Runner(name) => Some(format!("job.{name}.imagePullPolicy")),
        _ => None,
    }
}

fn is_cortexs(config: &Config, name: &RunnerName) -> bool {
    *name == RunnerName::docker() && config.job.docker.image_pull_policy.is_none()
}

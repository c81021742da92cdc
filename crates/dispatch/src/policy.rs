//! Which pull policy applies to a job on a runner, and what set it.

use std::fmt;

use longshore_core::{Error, ErrorKind, JobSpec, PullPolicies, PullPolicy, RunnerName};
use serde::{Deserialize, Serialize};

use crate::Settings;

/// The pull policy that applies to a job on a runner, and what set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EffectivePullPolicy {
    /// The policies, tried in turn.
    pub policies: PullPolicies,
    /// What set them.
    pub origin: PullPolicyOrigin,
}

/// What set a pull policy. Later variants take precedence. `Display` is the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PullPolicyOrigin {
    /// `job.imagePullPolicy`, set or by default.
    Shared,
    /// `job.<runner>.imagePullPolicy`.
    Runner(RunnerName),
    /// A rule of `job.imagePullPolicyRules`.
    Rule {
        /// Its index in the list, from 0.
        index: usize,
        /// Its pattern.
        image: String,
    },
    /// The job itself.
    Job,
}

impl fmt::Display for PullPolicyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("job.imagePullPolicy"),
            Self::Runner(name) => write!(f, "job.{name}.imagePullPolicy"),
            Self::Rule { index, image } => {
                write!(f, "job.imagePullPolicyRules[{index}], which is for {image}")
            }
            Self::Job => f.write_str("the job's imagePullPolicy"),
        }
    }
}

/// Returns the pull policy for `spec` on the runner `name`, whose own policy is `of_runner`.
/// Precedence: shared < the runner's < the first rule that matches < the job's. Without a job,
/// returns the policy for a job that sets none and whose image no rule matches.
pub(crate) fn effective(
    spec: Option<&JobSpec>,
    settings: &Settings,
    name: &RunnerName,
    of_runner: Option<&PullPolicies>,
) -> EffectivePullPolicy {
    let (policies, origin) = of_job(spec)
        .or_else(|| of_rule(spec, settings))
        .or_else(|| Some((of_runner?, PullPolicyOrigin::Runner(name.clone()))))
        .unwrap_or((&settings.image_pull_policy, PullPolicyOrigin::Shared));
    EffectivePullPolicy { policies: policies.clone(), origin }
}

fn of_job(spec: Option<&JobSpec>) -> Option<(&PullPolicies, PullPolicyOrigin)> {
    Some((spec?.image_pull_policy.as_ref()?, PullPolicyOrigin::Job))
}

fn of_rule<'a>(
    spec: Option<&JobSpec>,
    settings: &'a Settings,
) -> Option<(&'a PullPolicies, PullPolicyOrigin)> {
    let image = &spec?.container.as_ref()?.image;
    let mut rules = settings.image_pull_policy_rules.iter().enumerate();
    let (index, rule) = rules.find(|(_, rule)| rule.image.matches(image))?;
    let origin = PullPolicyOrigin::Rule { index, image: rule.image.to_string() };
    Some((&rule.image_pull_policy, origin))
}

/// Checks that `spec` names only policies that jobs may name.
///
/// # Errors
/// `InvalidSpec` that names the policy and the allowed ones.
pub(crate) fn check(spec: &JobSpec, settings: &Settings) -> Result<(), Error> {
    let allowed = &settings.allowed_pull_policies;
    let named = spec.image_pull_policy.iter().flat_map(PullPolicies::iter);
    let Some(refused) = named.into_iter().find(|policy| !allowed.contains(policy)) else {
        return Ok(());
    };
    let allowed: Vec<&str> = allowed.iter().map(|policy| policy.as_str()).collect();
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    Err(Error::new(
        ErrorKind::InvalidSpec,
        format!("the job's imagePullPolicy {refused} is not among job.allowedPullPolicies"),
    )
    .with("allowed", allowed))
}

/// The policies that jobs may name by default: all.
pub(crate) fn all() -> Vec<PullPolicy> {
    vec![PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImagePullPolicyRule;

    fn policies(text: &str) -> PullPolicies {
        text.parse().unwrap()
    }

    fn told(spec: &JobSpec, settings: &Settings, of_runner: Option<&str>) -> String {
        let name = RunnerName::docker();
        let of_runner = of_runner.map(policies);
        let found = effective(Some(spec), settings, &name, of_runner.as_ref());
        format!("{} from {}", found.policies, found.origin)
    }

    #[test]
    fn the_last_level_that_is_set_wins_and_of_rules_the_first_that_matches() {
        let mut settings = Settings::default();
        let mut spec = JobSpec::container("localhost:5000/ci/x:1".parse().unwrap());
        assert_eq!(told(&spec, &settings, None), "IfNotPresent from job.imagePullPolicy");
        settings.image_pull_policy = policies("Never");
        assert_eq!(told(&spec, &settings, None), "Never from job.imagePullPolicy");
        assert_eq!(
            told(&spec, &settings, Some("Always")),
            "Always from job.docker.imagePullPolicy"
        );
        let rule = |image: &str, policy| ImagePullPolicyRule {
            image: image.parse().unwrap(),
            image_pull_policy: policies(policy),
        };
        settings.image_pull_policy_rules =
            vec![rule("other/*", "Never"), rule("*/ci/*", "Always,Never"), rule("*", "Never")];
        assert_eq!(
            told(&spec, &settings, Some("Always")),
            "Always,Never from job.imagePullPolicyRules[1], which is for */ci/*"
        );
        spec.image_pull_policy = Some(policies("IfNotPresent"));
        let own = "IfNotPresent from the job's imagePullPolicy";
        assert_eq!(told(&spec, &settings, Some("Always")), own);
        let local = JobSpec::process(["true"]);
        assert_eq!(told(&local, &settings, None), "Never from job.imagePullPolicy");
    }

    #[test]
    fn a_job_may_name_only_the_allowed_policies_and_each_of_its_list_counts() {
        use PullPolicy::{Always, IfNotPresent, Never};
        for (allowed, own, refused) in [
            (all(), Some("Always,IfNotPresent,Never"), None),
            (vec![Always, IfNotPresent], Some("Always,IfNotPresent"), None),
            (vec![Always], Some("Always,Never"), Some("Never is not among")),
            (vec![Always], None, None),
            (vec![], None, None),
            (vec![], Some("Never"), Some("(allowed: none)")),
            (vec![Never, Always], Some("IfNotPresent"), Some("(allowed: Never, Always)")),
        ] {
            let settings = Settings { allowed_pull_policies: allowed, ..Settings::default() };
            let mut spec = JobSpec::process(["true"]);
            spec.image_pull_policy = own.map(policies);
            match (check(&spec, &settings), refused) {
                (Ok(()), None) => {}
                (Err(error), Some(said)) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
                    let error = error.to_string();
                    assert!(error.contains(said), "{error}");
                    assert!(error.contains("job.allowedPullPolicies"), "{error}");
                }
                (found, _) => panic!("{own:?}: {found:?}"),
            }
        }
    }
}

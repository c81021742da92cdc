//! A pull policy and its origin, for a person.

use longshore::Config;
use longshore::config::{Loaded, Origin, Setting};
use longshore::image::{EffectivePullPolicy, PullPolicyOrigin};

use crate::job_args::JobArgs;

/// The configuration that pull policies come from, with the origin of each key.
pub struct Policies<'a> {
    config: &'a Config,
    settings: Vec<Setting>,
}

impl<'a> Policies<'a> {
    pub fn of(loaded: &'a Loaded<Config>) -> Self {
        Self { config: &loaded.value, settings: loaded.settings().unwrap_or_default() }
    }

    /// Returns the policy, the key that set it, and what set that key: `Always
    /// (job.kubernetes.imagePullPolicy, from JOB_KUBERNETES_IMAGEPULLPOLICY)`.
    pub fn in_words(&self, policy: &EffectivePullPolicy, job: Option<&JobArgs>) -> String {
        let key = longshore::image::pull_policy_key(self.config, &policy.origin);
        let by = match (&policy.origin, key) {
            (PullPolicyOrigin::Rule { index, image }, Some(key)) => {
                format!("{key}[{index}] for {image}, {}", self.source(&key))
            }
            (_, Some(key)) => format!("{key}, {}", self.source(&key)),
            (_, None) => of_job(job),
        };
        format!("{} ({by})", policy.policies)
    }

    fn source(&self, key: &str) -> String {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        match setting.map(|setting| &setting.origin) {
            None | Some(Origin::Default) => "the default".to_owned(),
            Some(origin) => format!("from {origin}"),
        }
    }
}

fn of_job(job: Option<&JobArgs>) -> String {
    match job {
        Some(JobArgs { pull_policy: Some(_), .. }) => "--pull-policy".to_owned(),
        Some(JobArgs { file: Some(file), .. }) => {
            format!("imagePullPolicy, from {}", file.display())
        }
        _ => "the job's imagePullPolicy".to_owned(),
    }
}

//! A pull policy and its origin, for a person.

use longshore::Config;
use longshore::config::{Loaded, Origin};
use longshore::image::{EffectivePullPolicy, PullPolicyOrigin};

use crate::job_args::JobArgs;

/// Returns the policy, the key that set it, and what set that key: `Always
/// (job.kubernetes.imagePullPolicy, from JOB_KUBERNETES_IMAGEPULLPOLICY)`.
pub fn in_words(
    policy: &EffectivePullPolicy,
    loaded: &Loaded<Config>,
    job: Option<&JobArgs>,
) -> String {
    let key = longshore::image::pull_policy_key(&loaded.value, &policy.origin);
    let by = match (&policy.origin, key) {
        (PullPolicyOrigin::Rule { index, image }, Some(key)) => {
            format!("{key}[{index}] for {image}, {}", source(loaded, &key))
        }
        (_, Some(key)) => format!("{key}, {}", source(loaded, &key)),
        (_, None) => of_job(job),
    };
    format!("{} ({by})", policy.policies)
}

fn source(loaded: &Loaded<Config>, key: &str) -> String {
    let settings = loaded.settings().unwrap_or_default();
    let setting = settings.iter().find(|setting| setting.key == key);
    match setting.map(|setting| &setting.origin) {
        None | Some(Origin::Default) => "the default".to_owned(),
        Some(origin) => format!("from {origin}"),
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

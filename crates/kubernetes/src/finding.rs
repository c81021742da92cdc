//! What the answers to dry runs mean for a job. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use kube::core::Status;
use longshore_core::{Finding, FindingCause, SecurityProfile, Severity};

use crate::refusal;

/// The object that a dry run was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Job,
    Pod,
    Secret,
}

impl Checked {
    const fn name(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod => "Pod",
            Self::Secret => "Secret",
        }
    }
}

/// Returns what it means that the server refused a dry run of `checked`. `profile` is the security
/// profile of the job.
pub(crate) fn of_refusal(checked: Checked, status: &Status, profile: SecurityProfile) -> Finding {
    let words = &status.message;
    let object = checked.name();
    let is_denied = status.code == 403 && words.contains("cannot create resource");
    // Longshore creates Jobs and Secrets. Pods it creates only here.
    if is_denied && checked == Checked::Pod {
        let message = format!("the job's Pod could not be checked: {words}");
        return Finding::new(Severity::Note, FindingCause::Permission, message)
            .with_hint("allow `create` on `pods`, which only this check uses");
    }
    if is_denied {
        let message = format!("the job's {object} would be refused: {words}");
        return Finding::new(Severity::Error, FindingCause::Permission, message)
            .with_hint(format!("allow `create` on `{}s`", object.to_lowercase()));
    }
    let cause = cause(status.code, words);
    let message = format!("the job's {object} would be refused: {words}");
    let found = Finding::new(Severity::Error, cause, message);
    match hint(cause, words, profile) {
        Some(hint) => found.with_hint(hint),
        None => found,
    }
}

/// Returns what refused an object, with an answer of the code `code` and the message `words`.
fn cause(code: u16, words: &str) -> FindingCause {
    let message = words.to_lowercase();
    let has = |words: &str| message.contains(words);
    // These come first: the text that follows is the policy's own, and may repeat any phrase below.
    if has("admission webhook") || has("failed calling webhook") || has("failed to call webhook") {
        FindingCause::AdmissionWebhook
    } else if has("validatingadmissionpolicy") {
        FindingCause::AdmissionPolicy
    } else if has("violates podsecurity") {
        FindingCause::PodSecurity
    } else if has("exceeded quota") || has("failed quota") || has("status unknown for quota") {
        FindingCause::ResourceQuota
    } else if has(" usage per ") || has("limit to request ratio per ") {
        FindingCause::LimitRange
    } else if has("no priorityclass with name") {
        FindingCause::PriorityClass
    } else if has("runtimeclass") && has("not found") {
        FindingCause::RuntimeClass
    } else if (has("service account") || has("serviceaccount")) && has("not found") {
        FindingCause::ServiceAccount
    } else if has("because it is being terminated") || code == 404 && has("namespaces \"") {
        FindingCause::Namespace
    } else if matches!(code, 400 | 413 | 422) {
        FindingCause::Job
    } else {
        FindingCause::Other
    }
}

/// Returns what to do about a refusal.
fn hint(cause: FindingCause, words: &str, profile: SecurityProfile) -> Option<String> {
    Some(match cause {
        FindingCause::PodSecurity => match refusal::violated_profile(words) {
            Some(demanded) if demanded < profile => {
                format!("set job.securityProfile: {demanded}, or securityProfile in the job")
            }
            // The profile fits, so something else violates the standard.
            _ => "look for the field that the message names in job.kubernetes.podTemplate".to_owned(),
        },
        FindingCause::ResourceQuota if words.contains("failed quota") => {
            "set job.kubernetes.defaultResources: the quota counts only Pods that say what they need"
                .to_owned()
        }
        FindingCause::ResourceQuota => {
            "wait until other jobs have ended, or raise the quota; a job falls back to the next \
             runner meanwhile"
                .to_owned()
        }
        FindingCause::LimitRange => {
            "set job.kubernetes.defaultResources and maxResources to what the LimitRange allows"
                .to_owned()
        }
        FindingCause::AdmissionWebhook if !words.contains("denied the request") => {
            "the webhook gives no answer: check its Service and its Pods".to_owned()
        }
        FindingCause::AdmissionWebhook | FindingCause::AdmissionPolicy => {
            "a policy of the cluster decides; if it depends on the image, name one of yours with \
             --image"
                .to_owned()
        }
        FindingCause::ServiceAccount => {
            "create the service account, or correct job.kubernetes.serviceAccountName".to_owned()
        }
        FindingCause::PriorityClass => {
            "create the PriorityClass, or correct job.kubernetes.priorityClassName".to_owned()
        }
        FindingCause::RuntimeClass => {
            "create the RuntimeClass, or correct job.kubernetes.runtimeClassName".to_owned()
        }
        FindingCause::Namespace => {
            "create the namespace, or correct job.kubernetes.namespace".to_owned()
        }
        FindingCause::Job => {
            "correct the field that the message names; most fields come from job.kubernetes".to_owned()
        }
        _ => return None,
    })
}

/// A Secret that a Pod names and does not start without, or with which its images are pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedSecret {
    pub(crate) name: String,
    to_pull: bool,
}

impl NamedSecret {
    /// Returns what it means that this Secret does not exist. `configured` are the pull secrets of
    /// the configuration.
    pub(crate) fn is_missing(&self, configured: &[String]) -> Finding {
        let name = &self.name;
        if !self.to_pull {
            let message = format!("the Secret `{name}`, which the job's Pod uses, does not exist");
            return Finding::new(Severity::Error, FindingCause::Secret, message)
                .with_hint("create the Secret, or correct its name in the job or the podTemplate");
        }
        let message = format!("the Secret `{name}`, with which images are pulled, does not exist");
        let place = if configured.contains(name) {
            "job.kubernetes.imagePullSecrets"
        } else {
            "the Pod's service account or podTemplate"
        };
        Finding::new(Severity::Warning, FindingCause::ImagePullSecret, message).with_hint(format!(
            "create it (kubectl create secret docker-registry {name} ...), or correct {place}"
        ))
    }

    /// Returns what it means that the server's answer does not show whether this Secret exists.
    pub(crate) fn is_unknown(&self, answer: &Status) -> Finding {
        let cause = if self.to_pull { FindingCause::ImagePullSecret } else { FindingCause::Secret };
        let message = format!(
            "whether the Secret `{}` exists could not be checked: {}",
            self.name, answer.message
        );
        Finding::new(Severity::Note, cause, message)
    }
}

/// Returns the Secrets that `spec` names, each once.
pub(crate) fn secrets_of(spec: &PodSpec) -> Vec<NamedSecret> {
    let mut found: BTreeMap<&str, bool> = BTreeMap::new();
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    for container in containers {
        let variables = container.env.iter().flatten();
        let keys = variables.filter_map(|it| it.value_from.as_ref()?.secret_key_ref.as_ref());
        found.extend(keys.filter(|it| it.optional != Some(true)).map(|it| (&*it.name, false)));
        let sources = container.env_from.iter().flatten();
        let sources = sources.filter_map(|it| it.secret_ref.as_ref());
        found.extend(sources.filter(|it| it.optional != Some(true)).map(|it| (&*it.name, false)));
    }
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
    let volumes = volumes.filter(|it| it.optional != Some(true));
    found.extend(volumes.filter_map(|it| Some((it.secret_name.as_deref()?, false))));
    for secret in spec.image_pull_secrets.iter().flatten() {
        found.entry(&secret.name).or_insert(true);
    }
    let named = |(name, to_pull): (&str, bool)| NamedSecret { name: name.to_owned(), to_pull };
    found.into_iter().map(named).collect()
}

#[cfg(test)]
#[path = "finding_tests.rs"]
mod tests;

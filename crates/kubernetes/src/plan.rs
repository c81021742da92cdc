//! A preview of what a launch would submit.

use longshore_core::{Attempt, Error, ErrorKind, Plan, PlanFormat, Result};
use serde::Serialize;

use crate::config::KubernetesConfig;
use crate::{secret, strict, translate};

/// Returns what a launch of `attempt` would submit.
pub(crate) fn plan(attempt: &Attempt, config: &KubernetesConfig) -> Result<Plan> {
    let submission = translate::translate(attempt, config)?;
    let mut text = yaml(&submission.job)?;
    if let Some(secret) = secret::secret(attempt, config, |_| "***".to_owned()) {
        text = format!("{text}---\n{}", yaml(&secret)?);
    }
    let mut plan = Plan::new(PlanFormat::Yaml, text);
    plan.notes.push("stdout and stderr come as one stream".to_owned());
    plan.notes.push(
        "learnt at launch: the node, the image's digest, and whether the image was pulled"
            .to_owned(),
    );
    plan.notes.push(
        "created suspended, and released only once the launch is recorded as begun".to_owned(),
    );
    if secret::pull_secrets(attempt, config).is_some() {
        plan.notes.push(
            "the Pod names pull secrets of its own, so Kubernetes adds none of its service \
             account's"
                .to_owned(),
        );
    }
    if config.namespace.is_none() {
        plan.notes.push("the namespace is that of the kubeconfig's context".to_owned());
    }
    Ok(plan)
}

fn yaml(object: &impl Serialize) -> Result<String> {
    // The conversion to a JSON value gives the form that Longshore sends.
    let failed = "failed to write the Job as YAML";
    let value = strict::to_json(object)
        .map_err(|e| Error::new(ErrorKind::Internal, failed).caused_by(e))?;
    let text = serde_saphyr::to_string(&value)
        .map_err(|e| Error::new(ErrorKind::Internal, failed).caused_by(e))?;
    Ok(if text.ends_with('\n') { text } else { format!("{text}\n") })
}

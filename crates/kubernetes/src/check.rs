//! Checks whether the cluster would accept a job, by dry runs of what a launch would create.

use futures::future::join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::{Attempt, Finding, FindingCause, Result, Severity};

use crate::backend::Backend;
use crate::client::{Cluster, Failure};
use crate::finding::{self, Checked, NamedSecret};
use crate::job_view::JobView;
use crate::location::Location;
use crate::{admission, secret, translate};

/// Checks whether the cluster would accept `attempt`. A Job is accepted even where its Pod is
/// refused, so both are checked.
pub(crate) async fn check(backend: &Backend, attempt: &Attempt) -> Result<Vec<Finding>> {
    let submitted = translate::translate(attempt, &backend.config)?.job;
    let cluster = backend.connection.cluster().await?;
    let location = Location::of(attempt, backend.config.namespace.as_deref());
    let profile = attempt.spec.security_profile.unwrap_or(backend.config.security_profile);
    let mut findings = Vec::new();
    let refused = |failure: Failure, checked: Checked| match failure.refusal() {
        Some(status) => Ok(finding::of_refusal(checked, status, profile)),
        None => Err(cluster.locate(failure.into())),
    };
    let job = match cluster.would_create(&location, &submitted).await {
        Ok(job) => {
            findings.extend(interference(&submitted, &job));
            job
        }
        Err(failure) => {
            findings.push(refused(failure, Checked::Job)?);
            submitted
        }
    };
    let mut pod = pod_of(&job);
    match cluster.would_create(&location, &pod).await {
        // It also has what admission adds, such as the pull secrets of the service account.
        Ok(admitted) => pod = admitted,
        Err(failure) => findings.push(refused(failure, Checked::Pod)?),
    }
    if let Some(own) = secret::secret(attempt, &backend.config, |value| value.expose().to_owned())
        && let Err(failure) = cluster.would_create(&location, &own).await
    {
        findings.push(refused(failure, Checked::Secret)?);
    }
    let spec = pod.spec.unwrap_or_default();
    findings.extend(secrets(&cluster, &location, &spec, &backend.config.image_pull_secrets).await?);
    Ok(findings)
}

/// Returns what admission, or another controller, would do to the Job so that a launch refuses it.
fn interference(submitted: &Job, created: &Job) -> Option<Finding> {
    let found = |message| Finding::new(Severity::Error, FindingCause::AdmissionWebhook, message);
    if let Some(owner) = JobView::from(created).foreign_owner {
        let message =
            format!("another controller starts and stops Jobs in this namespace: {owner}");
        return Some(found(message));
    }
    let changes = admission::broken_by_admission(submitted, created)?;
    Some(found(format!("admission changes Longshore's Jobs in this namespace: {changes}")))
}

/// Returns the Pod that the Job controller would create for `job`.
fn pod_of(job: &Job) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let name = job.metadata.name.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            ..template.metadata.unwrap_or_default()
        },
        spec: template.spec,
        status: None,
    }
}

/// Returns what is wrong with the Secrets that `spec` names, except the attempt's own.
async fn secrets(
    cluster: &Cluster,
    location: &Location,
    spec: &PodSpec,
    configured: &[String],
) -> Result<Vec<Finding>> {
    let mut named = finding::secrets_of(spec);
    named.retain(|secret| secret.name != location.job);
    let checks = named.iter().map(|secret| check_secret(cluster, location, secret, configured));
    let found: Result<Vec<_>> = join_all(checks).await.into_iter().collect();
    Ok(found?.into_iter().flatten().collect())
}

/// Checks that a Secret exists. Longshore may not read Secrets, but a dry run that creates one
/// reports that the name is in use.
async fn check_secret(
    cluster: &Cluster,
    location: &Location,
    named: &NamedSecret,
    configured: &[String],
) -> Result<Option<Finding>> {
    let object = Secret {
        metadata: ObjectMeta { name: Some(named.name.clone()), ..<_>::default() },
        ..<_>::default()
    };
    match cluster.would_create(location, &object).await {
        Ok(_) => Ok(Some(named.is_missing(configured))),
        Err(failure) => match failure.refusal() {
            Some(status) if status.code == 409 => Ok(None),
            Some(status) => Ok(Some(named.is_unknown(status))),
            None => Err(cluster.locate(failure.into())),
        },
    }
}

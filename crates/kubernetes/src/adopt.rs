//! Finds the attempts of an installation on the cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use longshore_core::{Handle, InstallationId, Result};

use crate::backend::Backend;
use crate::client::Cluster;
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::{self, object_name};
use crate::owner::Owners;

/// Returns the attempts of `installation`, except those of commands in other Pods.
pub(crate) async fn adopt(backend: &Backend, installation: &InstallationId) -> Result<Vec<Handle>> {
    let cluster = backend.connection.cluster().await?;
    let anywhere = anywhere(backend, &cluster, installation);
    let owners = Owners::new(&cluster, cluster.namespace(&anywhere), &backend.config);
    let mut attempts = BTreeSet::new();
    for job in cluster.jobs_of(&anywhere).await? {
        attempts.extend(attempt(&job).filter(|_| !owners.is_foreign(&job)));
    }
    // A client that deletes a Job with `--cascade=orphan` leaves its Pod behind.
    for pod in cluster.orphans_of(&anywhere).await? {
        attempts.extend(pod.labels().get(names::ATTEMPT).cloned());
    }
    attempts.into_iter().map(|attempt| handle(backend, &anywhere, attempt)).collect()
}

/// Returns the attempts of `installation` whose commands ran in other Pods and have ended, and why.
pub(crate) async fn abandoned(
    backend: &Backend,
    installation: &InstallationId,
) -> Result<Vec<(Handle, String)>> {
    let cluster = backend.connection.cluster().await?;
    let anywhere = anywhere(backend, &cluster, installation);
    let mut owners = Owners::new(&cluster, cluster.namespace(&anywhere), &backend.config);
    let mut abandoned = Vec::new();
    for job in cluster.jobs_of(&anywhere).await? {
        if let Some(attempt) = attempt(&job)
            && let Some(why) = owners.abandoned(&job).await?
        {
            abandoned.push((handle(backend, &anywhere, attempt)?, why));
        }
    }
    Ok(abandoned)
}

fn anywhere(backend: &Backend, cluster: &Cluster, installation: &InstallationId) -> Location {
    let namespace = backend.config.namespace.as_ref().unwrap_or(&cluster.namespace);
    Location {
        namespace: Some(namespace.clone()),
        cluster: Some(cluster.id.clone()),
        job: String::new(),
        attempt: String::new(),
        installation: installation.clone(),
    }
}

/// Returns the attempt that `job` runs. Labels alone prove nothing, because any client can write
/// them.
fn attempt(job: &Job) -> Option<String> {
    let view = JobView::from(job);
    let attempt = view.attempt.filter(|_| !view.tombstone && !view.deleting)?;
    (job.metadata.name == Some(object_name(&attempt))).then_some(attempt)
}

fn handle(backend: &Backend, anywhere: &Location, attempt: String) -> Result<Handle> {
    let job = object_name(&attempt);
    Location { job, attempt, ..anywhere.clone() }.handle(&backend.name)
}

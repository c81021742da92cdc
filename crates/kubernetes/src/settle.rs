//! Determines whether an attempt has started, and prevents it from starting.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::{Error, ErrorKind, Result, Settled};
use tokio::time::{Instant, timeout_at};

use crate::api::Patched;
use crate::backend::Backend;
use crate::client::Cluster;
use crate::discards::{Deleted, delete_unreleased};
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::{self, Commit, Ending};
use crate::pod_view::PodView;
use crate::withdraw;

/// How long a tombstone stays: longer than any request that was in flight when it was created.
const TOMBSTONE_SECONDS: i32 = 600;
/// How many times the Job is read again if it changes between the read and the patch. Each step of
/// the protocol is final, so there are only a few.
const TRIES: usize = 5;

/// Removes the attempt at `location`. A fence stays, because a late launch must find the name in use.
pub(crate) async fn remove(backend: &Backend, location: &Location) -> Result<()> {
    let cluster = backend.cluster_of(location).await?;
    // A Job that this process has released is no tombstone, so it need not be read.
    if backend.has_committed(location) {
        if !cluster.delete_job(location, None).await? {
            remove_orphans(&cluster, location).await?;
        }
        return Ok(());
    }
    let Some(job) = cluster.get_job(location).await? else {
        return remove_orphans(&cluster, location).await;
    };
    let job = JobView::from(&job);
    if job.commit == Some(Commit::Closed) {
        if !job.tombstone {
            cluster.turn_into_tombstone(location, &job.uid, TOMBSTONE_SECONDS).await?;
        }
        // The Job is the fence, and it stays. The Secret is not needed any more.
        if job.own_secret {
            cluster.delete_secret(location).await;
        }
        return Ok(());
    }
    cluster.delete_job(location, Some(&job.uid)).await?;
    Ok(())
}

/// Deletes the Pods of an attempt whose Job is gone. A client may have deleted the Job without its
/// Pods (`kubectl delete job --cascade=orphan`).
async fn remove_orphans(cluster: &Cluster, location: &Location) -> Result<()> {
    for pod in cluster.pods_of(location).await?.iter().map(PodView::from) {
        if pod.job.is_none() && !pod.deleting {
            cluster.delete_pod(location, &pod.name, &pod.uid, None, 1).await?;
        }
    }
    Ok(())
}

/// Determines whether the attempt at `location` has started. If it has not, it never will.
pub(crate) async fn settle(
    backend: &Backend,
    location: &Location,
    deadline: Instant,
) -> Result<Settled> {
    let settling = async {
        let cluster = backend.cluster_of(location).await?;
        for _ in 0..TRIES {
            if let Some(settled) = settle_once(backend, &cluster, location, deadline).await? {
                return Ok(settled);
            }
        }
        Err(Error::new(ErrorKind::Internal, "failed to settle: the Job changed at each look"))
    };
    let late = |_| {
        let error = Error::new(ErrorKind::Unavailable, "failed to settle the attempt in time");
        Err(error.with("job", &location.job))
    };
    timeout_at(deadline, settling).await.unwrap_or_else(late)
}

/// Reads the Job once and tries the next step; `None` if the Job changed in the meantime.
async fn settle_once(
    backend: &Backend,
    cluster: &Cluster,
    location: &Location,
    deadline: Instant,
) -> Result<Option<Settled>> {
    let Some(job) = cluster.get_job(location).await? else {
        return absent(backend, cluster, location).await;
    };
    let job = JobView::from(&job);
    Ok(match job.commit {
        Some(Commit::Closed) => Some(Settled::NeverStarted),
        // Another client has released it.
        Some(Commit::Open) if !job.held => Some(Settled::MayHaveStarted),
        Some(Commit::Open) => match cluster.fence(location, &job.uid).await {
            Ok(Patched::Applied(_)) => Some(Settled::NeverStarted),
            Ok(Patched::Refused | Patched::Gone) => None,
            // Without the permission to patch, the deletion is the fence, and a tombstone then takes
            // the name.
            Err(failure) if failure.code() == Some(403) => {
                let deleted = delete_unreleased(cluster, location, Some(&job.uid)).await?;
                if deleted == Deleted::Unreleased {
                    backend.forget_commit(location);
                }
                None
            }
            Err(failure) => return Err(failure.into()),
        },
        Some(Commit::Withdrawn) => {
            let mut subscription = backend.informer.subscribe(location);
            match withdraw::proof(cluster, location, &mut subscription, deadline).await {
                Some(true) => Some(Settled::NeverStarted),
                Some(false) => Some(Settled::MayHaveStarted),
                // A node that is in the middle of a pull confirms only when the pull ends.
                None => return Err(unproven(location)),
            }
        }
        Some(Commit::Committed) | None => Some(Settled::MayHaveStarted),
    })
}

fn unproven(location: &Location) -> Error {
    let message = "the node has not confirmed yet that the withdrawn job never started";
    Error::new(ErrorKind::Unavailable, message).with("job", &location.job)
}

/// Settles an attempt without a Job. A launch may be about to create and release one, so a Job that
/// runs nothing takes the name: the launch then finds it and stops.
async fn absent(
    backend: &Backend,
    cluster: &Cluster,
    location: &Location,
) -> Result<Option<Settled>> {
    if backend.has_committed(location) || !withdraw::none_started(cluster, location).await? {
        return Ok(Some(Settled::MayHaveStarted));
    }
    match cluster.create_job(location, &tombstone(location)).await {
        Ok(_) => Ok(Some(Settled::NeverStarted)),
        Err(failure) if failure.code() == Some(409) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Returns a Job with nothing to complete. It finishes at once, and Kubernetes removes it later.
/// Neither of its two numbers can be changed later, so it never creates a Pod.
fn tombstone(location: &Location) -> Job {
    let text = |pairs: &[(&str, &str)]| {
        let owned = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Some(owned.collect())
    };
    let container = Container {
        name: names::CONTAINER.to_owned(),
        image: Some("longshore.dev/tombstone".to_owned()),
        ..<_>::default()
    };
    Job {
        metadata: ObjectMeta {
            name: Some(location.job.clone()),
            labels: text(&[
                (names::INSTALLATION, location.installation.as_str()),
                (names::ATTEMPT, &location.attempt),
                (names::TOMBSTONE, "true"),
            ]),
            annotations: text(&[
                (names::COMMIT, Commit::Closed.as_str()),
                (names::ENDING, Ending::None.as_str()),
            ]),
            ..<_>::default()
        },
        spec: Some(JobSpec {
            completions: Some(0),
            parallelism: Some(0),
            backoff_limit: Some(0),
            ttl_seconds_after_finished: Some(TOMBSTONE_SECONDS),
            template: PodTemplateSpec {
                metadata: None,
                spec: Some(PodSpec {
                    restart_policy: Some("Never".to_owned()),
                    automount_service_account_token: Some(false),
                    containers: vec![container],
                    ..<_>::default()
                }),
            },
            ..<_>::default()
        }),
        status: None,
    }
}

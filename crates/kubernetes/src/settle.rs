//! Finding out whether an attempt has started, and keeping it from starting.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::{Error, ErrorKind, Result, Settled};
use tokio::time::{Instant, timeout_at};

use crate::api::Patched;
use crate::client::Cluster;
use crate::inner::Inner;
use crate::names::{self, Commit, Ending};
use crate::place::Place;
use crate::view::{JobView, PodView};
use crate::withdraw;

/// How long a tombstone stays: longer than any request that was under way when it was made.
const TOMBSTONE_SECONDS: i32 = 600;
/// How often the Job is looked at again when it changes under our hands. Each step is final, so
/// there are only a few.
const LOOKS: usize = 5;

/// Removes the attempt at `place`. What is fenced stays fenced: a launch that is late must find the
/// name taken.
pub(crate) async fn remove(inner: &Inner, place: &Place) -> Result<()> {
    let cluster = inner.connection.cluster().await?;
    // What this process has released is no tombstone: no need to look.
    if inner.has_committed(place) {
        if !cluster.delete_job(place, None).await? {
            remove_orphans(&cluster, place).await?;
        }
        return Ok(());
    }
    let Some(job) = cluster.get_job(place).await? else {
        return remove_orphans(&cluster, place).await;
    };
    let job = JobView::from(&job);
    if job.commit == Some(Commit::Closed) {
        if !job.tombstone {
            cluster.bury(place, &job.uid, TOMBSTONE_SECONDS).await?;
        }
        // The fence is the Job. What the job was to be told in secret need not wait for its end.
        if job.own_secret {
            cluster.drop_secret(place).await;
        }
        return Ok(());
    }
    cluster.delete_job(place, Some(&job.uid)).await?;
    Ok(())
}

/// Deletes the Pods of an attempt whose Job is gone: somebody may have deleted that without its
/// Pods (`kubectl delete job --cascade=orphan`).
async fn remove_orphans(cluster: &Cluster, place: &Place) -> Result<()> {
    for pod in cluster.pods_of(place).await?.iter().map(PodView::from) {
        if pod.job.is_none() && !pod.deleting {
            cluster.delete_pod(place, &pod.name, &pod.uid, None, 1).await?;
        }
    }
    Ok(())
}

/// Whether the attempt at `place` has started; if not, it never will.
pub(crate) async fn settle(inner: &Inner, place: &Place, deadline: Instant) -> Result<Settled> {
    let settling = async {
        let cluster = inner.connection.cluster().await?;
        for _ in 0..LOOKS {
            if let Some(settled) = look(inner, &cluster, place, deadline).await? {
                return Ok(settled);
            }
        }
        Err(Error::new(ErrorKind::Internal, "failed to settle: the Job changed at each look"))
    };
    let late = |_| {
        let error = Error::new(ErrorKind::Unavailable, "failed to settle the attempt in time");
        Err(error.with("job", &place.job))
    };
    timeout_at(deadline, settling).await.unwrap_or_else(late)
}

/// One look; none if the Job changed meanwhile.
async fn look(
    inner: &Inner,
    cluster: &Cluster,
    place: &Place,
    deadline: Instant,
) -> Result<Option<Settled>> {
    let Some(job) = cluster.get_job(place).await? else {
        return absent(inner, cluster, place).await;
    };
    let job = JobView::from(&job);
    Ok(match job.commit {
        Some(Commit::Closed) => Some(Settled::NeverStarted),
        // Somebody else has released it.
        Some(Commit::Open) if !job.suspended => Some(Settled::MayHaveStarted),
        Some(Commit::Open) => match cluster.fence(place, &job.uid).await? {
            Patched::Applied(_) => Some(Settled::NeverStarted),
            Patched::Refused | Patched::Gone => None,
        },
        Some(Commit::Withdrawn) => {
            let mut news = inner.hub.subscribe(place);
            match withdraw::proof(cluster, place, &mut news, deadline).await {
                Some(true) => Some(Settled::NeverStarted),
                Some(false) => Some(Settled::MayHaveStarted),
                // A node that is in the middle of a pull confirms only when that ends.
                None => return Err(unproven(place)),
            }
        }
        Some(Commit::Committed) | None => Some(Settled::MayHaveStarted),
    })
}

fn unproven(place: &Place) -> Error {
    let message = "the node has not confirmed yet that the withdrawn job never started";
    Error::new(ErrorKind::Unavailable, message).with("job", &place.job)
}

/// Settles an attempt without a Job. Somebody may be about to create and release it: a Job that
/// runs nothing takes the name, so that they find it and stop.
async fn absent(inner: &Inner, cluster: &Cluster, place: &Place) -> Result<Option<Settled>> {
    if inner.has_committed(place) || !withdraw::none_started(cluster, place).await? {
        return Ok(Some(Settled::MayHaveStarted));
    }
    match cluster.create_job(place, &tombstone(place)).await {
        Ok(_) => Ok(Some(Settled::NeverStarted)),
        Err(failure) if failure.code() == Some(409) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// A Job with nothing to complete: it is finished at once, and Kubernetes removes it by itself.
/// Neither number can be changed later, so it never makes a Pod.
fn tombstone(place: &Place) -> Job {
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
            name: Some(place.job.clone()),
            labels: text(&[
                (names::INSTALLATION, place.installation.as_str()),
                (names::ATTEMPT, &place.attempt),
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

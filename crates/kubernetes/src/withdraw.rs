//! Taking back a Pod after the commit, and the proof that it never started.

use longshore_core::Result;
use tokio::time::{Instant, timeout_at};

use crate::api::Patched;
use crate::client::Cluster;
use crate::hub::Subscription;
use crate::names::Commit;
use crate::place::Place;
use crate::start::never_started;
use crate::view::{JobView, PodView, Snapshot};

/// Suspends the released Job with `uid` and waits, at most until `by`, for the proof that none of
/// its Pods has started or can. False without one.
///
/// Of a suspended Job the Job controller makes no other Pod, and deletes those there are,
/// gracefully; so do we, without waiting for it. The kubelet says when it has begun to end a Pod,
/// and names every container that it ever created ([`PodView::ending`]). That a container is still
/// "ContainerCreating" proves nothing: such Pods started after their deletion had been asked for.
///
/// A pull that is under way is not ended by the deletion (`pkg/kubelet/kubelet.go`, `SyncPod` goes
/// on without cancellation), and if it comes to an end after all the container is started. So from
/// a registry that says nothing there is no proof until the runtime gives the pull up: containerd
/// after its `image_pull_progress_timeout` (5 minutes where nobody has set it), or never where a
/// layer stalls within its first bytes, which it does not count.
pub(crate) async fn withdraw(
    cluster: &Cluster,
    place: &Place,
    uid: &str,
    news: &mut Subscription,
    by: Instant,
) -> bool {
    let proving = async {
        match cluster.withdraw(place, uid).await {
            Ok(Patched::Applied(_)) => {}
            // Somebody else may have withdrawn it.
            Ok(Patched::Refused) => match cluster.get_job(place).await {
                Ok(Some(job)) if JobView::from(&job).commit == Some(Commit::Withdrawn) => {}
                _ => return false,
            },
            Ok(Patched::Gone) => return false,
            Err(failure) => {
                let error = longshore_core::Error::from(failure);
                tracing::debug!(%error, "the Job could not be suspended");
                return false;
            }
        }
        delete(cluster, place, &news.now()).await;
        follow(news).await && none_overlooked(cluster, place).await
    };
    timeout_at(by, proving).await.unwrap_or(false)
}

/// Deletes the Pods of `snapshot` that nobody has yet, with the job's own grace period: should one
/// have started, it ends as a cancelled job would. What fails the Job controller does.
async fn delete(cluster: &Cluster, place: &Place, snapshot: &Snapshot) {
    let grace = snapshot.job.as_ref().map_or(30, |job| job.grace);
    let grace = u32::try_from(grace).unwrap_or(u32::MAX);
    let here = snapshot.pods.iter().filter(|seen| !seen.presence.is_gone() && !seen.pod.deleting);
    for pod in here.map(|seen| &seen.pod) {
        if let Err(failure) = cluster.delete_pod(place, &pod.name, &pod.uid, grace).await {
            let error = longshore_core::Error::from(failure);
            tracing::debug!(%error, "the Job controller is left to delete the Pod");
        }
    }
}

/// What is proven by `by` of an attempt that was withdrawn before; none if nothing is.
pub(crate) async fn proof(news: &mut Subscription, by: Instant) -> Option<bool> {
    timeout_at(by, follow(news)).await.ok()
}

async fn follow(news: &mut Subscription) -> bool {
    loop {
        let snapshot = news.now();
        let withdrawn =
            snapshot.job.as_ref().is_some_and(|job| job.commit == Some(Commit::Withdrawn));
        let health = news.health();
        if withdrawn
            && health.jobs
            && health.pods
            && let Some(proven) = never_started(&snapshot)
        {
            return proven;
        }
        news.changed().await;
    }
}

/// Whether the API server knows of no Pod that the watch has not told of yet.
async fn none_overlooked(cluster: &Cluster, place: &Place) -> bool {
    matches!(none_started(cluster, place).await, Ok(true))
}

/// Whether each Pod of the attempt that there is provably never started, nor can.
pub(crate) async fn none_started(cluster: &Cluster, place: &Place) -> Result<bool> {
    let mut snapshot = Snapshot::default();
    for pod in cluster.pods_of(place).await? {
        snapshot.pod_seen(PodView::from(&pod));
    }
    Ok(snapshot.pods.is_empty() || never_started(&snapshot) == Some(true))
}

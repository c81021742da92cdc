//! Takes back a Pod after the commit, and proves that it never started.

use longshore_core::{Error, Result};
use tokio::time::{Instant, timeout_at};

use crate::api::Patched;
use crate::client::Cluster;
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::Commit;
use crate::pod_view::PodView;
use crate::snapshot::{ObservedPod, Presence, Snapshot};
use crate::start_state::never_started;
use crate::subscription::Subscription;

/// The result of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// No Pod of the attempt has started or can start.
    NeverStarted,
    /// The job has started, as this snapshot shows; nothing was taken back.
    Started(Snapshot),
    /// Nothing is proven, for this reason.
    Unproven(String),
}

/// Takes back the released Job with `uid`, and waits, at most until `by`, for the proof that none
/// of its Pods has started or can start.
///
/// Longshore never takes back a job that runs:
///
/// - It first reads the Pod from the API server, whatever the watch has reported. Without an
///   answer, it takes nothing back.
/// - It deletes the Pod only in the version in which the Pod had not started. If the Pod has
///   changed, it reads the Pod again.
/// - Only then does it suspend the Job. The Job controller then deletes the Pods of the Job in
///   whatever state they are, and creates no others. (With `backoffLimit: 0` and
///   `podReplacementPolicy: Failed`, it does not replace a deleted Pod either.)
///
/// The kubelet reports when it has begun to end a Pod, and names every container that it ever
/// created ([`PodView::ending`]). A container in "ContainerCreating" proves nothing: such Pods have
/// started after their deletion had been requested.
///
/// A deletion does not end a pull that is in progress (`pkg/kubelet/kubelet.go`, `SyncPod`
/// continues without cancellation), and if the pull succeeds, the kubelet starts the container. If
/// a registry is silent, there is thus no proof until the runtime gives up the pull. containerd
/// does so after its `image_pull_progress_timeout` (5 minutes by default), but never if a layer
/// stalls within its first bytes, which containerd does not count.
pub(crate) async fn withdraw(
    cluster: &Cluster,
    location: &Location,
    uid: &str,
    subscription: &mut Subscription,
    by: Instant,
) -> Withdrawal {
    let late = "the node did not confirm in time that the job never started";
    // Seldom needed, and large: it is no part of the future of each launch.
    let withdrawing = Box::pin(take_back(cluster, location, uid, subscription));
    match timeout_at(by, withdrawing).await {
        Ok(Ok(withdrawal)) => withdrawal,
        Ok(Err(error)) => Withdrawal::Unproven(error.to_string()),
        Err(_) => Withdrawal::Unproven(late.to_owned()),
    }
}

async fn take_back(
    cluster: &Cluster,
    location: &Location,
    uid: &str,
    subscription: &mut Subscription,
) -> Result<Withdrawal> {
    if let Some(started) = started(cluster, location, subscription).await? {
        return Ok(Withdrawal::Started(started));
    }
    match cluster.announce_withdrawal(location, uid).await? {
        Patched::Applied(_) => {}
        // Another process may have withdrawn it.
        Patched::Refused => match cluster.get_job(location).await? {
            Some(job) if JobView::from(&job).commit == Some(Commit::Withdrawn) => {}
            _ => return Ok(unproven("somebody else changed the Job")),
        },
        Patched::Gone => return Ok(unproven("somebody deleted the Job")),
    }
    if let Some(started) = delete_pods(cluster, location, subscription).await? {
        return Ok(Withdrawal::Started(started));
    }
    if !matches!(cluster.suspend(location, uid).await?, Patched::Applied(_)) {
        return Ok(unproven("the Job could not be suspended"));
    }
    if !wait_for_proof(subscription).await {
        return Ok(unproven("the Pod's last status does not show that the job never started"));
    }
    match pod_missed_by_watch(cluster, location, &subscription.snapshot()).await? {
        None => Ok(Withdrawal::NeverStarted),
        Some(pod) => Ok(unproven(format!("the Pod {pod} may have started"))),
    }
}

fn unproven(why: impl Into<String>) -> Withdrawal {
    Withdrawal::Unproven(why.into())
}

/// Returns the current state, from the API server, of an attempt that has started; `None` if it has
/// not.
async fn started(
    cluster: &Cluster,
    location: &Location,
    subscription: &mut Subscription,
) -> Result<Option<Snapshot>> {
    let mut fresh = subscription.snapshot();
    for pod in cluster.pods_of(location).await? {
        fresh.apply_pod(PodView::from(&pod));
    }
    let has_started = fresh.pods.iter().any(|observed| observed.pod.container.has_started());
    Ok(has_started.then_some(fresh))
}

/// Deletes the Pods that have not started, each only in the version that shows this, with the job's
/// own grace period: if one has started unseen, it ends as a cancelled job would. Returns the state
/// of the attempt if it has started.
async fn delete_pods(
    cluster: &Cluster,
    location: &Location,
    subscription: &mut Subscription,
) -> Result<Option<Snapshot>> {
    loop {
        let mut fresh = subscription.snapshot();
        let mut changed = false;
        for pod in cluster.pods_of(location).await? {
            fresh.apply_pod(PodView::from(&pod));
        }
        if fresh.pods.iter().any(|observed| observed.pod.container.has_started()) {
            return Ok(Some(fresh));
        }
        let grace = fresh.job.as_ref().map_or(30, |job| job.grace);
        let grace = u32::try_from(grace).unwrap_or(u32::MAX);
        let here = fresh.pods.iter().filter(|it| !it.presence.is_gone() && !it.pod.deleting);
        for pod in here.map(|observed| &observed.pod) {
            let version = Some(pod.resource_version.as_str());
            changed |= !cluster.delete_pod(location, &pod.name, &pod.uid, version, grace).await?;
        }
        if !changed {
            return Ok(None);
        }
    }
}

/// Returns what is proven by `by` about an attempt that was withdrawn earlier; `None` if nothing
/// is.
pub(crate) async fn proof(
    cluster: &Cluster,
    location: &Location,
    subscription: &mut Subscription,
    by: Instant,
) -> Option<bool> {
    let proving = async {
        Ok::<_, Error>(
            wait_for_proof(subscription).await
                && pod_missed_by_watch(cluster, location, &subscription.snapshot())
                    .await?
                    .is_none(),
        )
    };
    timeout_at(by, proving).await.ok()?.ok()
}

async fn wait_for_proof(subscription: &mut Subscription) -> bool {
    subscription.want_jobs();
    loop {
        let snapshot = subscription.snapshot();
        let withdrawn =
            snapshot.job.as_ref().is_some_and(|job| job.commit == Some(Commit::Withdrawn));
        let health = subscription.health();
        if withdrawn
            && health.is_synced()
            && let Some(proven) = never_started(&snapshot)
        {
            return proven;
        }
        subscription.changed().await;
    }
}

/// Returns the name of a Pod of the attempt that may have started although the watch shows none, if
/// there is one. The watch may not have reported the Pod yet, or the Pod may have no Longshore
/// labels. A Pod that lost its labels also seems to be deleted.
async fn pod_missed_by_watch(
    cluster: &Cluster,
    location: &Location,
    snapshot: &Snapshot,
) -> Result<Option<String>> {
    let mut there = cluster.pods_of(location).await?;
    there.extend(cluster.pods_by_job_name(location).await?);
    for observed in snapshot.pods.iter().filter(|observed| observed.presence.is_gone()) {
        there.extend(cluster.pod_named(location, &observed.pod.name).await?);
    }
    Ok(may_have_started(there.iter().map(PodView::from)))
}

/// Returns the name of the first of `pods` that may have started.
fn may_have_started(pods: impl Iterator<Item = PodView>) -> Option<String> {
    pods.into_iter().find_map(|pod| {
        let alone = Snapshot {
            pods: vec![ObservedPod { pod: pod.clone().into(), presence: Presence::Here }],
            ..Snapshot::default()
        };
        (never_started(&alone) != Some(true)).then_some(pod.name)
    })
}

/// Returns whether each Pod of the attempt provably never started and never will.
pub(crate) async fn none_started(cluster: &Cluster, location: &Location) -> Result<bool> {
    let mut there = cluster.pods_of(location).await?;
    there.extend(cluster.pods_by_job_name(location).await?);
    Ok(may_have_started(there.iter().map(PodView::from)).is_none())
}

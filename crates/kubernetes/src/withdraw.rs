//! Taking back a Pod after the commit, and the proof that it never started.

use longshore_core::{Error, Result};
use tokio::time::{Instant, timeout_at};

use crate::api::Patched;
use crate::client::Cluster;
use crate::hub::Subscription;
use crate::names::Commit;
use crate::place::Place;
use crate::start::never_started;
use crate::view::{JobView, PodSeen, PodView, Presence, Snapshot};

/// What a withdrawal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// No Pod of the attempt has started, and none can.
    NeverStarted,
    /// The job has started, as its Pod shows; nothing was taken back.
    Started(Snapshot),
    /// Nothing is proven, for this reason.
    Unproven(String),
}

/// Takes back the released Job with `uid`, and waits, at most until `by`, for the proof that none
/// of its Pods has started or can.
///
/// A job that runs is never taken back:
/// - The Pod is read from the API server first, whatever the watch has told. Without an answer
///   nothing is taken back.
/// - The Pod is deleted only in the version in which it had not started. If it has changed, it is
///   read again.
/// - Only then the Job is suspended, upon which the Job controller deletes its Pods in whatever
///   state they are. Of a suspended Job it creates no other. (With `backoffLimit: 0` and
///   `podReplacementPolicy: Failed` it creates none for a deleted Pod either.)
///
/// The kubelet says when it has begun to end a Pod, and names every container that it ever created
/// ([`PodView::ending`]). That a container is still "ContainerCreating" proves nothing: such Pods
/// started after their deletion had been asked for.
///
/// The deletion does not end a pull that is under way (`pkg/kubelet/kubelet.go`, `SyncPod`
/// continues without cancellation), and if the pull succeeds after all the container is started. So
/// from a registry that says nothing there is no proof until the runtime gives the pull up:
/// containerd after its `image_pull_progress_timeout` (5 minutes by default), or never where a layer
/// stalls within its first bytes, which it does not count.
pub(crate) async fn withdraw(
    cluster: &Cluster,
    place: &Place,
    uid: &str,
    news: &mut Subscription,
    by: Instant,
) -> Withdrawal {
    let late = "the node did not confirm in time that the job never started";
    let withdrawing = take_back(cluster, place, uid, news);
    match timeout_at(by, withdrawing).await {
        Ok(Ok(withdrawal)) => withdrawal,
        Ok(Err(error)) => Withdrawal::Unproven(error.to_string()),
        Err(_) => Withdrawal::Unproven(late.to_owned()),
    }
}

async fn take_back(
    cluster: &Cluster,
    place: &Place,
    uid: &str,
    news: &mut Subscription,
) -> Result<Withdrawal> {
    if let Some(started) = started(cluster, place, news).await? {
        return Ok(Withdrawal::Started(started));
    }
    match cluster.announce_withdrawal(place, uid).await? {
        Patched::Applied(_) => {}
        // Another process may have withdrawn it.
        Patched::Refused => match cluster.get_job(place).await? {
            Some(job) if JobView::from(&job).commit == Some(Commit::Withdrawn) => {}
            _ => return Ok(unproven("somebody else changed the Job")),
        },
        Patched::Gone => return Ok(unproven("somebody deleted the Job")),
    }
    if let Some(started) = delete_pods(cluster, place, news).await? {
        return Ok(Withdrawal::Started(started));
    }
    if !matches!(cluster.suspend(place, uid).await?, Patched::Applied(_)) {
        return Ok(unproven("the Job could not be suspended"));
    }
    if !follow(news).await {
        return Ok(unproven("the Pod's last status does not show that the job never started"));
    }
    match overlooked(cluster, place, &news.now()).await? {
        None => Ok(Withdrawal::NeverStarted),
        Some(pod) => Ok(unproven(format!("the Pod {pod} may have started"))),
    }
}

fn unproven(why: impl Into<String>) -> Withdrawal {
    Withdrawal::Unproven(why.into())
}

/// What the API server says now of an attempt that has started; `None` if it has not.
async fn started(
    cluster: &Cluster,
    place: &Place,
    news: &mut Subscription,
) -> Result<Option<Snapshot>> {
    let mut fresh = news.now();
    for pod in cluster.pods_of(place).await? {
        fresh.pod_seen(PodView::from(&pod));
    }
    let has_started = fresh.pods.iter().any(|seen| seen.pod.container.has_started());
    Ok(has_started.then_some(fresh))
}

/// Deletes the Pods that have not started, each in the version that shows it, with the job's own
/// grace period: should one have started unseen, it ends as a cancelled job would. Gives what is
/// known of the attempt if it has started.
async fn delete_pods(
    cluster: &Cluster,
    place: &Place,
    news: &mut Subscription,
) -> Result<Option<Snapshot>> {
    loop {
        let mut fresh = news.now();
        let mut changed = false;
        for pod in cluster.pods_of(place).await? {
            fresh.pod_seen(PodView::from(&pod));
        }
        if fresh.pods.iter().any(|seen| seen.pod.container.has_started()) {
            return Ok(Some(fresh));
        }
        let grace = fresh.job.as_ref().map_or(30, |job| job.grace);
        let grace = u32::try_from(grace).unwrap_or(u32::MAX);
        let here = fresh.pods.iter().filter(|it| !it.presence.is_gone() && !it.pod.deleting);
        for pod in here.map(|seen| &seen.pod) {
            let version = Some(pod.resource_version.as_str());
            changed |= !cluster.delete_pod(place, &pod.name, &pod.uid, version, grace).await?;
        }
        if !changed {
            return Ok(None);
        }
    }
}

/// What is proven by `by` of an attempt that was withdrawn before; `None` if nothing is.
pub(crate) async fn proof(
    cluster: &Cluster,
    place: &Place,
    news: &mut Subscription,
    by: Instant,
) -> Option<bool> {
    let proving = async {
        Ok::<_, Error>(
            follow(news).await && overlooked(cluster, place, &news.now()).await?.is_none(),
        )
    };
    timeout_at(by, proving).await.ok()?.ok()
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

/// A Pod of the attempt that may have started, though the watch shows none: one that the watch has
/// not told of yet, one without Longshore's labels, or one that only seems to be deleted because
/// somebody removed its labels. `None` if there is none.
async fn overlooked(
    cluster: &Cluster,
    place: &Place,
    snapshot: &Snapshot,
) -> Result<Option<String>> {
    let mut there = cluster.pods_of(place).await?;
    there.extend(cluster.pods_by_job_name(place).await?);
    for seen in snapshot.pods.iter().filter(|seen| seen.presence.is_gone()) {
        there.extend(cluster.pod_named(place, &seen.pod.name).await?);
    }
    Ok(may_have_started(there.iter().map(PodView::from)))
}

/// The name of the first of `pods` that may have started.
fn may_have_started(pods: impl Iterator<Item = PodView>) -> Option<String> {
    pods.into_iter().find_map(|pod| {
        let alone = Snapshot {
            pods: vec![PodSeen { pod: pod.clone().into(), presence: Presence::Here }],
            ..Snapshot::default()
        };
        (never_started(&alone) != Some(true)).then_some(pod.name)
    })
}

/// Whether each Pod of the attempt provably never started, nor can.
pub(crate) async fn none_started(cluster: &Cluster, place: &Place) -> Result<bool> {
    let mut there = cluster.pods_of(place).await?;
    there.extend(cluster.pods_by_job_name(place).await?);
    Ok(may_have_started(there.iter().map(PodView::from)).is_none())
}

//! Ending an attempt early: by a cancel or by its timeout.

use std::time::Duration;

use longshore_core::{Error, Result};

use crate::api::Patched;
use crate::client::Cluster;
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::{Commit, Ending};
use crate::pod_view::PodView;

/// Ends the attempt at `location` with `grace` between TERM and KILL; `None` is the attempt's own
/// grace period.
///
/// The mark is written first, so that every process that reads the end knows its cause. With the
/// Pod's own grace period, the Pod's deadline is then set to now: the kubelet ends the Pod, and the
/// Pod and its logs stay. Any other grace period requires that the Pod is deleted, and its logs
/// with it; a process that follows the logs still gets all of them.
///
/// The kubelet keeps the grace period with which it began. The API server accepts a shorter one,
/// but the kubelet ignores it while it stops the container (kubernetes/kubernetes#113606). The
/// kubelet itself sends the KILL, even if this process is gone.
///
/// # Errors
/// The errors of the requests.
pub(crate) async fn terminate(
    cluster: &Cluster,
    location: &Location,
    ending: Ending,
    grace: Option<Duration>,
) -> Result<()> {
    let pods: Vec<PodView> = cluster.pods_of(location).await?.iter().map(PodView::from).collect();
    let over = |pod: &PodView| pod.ended || (pod.container.terminated.is_some() && !pod.deleting);
    if pods.iter().any(over) {
        // The job has already ended, and keeps its outcome.
        return Ok(());
    }
    let Some(job) = mark(cluster, location, ending).await? else {
        return delete_orphans(cluster, location, &pods, grace).await;
    };
    if job.commit == Some(Commit::Open) && job.held {
        match cluster.fence(location, &job.uid).await? {
            Patched::Applied(_) | Patched::Gone => return Ok(()),
            // Another process released the Job in the meantime.
            Patched::Refused => {}
        }
    }
    let running: Vec<&PodView> = pods.iter().filter(|pod| pod.container.has_started()).collect();
    if running.is_empty() {
        return take_back(cluster, location, &job).await;
    }
    for pod in running {
        kill(cluster, location, pod, &job, ending, grace).await?;
    }
    Ok(())
}

/// Marks the Job. Returns `None` if the Job is gone. The first mark stays; a mark that another
/// client has removed is written again.
async fn mark(cluster: &Cluster, location: &Location, ending: Ending) -> Result<Option<JobView>> {
    match cluster.mark(location, ending).await? {
        Patched::Applied(job) => return Ok(Some(JobView::from(&*job))),
        Patched::Gone => return Ok(None),
        Patched::Refused => {}
    }
    let Some(job) = cluster.get_job(location).await?.as_ref().map(JobView::from) else {
        return Ok(None);
    };
    if job.ending.is_some() {
        return Ok(Some(job));
    }
    let marked = cluster.mark_again(location, &job.uid, ending).await?;
    Ok(Some(JobView::from(&marked)))
}

/// Takes back a job of which nothing runs. A suspended Job creates no Pod, and Kubernetes deletes
/// the one that waits. A Job without its commit annotation, which another client has removed, is
/// deleted.
async fn take_back(cluster: &Cluster, location: &Location, job: &JobView) -> Result<()> {
    if job.commit.is_none() {
        cluster.delete_job(location, Some(&job.uid)).await?;
        return Ok(());
    }
    cluster.announce_withdrawal(location, &job.uid).await?;
    cluster.suspend(location, &job.uid).await?;
    Ok(())
}

async fn kill(
    cluster: &Cluster,
    location: &Location,
    pod: &PodView,
    job: &JobView,
    ending: Ending,
    grace: Option<Duration>,
) -> Result<()> {
    let seconds = grace.map(whole_seconds);
    let own = u32::try_from(job.grace).unwrap_or(u32::MAX);
    // The first mark counts.
    let ending = job.ending.filter(|first| *first != Ending::None).unwrap_or(ending);
    match seconds.filter(|seconds| *seconds != own) {
        Some(seconds) => {
            cluster.delete_pod(location, &pod.name, &pod.uid, None, seconds).await?;
        }
        None => cluster.expire_pod(location, &pod.name, &pod.uid, ending).await?,
    }
    Ok(())
}

/// Ends the rest of a Pod whose job container has ended: sidecars, or a container that was
/// restarted, which is not the job. If this fails, the removal of the Job does it.
pub(crate) async fn terminate_rest(cluster: &Cluster, location: &Location, pod: &PodView) {
    let ending = cluster.expire_pod(location, &pod.name, &pod.uid, Ending::Over);
    if let Err(failure) = ending.await {
        let error = Error::from(failure);
        tracing::warn!(%error, pod = %pod.name, "the rest of an ended job's Pod keeps running");
    }
}

/// Ends the Pods of a Job that another client deleted.
async fn delete_orphans(
    cluster: &Cluster,
    location: &Location,
    pods: &[PodView],
    grace: Option<Duration>,
) -> Result<()> {
    let seconds = grace.map_or(1, whole_seconds);
    for pod in pods {
        let deleting = cluster.delete_pod(location, &pod.name, &pod.uid, None, seconds);
        deleting.await.map_err(Error::from)?;
    }
    Ok(())
}

/// Returns whole seconds, rounded up, at least one. With a grace period of 0, Kubernetes forgets
/// the Pod at once, and its containers may keep running.
fn whole_seconds(grace: Duration) -> u32 {
    let whole = grace.as_secs().saturating_add(u64::from(grace.subsec_nanos() > 0));
    u32::try_from(whole).unwrap_or(u32::MAX).max(1)
}

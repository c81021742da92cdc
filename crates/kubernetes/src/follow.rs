//! Following an attempt until it ends.

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use futures::Stream;
use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, Event, Outcome, Report, Result};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backend::Backend;
use crate::client::{Cluster, retry_backoff};
use crate::exec_failure::exec_failure;
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::Ending;
use crate::outcome::{conclude, image, undecided_until};
use crate::pod_view::PodView;
use crate::snapshot::{ObservedPod, Presence, Snapshot};
use crate::start_state::EventReporter;
use crate::subscription::Subscription;
use crate::termination;

/// How long the end is held back for the Events that show whether the image was pulled. The kubelet
/// sends Events and status independently, in any order, and on a busy node the Events come seconds
/// later.
pub(crate) const EVIDENCE: Duration = Duration::from_secs(1);
/// If the process that set a mark has not ended the job after this time, the follower ends it.
const OTHERS: Duration = Duration::from_secs(5);

/// Returns the events of the attempt at `location` from now on, until its end.
pub(crate) fn events(
    backend: Arc<Backend>,
    location: Location,
) -> impl Stream<Item = Result<Event>> + Send {
    stream! {
        let mut subscription = backend.informer.subscribe(&location);
        let mut reporter = EventReporter::default();
        let mut timer = TerminationTimer::default();
        let mut backoff = retry_backoff();
        let mut reported = None;
        // A removed Job: its Pods may remain for a moment, and count only if they are orphans.
        let removed = subscription.snapshot().job_presence.is_gone();
        loop {
            let snapshot = subscription.snapshot();
            match is_absent(&backend, &location, &snapshot, &mut subscription, removed).await {
                Ok(true) => {
                    yield Ok(Event::Ended(gone()));
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    yield Err(error);
                    sleep(backoff.next_pause()).await;
                    continue;
                }
            }
            for event in reporter.new_events(&snapshot) {
                yield Ok(event);
            }
            match end_of(&backend, &location, &snapshot, &mut subscription).await {
                Ok(Some(report)) => {
                    yield Ok(Event::Ended(report));
                    return;
                }
                Ok(None) => {}
                Err(error) => {
                    yield Err(error);
                    sleep(backoff.next_pause()).await;
                    continue;
                }
            }
            let failure = subscription.health().failure;
            if failure != reported {
                if let Some(failure) = &failure {
                    yield Err(watch_failure(failure));
                }
                reported = failure;
            }
            let due = timer.due(&snapshot, backend.connection.server_time());
            let end_at = due.map(|(at, _)| at).unwrap_or_else(far_away);
            let undecided = undecided_until(&snapshot);
            let decided = undecided.filter(|until| *until > Instant::now());
            tokio::select! {
                () = subscription.changed() => {}
                () = sleep_until(decided.unwrap_or_else(far_away)), if decided.is_some() => {}
                () = sleep_until(end_at), if due.is_some() => {
                    let Some((_, ending)) = due else { continue };
                    match end(&backend, &location, ending).await {
                        Ok(()) => timer.done(),
                        Err(error) => {
                            yield Err(error);
                            sleep(backoff.next_pause()).await;
                        }
                    }
                }
            }
        }
    }
}

fn watch_failure(failure: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("failed to watch the job: {failure}"))
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

async fn end(backend: &Backend, location: &Location, ending: Ending) -> Result<()> {
    let cluster = backend.cluster_of(location).await?;
    termination::terminate(&cluster, location, ending, None).await
}

/// Determines when the follower must end the job.
#[derive(Debug, Default)]
struct TerminationTimer {
    done: bool,
    marked: Option<Instant>,
}

impl TerminationTimer {
    /// Returns when and why the follower must end the job; `None` if it need not. `now` is the
    /// cluster's time.
    fn due(&mut self, snapshot: &Snapshot, now: Timestamp) -> Option<(Instant, Ending)> {
        let job = snapshot.job.as_ref()?;
        let pod = &snapshot.pod()?.pod;
        let running = pod.container.running?;
        if self.done || pod.deleting {
            return None;
        }
        if let Some(ending @ (Ending::Cancelled | Ending::Deadline)) = job.ending {
            let marked = *self.marked.get_or_insert_with(Instant::now);
            return Some((marked + OTHERS, ending));
        }
        let timeout = job.timeout?;
        let at = match (snapshot.start_observed, running) {
            // If this process saw the start, no clock is compared with another.
            (Some(observed), _) => observed + timeout,
            (None, Some(started)) => {
                let ran = now.duration_since(pod.by_server_clock(started));
                let ran = Duration::try_from(ran).unwrap_or_default();
                Instant::now() + timeout.saturating_sub(ran)
            }
            (None, None) => Instant::now() + timeout,
        };
        Some((at, Ending::Deadline))
    }

    /// Records that the job has been ended.
    const fn done(&mut self) {
        self.done = true;
    }
}

/// Returns the end of an attempt that is not on the cluster.
fn gone() -> Report {
    let message = "it is not on the cluster: never launched, or removed".to_owned();
    Report::new(Outcome::Lost { message })
}

/// Returns how the attempt ended, if it has.
async fn end_of(
    backend: &Backend,
    location: &Location,
    snapshot: &Snapshot,
    subscription: &mut Subscription,
) -> Result<Option<Report>> {
    if !subscription.health().is_synced() {
        return Ok(None);
    }
    let Some(mut report) = conclude(snapshot, Instant::now()) else { return Ok(None) };
    // The garbage collector deletes the Pod of a removed Job a little later.
    if snapshot.job.is_none() {
        let cluster = backend.cluster_of(location).await?;
        if absent_now(&cluster, location).await? {
            return Ok(Some(gone()));
        }
    }
    let mut last = snapshot.clone();
    if depends_on_watch_order(snapshot, &report.outcome) {
        let cluster = backend.cluster_of(location).await?;
        last = refreshed(&cluster, location, snapshot).await?;
        let Some(confirmed) = conclude(&last, Instant::now()) else {
            // The attempt has not ended yet.
            return Ok(None);
        };
        report = confirmed;
    }
    if let Some(observed) = last.pod()
        && let Some(outcome) = exec_failure(backend, location, &observed.pod, &report.outcome).await
    {
        report.outcome = outcome;
    }
    if let Some(observed) = last.pod().filter(|observed| runs_on(observed)) {
        let cluster = backend.cluster_of(location).await?;
        termination::terminate_rest(&cluster, location, &observed.pod).await;
    }
    if let Some(image) =
        report.image.as_mut().filter(|i| i.resolved.is_some() && i.pulled.is_none())
    {
        let cluster = backend.cluster_of(location).await?;
        // The pull of a Pod that this process did not see starting came before the watch on Events.
        let wait = if last.start_observed.is_some() { EVIDENCE } else { Duration::ZERO };
        image.pulled = evidence(backend, &cluster, location, subscription, wait).await;
    }
    Ok(Some(report))
}

/// Returns whether something in the Pod still runs after the job's container has ended: a sidecar,
/// or the same container again.
fn runs_on(observed: &ObservedPod) -> bool {
    let pod = &observed.pod;
    let runs = pod.others_run || pod.container.restarts > 0;
    runs && !pod.ended && !pod.deleting && !observed.presence.is_gone() && pod.mark.is_none()
}

/// Returns whether `outcome` could depend on the order in which the watches reported. Each watch
/// may lag, so these may be missing: a mark on the Job, a Pod that is older than the state of the
/// Job, the labels of a Pod that therefore seems to be deleted, the reason for the end.
fn depends_on_watch_order(snapshot: &Snapshot, outcome: &Outcome) -> bool {
    let reason_is_missing = undecided_until(snapshot).is_some();
    match outcome {
        Outcome::DeadlineExceeded { .. } | Outcome::Lost { .. } | Outcome::Evicted { .. } => true,
        Outcome::Exited { code, .. } => *code > 128 && reason_is_missing,
        _ => false,
    }
}

/// Returns `snapshot` updated with the current state on the API server. Restores Longshore's labels
/// on a Pod that still exists without them, so that the watch sees the Pod again.
async fn refreshed(
    cluster: &Cluster,
    location: &Location,
    snapshot: &Snapshot,
) -> Result<Snapshot> {
    let mut fresh = snapshot.clone();
    match cluster.get_job(location).await? {
        Some(job) => fresh.apply_job(JobView::from(&job)),
        None if !fresh.job_presence.is_gone() => fresh.remove_job(None),
        None => {}
    }
    for pod in cluster.pods_of(location).await? {
        fresh.apply_pod(PodView::from(&pod));
    }
    let gone = fresh.pods.clone().into_iter().filter(|observed| observed.presence.is_gone());
    for observed in gone {
        let found = cluster.pod_named(location, &observed.pod.name).await?;
        let found = found.filter(|pod| pod.metadata.uid.as_deref() == Some(&observed.pod.uid));
        if let Some(pod) = found {
            tracing::warn!(pod = %observed.pod.name, "somebody removed the labels of the job's Pod");
            cluster.label_pod(location, &observed.pod.name, &observed.pod.uid).await?;
            fresh.apply_pod(PodView::from(&pod));
        }
    }
    Ok(fresh)
}

/// Returns whether the image was pulled, according to the Pod's Events; `None` if they no longer
/// exist. Waits for the watch for `wait`, then requests this Pod's Events, because the watch skips
/// those from before it began.
pub(crate) async fn evidence(
    backend: &Backend,
    cluster: &Cluster,
    location: &Location,
    subscription: &mut Subscription,
    wait: Duration,
) -> Option<bool> {
    let waiting = async {
        loop {
            let pulled = image(&subscription.snapshot()).pulled;
            if pulled.is_some() || subscription.health().events_unavailable {
                return pulled;
            }
            subscription.changed().await;
        }
    };
    if let Ok(reported) = timeout(wait, waiting).await {
        return reported;
    }
    let mut snapshot = subscription.snapshot();
    let uid = snapshot.pod()?.pod.uid.clone();
    let events = backend.questions.ask(cluster.events_of(location, &uid)).await?;
    for event in events {
        let reason = event.reason.unwrap_or_default();
        snapshot.apply_event(false, &reason, &event.message.unwrap_or_default());
    }
    snapshot.pull.consulted
}

/// Returns whether the attempt is not on the cluster: the watches show nothing of it, or its Job was
/// `removed`. A Job may be newer than the state of the watch, so this asks the API server once more.
pub(crate) async fn is_absent(
    backend: &Backend,
    location: &Location,
    snapshot: &Snapshot,
    subscription: &mut Subscription,
    removed: bool,
) -> Result<bool> {
    let health = subscription.health();
    let unknown = snapshot.job_presence == Presence::Unknown && snapshot.pods.is_empty();
    if !(unknown || removed) || !health.is_synced() {
        return Ok(false);
    }
    let cluster = backend.cluster_of(location).await?;
    absent_now(&cluster, location).await
}

/// Returns whether the API server has neither the Job nor an orphan of it: a Pod that no Job owns
/// any more, because somebody deleted the Job with `--cascade=orphan`. The garbage collector deletes
/// a Pod that still names the deleted Job as its owner.
async fn absent_now(cluster: &Cluster, location: &Location) -> Result<bool> {
    if cluster.get_job(location).await?.is_some() {
        return Ok(false);
    }
    let pods = cluster.pods_of(location).await?;
    Ok(!pods.iter().any(|pod| PodView::from(pod).job.is_none()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::tests::{job, pod, snapshot};

    /// A job that another process had launched was ended as soon as this one followed it.
    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_not_over_early_because_the_nodes_clock_is_behind() {
        let created = "2026-01-01T01:00:00Z";
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let mut view = pod(json!({"creationTimestamp": created}), "Running", running, "x://a");
        view.clock_behind = jiff::SignedDuration::from_hours(1);
        let timed = JobView { timeout: Some(Duration::from_secs(60)), ..job() };
        let now = created.parse::<Timestamp>().unwrap() + Duration::from_secs(10);
        let due = TerminationTimer::default().due(&snapshot(timed, [view]), now);
        assert_eq!(due, Some((Instant::now() + Duration::from_secs(50), Ending::Deadline)));
    }
}

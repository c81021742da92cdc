//! Concludes how an attempt ended from the state of its Job and Pod. Pure.

use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{
    ImageReport, Outcome, PullPolicy, RejectReason, Report, StartError, start_error,
};
use tokio::time::Instant;

use crate::container_view::Terminated;
use crate::job_view::JobView;
use crate::meta::reason_and_message;
use crate::names::{Commit, Ending};
use crate::pod_view::PodView;
use crate::pull;
use crate::snapshot::{ObservedPod, Presence, Snapshot};
use crate::start_state::{unstarted, with_difference};

/// How long after the container's end, beyond its grace period, the reason of the Pod's end may
/// arrive. The kubelet holds the reason back until nothing of the Pod runs.
const REASON_SLACK: Duration = Duration::from_secs(3);

/// Returns how the attempt of `snapshot` ended, as far as that is known at `now`; `None` while it
/// has not ended, or while more evidence is expected (see [`undecided_until`]).
///
/// The decision uses the status of the job's container, not the Job's condition, which arrives one
/// to two seconds later. It does not wait for other containers of the Pod, such as a sidecar. If
/// the kubelet restarted the container, the first run is the job.
pub(crate) fn conclude(snapshot: &Snapshot, now: Instant) -> Option<Report> {
    let outcome = match snapshot.pod() {
        Some(observed) => of_pod(snapshot, observed, now)?,
        None => without_pod(snapshot)?,
    };
    let again = started_again(snapshot);
    let outcome = note_second_start(&again, outcome);
    let container = snapshot.pod().map(|observed| &observed.pod.container);
    let end = container.and_then(|c| c.first_end());
    let mut report = Report::new(outcome);
    report.started_at = end
        .filter(|t| !t.never_ran())
        .and_then(|t| t.started)
        .or_else(|| container.filter(|c| c.restarts == 0).and_then(|c| c.running).flatten());
    report.finished_at = end.filter(|t| !t.is_unknown()).and_then(|t| t.finished);
    report.image = Some(image(snapshot));
    report.started_again = again;
    Some(report)
}

/// Returns until when [`conclude`] waits for the reason of the end that `snapshot` shows; `None` if
/// it does not wait. A kubelet that ends the Pod has done so by the end of the grace period. If the
/// Pod still runs then, a sidecar keeps it running, and nothing ended the container from outside.
pub(crate) fn undecided_until(snapshot: &Snapshot) -> Option<Instant> {
    let observed = snapshot.pod()?;
    if observed.pod.ended || observed.presence.is_gone() {
        return None;
    }
    let grace = snapshot.job.as_ref().map_or(30, |job| job.grace);
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
    snapshot.end_observed?.checked_add(grace.saturating_add(REASON_SLACK))
}

/// Returns what is known of the attempt's image.
pub(crate) fn image(snapshot: &Snapshot) -> ImageReport {
    let requested = snapshot.job.as_ref().map_or("", |job| job.image()).to_owned();
    let pod = snapshot.pod().map(|observed| &observed.pod);
    let mut report = ImageReport::new(requested, PullPolicy::default());
    if let Some(policy) = pod.and_then(|pod| pod.policy) {
        report.policy = policy;
    }
    let reported = pod.and_then(|pod| pull::digest(&pod.container.image_id));
    // An image named by a digest resolves to that digest. If it is the digest of an index, CRI-O
    // reports the digest of the manifest for its platform instead.
    let named = report.requested.split_once('@').map(|(_, digest)| digest.to_owned());
    report.resolved = reported.map(|reported| named.unwrap_or(reported));
    // With Never, the node asks no registry, whatever late Events may say.
    let never = report.policy == PullPolicy::Never;
    report.pulled = snapshot.pull.consulted.or(never.then_some(false));
    report
}

/// Returns why Longshore ended the attempt: the mark on the Pod if it has one, or else the mark on
/// the Job.
fn ending(snapshot: &Snapshot) -> Ending {
    let of_job = || snapshot.job.as_ref().and_then(|job| job.ending);
    let of_pod = snapshot.pod().and_then(|observed| observed.pod.mark);
    of_pod.or_else(of_job).unwrap_or(Ending::None)
}

fn of_pod(snapshot: &Snapshot, observed: &ObservedPod, now: Instant) -> Option<Outcome> {
    let pod = &observed.pod;
    let container = &pod.container;
    if container.restarts > 0 {
        return Some(of_first_run(snapshot, pod));
    }
    match &container.terminated {
        // A container without an ID never ran. The kubelet also writes `ContainerStatusUnknown` for
        // a container that it had not yet created when the Pod was deleted (observed).
        Some(end) if container.created => of_container(snapshot, pod, end, now),
        _ if observed.presence.is_gone() || pod.ended => {
            Some(without_end(snapshot, pod, observed.presence))
        }
        _ => None,
    }
}

/// Returns the outcome of a container that the kubelet restarted. Longshore never requests that:
/// another client changed the Pod's image, or admission changed its restartPolicy.
fn of_first_run(snapshot: &Snapshot, pod: &PodView) -> Outcome {
    let alteration = snapshot.alteration();
    let changed = |what: &str| match &alteration {
        Some(alteration) => format!("{what}; {alteration}"),
        None => what.to_owned(),
    };
    match pod.container.first_end() {
        // With a changed restartPolicy, the first run ended undisturbed. With a changed container,
        // the kubelet killed the first run.
        Some(end) if !pod.spec.never_restarts() && !end.never_ran() && !end.is_unknown() => {
            by_itself(end)
        }
        Some(_) => Outcome::Lost {
            message: changed("somebody changed the Pod, and the kubelet started the job again"),
        },
        None => Outcome::Lost {
            message: changed(
                "the kubelet started the job again, and its status no longer shows how the first \
                 run ended",
            ),
        },
    }
}

/// Returns the outcome of a container that has ended.
fn of_container(
    snapshot: &Snapshot,
    pod: &PodView,
    end: &Terminated,
    now: Instant,
) -> Option<Outcome> {
    if end.never_ran() {
        let message = end.message.clone();
        return Some(Outcome::Rejected { reason: reject_reason(&message), message });
    }
    if end.is_unknown() {
        let message = format!("the node does not know how the container ended: {}", end.message);
        return Some(Outcome::Lost { message });
    }
    if let Some(outcome) = interrupted(snapshot, pod, end) {
        return Some(outcome);
    }
    // The kubelet holds back the Pod's reason (Evicted, DeadlineExceeded) until the phase is final,
    // up to a second after the container's status. If a signal may have ended the container, or
    // Longshore is ending it, that reason decides.
    let may_be_ended = end.code > 128 || !matches!(ending(snapshot), Ending::None | Ending::Over);
    if !pod.ended && may_be_ended && undecided_until(snapshot).is_some_and(|until| now < until) {
        return None;
    }
    Some(by_itself(end))
}

/// Returns the outcome of a container that nothing ended from outside.
fn by_itself(end: &Terminated) -> Outcome {
    match (end.reason.as_str(), end.code) {
        ("OOMKilled", 137) => Outcome::OutOfMemory { code: 137 },
        (_, code) => Outcome::Exited { code, signal: end.signal },
    }
}

/// Returns the outcome of a container that something ended from outside; `None` if it had ended
/// before.
fn interrupted(snapshot: &Snapshot, pod: &PodView, end: &Terminated) -> Option<Outcome> {
    let code = Some(end.code);
    // A container that ended before the interruption keeps its own outcome. Both times must be those
    // of one clock.
    let is_after = |since: Option<Timestamp>, finished: Option<Timestamp>| match (since, finished) {
        (Some(since), Some(finished)) => finished >= since,
        _ => true,
    };
    let by_server = end.finished.map(|finished| pod.by_server_clock(finished));
    if pod.reason == "DeadlineExceeded" && ending(snapshot) != Ending::Over {
        return match ending(snapshot) {
            Ending::Cancelled => Some(Outcome::Cancelled { code }),
            Ending::Deadline => Some(Outcome::DeadlineExceeded { code }),
            // Without a mark, this is Kubernetes' own backstop for the job's timeout, unless
            // another client has set a different deadline. The backstop may have come after the
            // job's end, and then ended only what ran beside the job.
            Ending::None | Ending::Over => {
                is_after(pod.expires, end.finished).then(|| by_deadline(snapshot, pod, code))
            }
        };
    }
    if let Some(message) = eviction(pod) {
        let since = pod.disruption.as_ref().and_then(|(_, since)| *since);
        let by_node = message.starts_with("TerminationByKubelet");
        let finished = if by_node { end.finished } else { by_server };
        return is_after(since, finished).then_some(Outcome::Evicted { message });
    }
    if !pod.deleting || !is_after(pod.deletion_asked, by_server) {
        return None;
    }
    Some(match ending(snapshot) {
        Ending::Cancelled => Outcome::Cancelled { code },
        Ending::Deadline => Outcome::DeadlineExceeded { code },
        Ending::None | Ending::Over => by_deletion(snapshot),
    })
}

/// Returns the outcome of a Pod that exceeded its `activeDeadlineSeconds` and has no mark of
/// Longshore.
fn by_deadline(snapshot: &Snapshot, pod: &PodView, code: Option<i32>) -> Outcome {
    let submitted = snapshot.job.as_ref().and_then(|job| job.active_deadline);
    if snapshot.job.is_some() && pod.active_deadline != submitted {
        let seconds = pod.active_deadline.unwrap_or_default();
        if pod.first_deadline {
            let message = format!(
                "admission set the Pod's activeDeadlineSeconds to {seconds}, and the job ran longer"
            );
            return Outcome::Evicted { message };
        }
        let message = format!("somebody set the Pod's activeDeadlineSeconds to {seconds}");
        return Outcome::Lost { message };
    }
    Outcome::DeadlineExceeded { code }
}

/// Returns why the cluster evicted the Pod, if it did. The reasons are the kubelet's
/// (`pkg/kubelet/eviction`, `preemption`, `nodeshutdown`); the conditions are those of
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>.
fn eviction(pod: &PodView) -> Option<String> {
    if let Some((message, _)) = &pod.disruption {
        return Some(message.clone());
    }
    matches!(pod.reason.as_str(), "Evicted" | "Preempting" | "Terminated" | "NodeShutdown")
        .then(|| reason_and_message(Some(&pod.reason), Some(&pod.message)))
}

/// Returns the outcome of a Pod that is over, but whose status shows no end of the container.
fn without_end(snapshot: &Snapshot, pod: &PodView, presence: Presence) -> Outcome {
    match ending(snapshot) {
        Ending::Cancelled => return Outcome::Cancelled { code: None },
        Ending::Deadline => return Outcome::DeadlineExceeded { code: None },
        Ending::None | Ending::Over => {}
    }
    if pod.reason == "DeadlineExceeded" {
        return by_deadline(snapshot, pod, None);
    }
    if let Some(message) = eviction(pod) {
        return Outcome::Evicted { message };
    }
    match presence {
        Presence::Vanished => Outcome::Lost {
            message: "the Pod was removed while nobody was following it".to_owned(),
        },
        Presence::Deleted => by_deletion(snapshot),
        Presence::Here | Presence::Unknown if pod.refused => Outcome::Rejected {
            reason: RejectReason::Unschedulable,
            message: reason_and_message(Some(&pod.reason), Some(&pod.message)),
        },
        // The kubelet reports the state of this container by name, and never created it.
        Presence::Here | Presence::Unknown if pod.shows_that_nothing_ran() => Outcome::Rejected {
            reason: RejectReason::ContainerConfig,
            message: with_difference(snapshot, unstarted(pod)),
        },
        Presence::Here | Presence::Unknown => {
            let why = unstarted(pod);
            let message = format!("the Pod failed, and nothing shows how the job ended: {why}");
            Outcome::Lost { message: with_difference(snapshot, message) }
        }
    }
}

/// Returns the outcome of a Pod that was deleted without a mark of Longshore.
fn by_deletion(snapshot: &Snapshot) -> Outcome {
    match limited(snapshot).filter(|_| !withdrawn(snapshot)) {
        Some(message) => Outcome::Evicted { message },
        None => Outcome::Lost { message: why_deleted(snapshot) },
    }
}

/// Returns why Kubernetes deleted the Pod, if its Job has exceeded a deadline of its own that
/// admission has given it.
fn limited(snapshot: &Snapshot) -> Option<String> {
    let job = snapshot.job.as_ref().filter(|job| job.first_deadline)?;
    let why = exceeded_deadline(job)?;
    Some(format!("admission set the Job's activeDeadlineSeconds: {why}"))
}

/// Returns the reason and message of a Job that has exceeded a deadline of its own. Kubernetes
/// deletes its Pods.
fn exceeded_deadline(job: &JobView) -> Option<&str> {
    let why = job.over.as_deref().or(job.failing.as_deref());
    why.filter(|why| why.starts_with("DeadlineExceeded"))
}

fn withdrawn(snapshot: &Snapshot) -> bool {
    snapshot.job.as_ref().is_some_and(|job| job.commit == Some(Commit::Withdrawn))
}

/// Returns who deleted the Pod, as far as the Job shows it.
fn why_deleted(snapshot: &Snapshot) -> String {
    let Some(job) = &snapshot.job else { return "somebody deleted the Pod".to_owned() };
    let started = snapshot.pod().is_some_and(|observed| observed.pod.container.has_started());
    if withdrawn(snapshot) {
        return if started {
            "Longshore deleted the Pod because the job had not started in time, and the job \
             started meanwhile"
        } else {
            WITHDRAWN
        }
        .to_owned();
    }
    if snapshot.job_presence.is_gone() || job.deleting {
        return "somebody deleted the Job".to_owned();
    }
    if job.suspended {
        return "somebody suspended the Job (spec.suspend is true), and Kubernetes deleted its Pod"
            .to_owned();
    }
    // Longshore does not set it.
    match exceeded_deadline(job) {
        Some(why) => format!("somebody set the Job's activeDeadlineSeconds: {why}"),
        None => "somebody deleted the Pod".to_owned(),
    }
}

const WITHDRAWN: &str = "Longshore took the Pod back before it had started";

/// Returns the outcome of an attempt without any Pod.
fn without_pod(snapshot: &Snapshot) -> Option<Outcome> {
    let job = snapshot.job.as_ref();
    let cancelled = ending(snapshot) == Ending::Cancelled;
    if snapshot.job_presence.is_gone() {
        return Some(if cancelled {
            Outcome::Cancelled { code: None }
        } else {
            Outcome::Lost { message: "somebody deleted the Job".to_owned() }
        });
    }
    let job = job?;
    if job.commit == Some(Commit::Closed) || job.tombstone {
        return Some(if cancelled {
            Outcome::Cancelled { code: None }
        } else {
            Outcome::Lost { message: "it was fenced and never started".to_owned() }
        });
    }
    if job.commit.is_none() && job.suspended && job.suspension_seen {
        let message = "the Job is suspended and has lost its annotation longshore.dev/commit: \
                       Longshore cannot release it, nor know whether it ran";
        return Some(Outcome::Lost { message: message.to_owned() });
    }
    if job.commit == Some(Commit::Committed) && job.suspended && job.suspension_seen {
        let message = "somebody suspended the Job (spec.suspend is true)";
        return Some(Outcome::Lost { message: message.to_owned() });
    }
    if job.commit == Some(Commit::Withdrawn) && job.suspension_seen {
        return Some(if cancelled {
            Outcome::Cancelled { code: None }
        } else {
            Outcome::Lost { message: WITHDRAWN.to_owned() }
        });
    }
    let over = job.over.as_ref()?;
    Some(match job.ending.unwrap_or(Ending::None) {
        Ending::Cancelled => Outcome::Cancelled { code: job.exit_code },
        Ending::Deadline => Outcome::DeadlineExceeded { code: job.exit_code },
        // Another client may have deleted the Pod while it ran, and so have caused the exit code.
        Ending::None | Ending::Over => match limited(snapshot) {
            Some(message) => Outcome::Evicted { message },
            None => {
                Outcome::Lost { message: format!("the Job is over and its Pod is gone: {over}") }
            }
        },
    })
}

/// Returns the Pods of the same Job that started in addition to the one that counts. Kubernetes
/// promises at least once, not at most once
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#handling-pod-and-container-failures>).
fn started_again(snapshot: &Snapshot) -> Vec<String> {
    let Some(first) = snapshot.pod().map(|observed| &observed.pod) else { return Vec::new() };
    let others =
        snapshot.pods.iter().map(|observed| &observed.pod).filter(|pod| pod.uid != first.uid);
    let others = others
        .filter(|pod| pod.job == first.job && pod.container.has_started())
        .map(|pod| pod.name.clone());
    let restarts = first.container.restarts;
    let restarted = (restarts > 0).then(|| {
        format!("{} (container `{}` restarted {restarts} times)", first.name, first.job_container())
    });
    restarted.into_iter().chain(others).collect()
}

fn note_second_start(again: &[String], outcome: Outcome) -> Outcome {
    if again.is_empty() {
        return outcome;
    }
    tracing::error!(pods = again.join("; "), "Kubernetes started the job again");
    match outcome {
        Outcome::Lost { message } => Outcome::Lost {
            message: format!("{message} (Kubernetes started it {} times)", again.len() + 1),
        },
        outcome => outcome,
    }
}

/// Returns why the runtime, which gave `message`, did not start the container of a job that is
/// over.
fn reject_reason(message: &str) -> RejectReason {
    match start_error(message) {
        StartError::Job(reason) => reason,
        _ => RejectReason::ContainerConfig,
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
pub(crate) mod tests;

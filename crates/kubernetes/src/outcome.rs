//! How an attempt ended, from what its Job and Pod say. Pure.

use jiff::Timestamp;
use longshore_core::{ImageReport, Outcome, PullPolicy, RejectReason, Report};

use crate::names::{Commit, Ending};
use crate::pull;
use crate::view::{PodSeen, PodView, Presence, Snapshot, Terminated, said};

/// How the attempt of `snapshot` ended; none while it has not, or while that cannot be told yet.
///
/// The container's status is read, not the Job's condition, which comes one to two seconds later.
pub(crate) fn conclude(snapshot: &Snapshot) -> Option<Report> {
    let outcome = match snapshot.pod() {
        Some(seen) => of_pod(snapshot, seen)?,
        None => without_pod(snapshot)?,
    };
    let again = started_again(snapshot);
    let outcome = note_second_start(&again, outcome);
    let container = snapshot.pod().map(|seen| &seen.pod.container);
    let end = container.and_then(|c| c.terminated.as_ref());
    let mut report = Report::new(outcome);
    report.started_at = end
        .filter(|t| !t.never_ran())
        .and_then(|t| t.started)
        .or_else(|| container.and_then(|c| c.running).flatten());
    report.finished_at = end.and_then(|t| t.finished);
    report.image = Some(image(snapshot));
    report.started_again = again;
    Some(report)
}

/// What is known of the attempt's image.
pub(crate) fn image(snapshot: &Snapshot) -> ImageReport {
    let requested = snapshot.job.as_ref().map(|job| job.image.clone()).unwrap_or_default();
    let pod = snapshot.pod().map(|seen| &seen.pod);
    let mut report = ImageReport::new(requested, PullPolicy::default());
    if let Some(policy) = pod.and_then(|pod| pod.policy) {
        report.policy = policy;
    }
    let told = pod.and_then(|pod| pull::digest(&pod.container.image_id));
    // What is named by a digest resolves to that. CRI-O tells the manifest for its platform where
    // that is an index.
    let named = report.requested.split_once('@').map(|(_, digest)| digest.to_owned());
    report.resolved = told.map(|told| named.unwrap_or(told));
    // Under Never no registry is asked, whatever the Events, which may be late, will tell.
    let never = report.policy == PullPolicy::Never;
    report.pulled = snapshot.pulled.or(never.then_some(false));
    report
}

fn ending(snapshot: &Snapshot) -> Ending {
    snapshot.job.as_ref().map_or(Ending::None, |job| job.ending)
}

fn of_pod(snapshot: &Snapshot, seen: &PodSeen) -> Option<Outcome> {
    let pod = &seen.pod;
    match &pod.container.terminated {
        // What never had a container id never ran: the kubelet writes `ContainerStatusUnknown`
        // also for a container that it had not created yet when the Pod was deleted (seen).
        Some(end) if pod.container.created => of_container(snapshot, pod, end),
        _ if seen.presence.is_gone() || pod.ended => {
            Some(without_end(snapshot, pod, seen.presence))
        }
        _ => None,
    }
}

/// The outcome of a container that has ended.
fn of_container(snapshot: &Snapshot, pod: &PodView, end: &Terminated) -> Option<Outcome> {
    if end.never_ran() {
        let message = end.message.clone();
        return Some(Outcome::Rejected { reason: start_error(&message), message });
    }
    if end.reason == "ContainerStatusUnknown" {
        let message = format!("the node does not know how the container ended: {}", end.message);
        return Some(Outcome::Lost { message });
    }
    if let Some(outcome) = interrupted(snapshot, pod, end) {
        return Some(outcome);
    }
    // The kubelet holds back the Pod's reason (Evicted, DeadlineExceeded) until its phase is
    // final, up to a second after the container's status. Where a signal may have ended it, or we
    // are ending it, that reason decides.
    if !pod.ended && (end.code > 128 || ending(snapshot) != Ending::None) {
        return None;
    }
    Some(match (end.reason.as_str(), end.code) {
        ("OOMKilled", 137) => Outcome::OutOfMemory { code: 137 },
        (_, code) => Outcome::Exited { code, signal: end.signal },
    })
}

/// The outcome where something ended the container from outside, before it ended by itself.
fn interrupted(snapshot: &Snapshot, pod: &PodView, end: &Terminated) -> Option<Outcome> {
    let code = Some(end.code);
    // Before the interruption it had ended by itself, and keeps that outcome.
    let after = |since: Option<Timestamp>| match (since, end.finished) {
        (Some(since), Some(finished)) => finished >= since,
        _ => true,
    };
    if pod.reason == "DeadlineExceeded" {
        return Some(match ending(snapshot) {
            Ending::Cancelled => Outcome::Cancelled { code },
            // Without a mark it is Kubernetes' own backstop, which stands for Longshore's.
            Ending::Deadline | Ending::None => Outcome::DeadlineExceeded { code },
        });
    }
    if let Some(message) = eviction(pod) {
        let since = pod.disruption.as_ref().and_then(|(_, since)| *since);
        return after(since).then_some(Outcome::Evicted { message });
    }
    if !pod.deleting || !after(pod.deletion_asked) {
        return None;
    }
    Some(match ending(snapshot) {
        Ending::Cancelled => Outcome::Cancelled { code },
        Ending::Deadline => Outcome::DeadlineExceeded { code },
        Ending::None => deleted_by_somebody("Pod"),
    })
}

/// Why the cluster took the Pod away, if it did. The reasons are the kubelet's
/// (`pkg/kubelet/eviction`, `preemption`, `nodeshutdown`), the conditions those of
/// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>.
fn eviction(pod: &PodView) -> Option<String> {
    if let Some((message, _)) = &pod.disruption {
        return Some(message.clone());
    }
    matches!(pod.reason.as_str(), "Evicted" | "Preempting" | "Terminated" | "NodeShutdown")
        .then(|| said(Some(&pod.reason), Some(&pod.message)))
}

/// The outcome of a Pod that is over without a container that ended.
fn without_end(snapshot: &Snapshot, pod: &PodView, presence: Presence) -> Outcome {
    match ending(snapshot) {
        Ending::Cancelled => return Outcome::Cancelled { code: None },
        Ending::Deadline => return Outcome::DeadlineExceeded { code: None },
        Ending::None => {}
    }
    if pod.reason == "DeadlineExceeded" {
        return Outcome::DeadlineExceeded { code: None };
    }
    if let Some(message) = eviction(pod) {
        return Outcome::Evicted { message };
    }
    if withdrawn(snapshot) {
        return Outcome::Lost { message: WITHDRAWN.to_owned() };
    }
    match presence {
        Presence::Vanished => Outcome::Lost {
            message: "the Pod was removed while nobody was following it".to_owned(),
        },
        Presence::Deleted => deleted_by_somebody("Pod"),
        // The kubelet refused it (`OutOfcpu`, `NodeAffinity`, …): it never started there.
        Presence::Here | Presence::Unknown if !pod.container.created => Outcome::Rejected {
            reason: RejectReason::Unschedulable,
            message: said(Some(&pod.reason), Some(&pod.message)),
        },
        Presence::Here | Presence::Unknown => Outcome::Lost {
            message: format!(
                "the Pod failed without a container that ended: {}",
                said(Some(&pod.reason), Some(&pod.message))
            ),
        },
    }
}

const WITHDRAWN: &str = "Longshore took the Pod back before it had started";

fn withdrawn(snapshot: &Snapshot) -> bool {
    snapshot.job.as_ref().is_some_and(|job| job.commit == Some(Commit::Withdrawn))
}

/// The outcome of an attempt without any Pod.
fn without_pod(snapshot: &Snapshot) -> Option<Outcome> {
    let job = snapshot.job.as_ref();
    let cancelled = ending(snapshot) == Ending::Cancelled;
    if snapshot.job_presence.is_gone() {
        return Some(if cancelled {
            Outcome::Cancelled { code: None }
        } else {
            deleted_by_somebody("Job")
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
    if job.commit == Some(Commit::Withdrawn) && job.suspension_seen {
        return Some(if cancelled {
            Outcome::Cancelled { code: None }
        } else {
            Outcome::Lost { message: WITHDRAWN.to_owned() }
        });
    }
    let over = job.over.as_ref()?;
    Some(match job.ending {
        Ending::Cancelled => Outcome::Cancelled { code: job.exit_code },
        Ending::Deadline => Outcome::DeadlineExceeded { code: job.exit_code },
        // Whoever deleted the Pod may have done so while it ran: the code may be of his making.
        Ending::None => {
            Outcome::Lost { message: format!("the Job is over and its Pod is gone: {over}") }
        }
    })
}

fn deleted_by_somebody(kind: &str) -> Outcome {
    Outcome::Lost { message: format!("somebody deleted the {kind}") }
}

/// The Pods of the same Job that have started beside the one that counts. Kubernetes promises at
/// least once, not at most once
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#handling-pod-and-container-failures>).
fn started_again(snapshot: &Snapshot) -> Vec<String> {
    let Some(first) = snapshot.pod().map(|seen| &seen.pod) else { return Vec::new() };
    let others = snapshot.pods.iter().map(|seen| &seen.pod).filter(|pod| pod.uid != first.uid);
    others
        .filter(|pod| pod.job == first.job && pod.container.has_started())
        .map(|pod| pod.name.clone())
        .collect()
}

fn note_second_start(again: &[String], outcome: Outcome) -> Outcome {
    if again.is_empty() {
        return outcome;
    }
    tracing::error!(pods = ?again, "Kubernetes started the job again");
    match outcome {
        Outcome::Lost { message } => Outcome::Lost {
            message: format!("{message} (Kubernetes started it {} times)", again.len() + 1),
        },
        outcome => outcome,
    }
}

/// Why the runtime could not start the container. Its words are those of runc and crun, which the
/// runtimes hand on (`exec: "x": executable file not found in $PATH`, `… no such file or
/// directory`, `… permission denied`).
pub(crate) fn start_error(message: &str) -> RejectReason {
    let said = message.to_lowercase();
    let has = |words: &str| said.contains(words);
    if has("chdir") || has("working directory") || has("mounting") || has("cwd") {
        RejectReason::ContainerConfig
    } else if has("executable file not found") || has("executable file `") {
        RejectReason::CommandNotFound
    } else if has("permission denied") || has("exec format error") || has("is a directory") {
        RejectReason::CommandNotExecutable
    } else if has("no such file or directory") {
        RejectReason::CommandNotFound
    } else {
        RejectReason::ContainerConfig
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
pub(crate) mod tests;

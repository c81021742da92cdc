//! Whether a launched attempt has started, waits, or never will. Pure.

use longshore_core::{ErrorKind, Event, ImageReason, PullPolicy, RejectReason};

use crate::outcome::start_error;
use crate::pull::{self, PullTrouble};
use crate::view::{PodView, Presence, Snapshot};

/// How far a launch has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It may still start.
    Waiting,
    /// The job runs, or has run.
    Started,
    /// It will not start by itself; to be withdrawn, and then refused with this.
    Hopeless(ErrorKind, String),
    /// It never ran, and provably never will: refused with this.
    NeverRan(ErrorKind, String),
    /// It is over, and nobody can say without following it what that means.
    Over(String),
}

/// How far the launch of `snapshot` has come.
pub(crate) fn progress(snapshot: &Snapshot) -> Progress {
    let Some(seen) = snapshot.pod() else { return without_pod(snapshot) };
    let pod = &seen.pod;
    let container = &pod.container;
    if container.has_started() {
        return Progress::Started;
    }
    if let Some(end) = container.terminated.as_ref().filter(|t| t.never_ran()) {
        // The runtime refused it, and with restartPolicy Never the kubelet does not try again.
        let reason = start_error(&end.message);
        return Progress::NeverRan(ErrorKind::Rejected(reason), end.message.clone());
    }
    if seen.presence.is_gone() || pod.deleting {
        return Progress::Over("the Pod was deleted before it had started".to_owned());
    }
    if pod.ended {
        return refused_by_node(pod);
    }
    match image_trouble(snapshot, pod) {
        Some(PullTrouble::Definite(why, said)) => {
            return Progress::Hopeless(ErrorKind::ImageUnavailable(why), said);
        }
        Some(PullTrouble::Transient(_) | PullTrouble::WithoutLogin) => return Progress::Waiting,
        None => {}
    }
    if let Some((reason, message)) = &container.waiting {
        return waiting(reason, message);
    }
    match &pod.unschedulable {
        Some(why) if why.contains("persistentvolumeclaim") && why.contains("not found") => {
            Progress::Hopeless(ErrorKind::Rejected(RejectReason::ContainerConfig), why.clone())
        }
        _ => Progress::Waiting,
    }
}

fn without_pod(snapshot: &Snapshot) -> Progress {
    if snapshot.job_presence.is_gone() {
        return Progress::Over("the Job was deleted before it had started".to_owned());
    }
    match snapshot.job.as_ref().and_then(|job| job.over.clone()) {
        Some(failed) => Progress::Over(failed),
        None => Progress::Waiting,
    }
}

/// A Pod that failed on its node without any container: the kubelet had no room for it after all
/// (`OutOfcpu`, `OutOfmemory`, `OutOfpods`, `NodeAffinity`; `pkg/kubelet/lifecycle`). The phase is
/// final, so it can never start. Where the cluster disrupts it, the kubelet may not know yet.
fn refused_by_node(pod: &PodView) -> Progress {
    let why = crate::view::said(Some(&pod.reason), Some(&pod.message));
    if pod.disruption.is_some() || pod.container.created {
        return Progress::Over(why);
    }
    Progress::NeverRan(ErrorKind::Saturated, why)
}

/// What is known of trouble with the image of `pod`. The kubelet sends the Event of a failed pull up
/// to seconds before the container's status.
fn image_trouble(snapshot: &Snapshot, pod: &PodView) -> Option<PullTrouble> {
    let known = snapshot.pull_failure.as_deref();
    let trouble = match &pod.container.waiting {
        Some((reason, message)) if !is_creating(reason) => pull::trouble(reason, message, known),
        _ => known.map(pull::judge),
    };
    match trouble {
        // A registry may hide from strangers what it has.
        Some(PullTrouble::Definite(ImageReason::Denied | ImageReason::NotFound, _))
            if snapshot.has_missed_login() =>
        {
            Some(PullTrouble::WithoutLogin)
        }
        trouble => trouble,
    }
}

/// Whether `reason` says no more than that the container is not there yet.
fn is_creating(reason: &str) -> bool {
    matches!(reason, "ContainerCreating" | "PodInitializing")
}

/// What a launch hears of an image that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageWait {
    /// Nothing yet: the node pulls.
    Silent,
    /// The registry gave no answer, in these words; it is asked again.
    Failing(String),
}

/// What is heard of the image that `snapshot` waits for; none if it waits for something else.
///
/// A container that is being created may also wait for its volumes or its network. Where Events
/// cannot be had (`no_events`) that looks the same, and is taken for a pull.
pub(crate) fn image_wait(snapshot: &Snapshot, no_events: bool) -> Option<ImageWait> {
    let pod = &snapshot.pod()?.pod;
    let may_pull = pod.scheduled && !pod.container.created && pod.policy != Some(PullPolicy::Never);
    if !may_pull {
        return None;
    }
    match image_trouble(snapshot, pod) {
        Some(PullTrouble::Transient(said) | PullTrouble::Definite(_, said)) => {
            return Some(ImageWait::Failing(said));
        }
        Some(PullTrouble::WithoutLogin) => return Some(ImageWait::Silent),
        None => {}
    }
    let creating = pod.container.waiting.as_ref().is_none_or(|(reason, _)| is_creating(reason));
    (creating && (snapshot.pulling || no_events)).then_some(ImageWait::Silent)
}

/// What a waiting container's reason means, if it is not about the image. The reasons are those of
/// `pkg/kubelet/kuberuntime`.
fn waiting(reason: &str, message: &str) -> Progress {
    match reason {
        // A Secret or ConfigMap that is not there, a user that may not be root.
        "CreateContainerConfigError" if !message.contains("failed to sync") => {
            rejected(RejectReason::ContainerConfig, message)
        }
        "CreateContainerError" | "RunContainerError" if is_definite(message) => {
            rejected(start_error(message), message)
        }
        _ => Progress::Waiting,
    }
}

fn rejected(reason: RejectReason, message: &str) -> Progress {
    Progress::Hopeless(ErrorKind::Rejected(reason), message.to_owned())
}

/// Whether the runtime would say the same again. It also fails for want of time or of a free name.
fn is_definite(message: &str) -> bool {
    let said = message.to_lowercase();
    let words = [
        "executable file not found",
        "no command specified",
        "no such file or directory",
        "permission denied",
        "exec format error",
        "not a directory",
        "is a directory",
        "failed to generate container",
        "unable to find user",
        "invalid",
    ];
    words.iter().any(|words| said.contains(words))
}

/// Why it has not started by the deadline, if it does not wait for its image.
pub(crate) fn at_deadline(snapshot: &Snapshot, job_warning: Option<&str>) -> (ErrorKind, String) {
    let Some(pod) = snapshot.pod().map(|seen| &seen.pod) else {
        let why = job_warning.unwrap_or("Kubernetes made no Pod in time");
        let kind = if why.contains("exceeded quota") {
            ErrorKind::Saturated
        } else if why.contains("forbidden") {
            ErrorKind::Denied
        } else {
            ErrorKind::Unavailable
        };
        return (kind, why.to_owned());
    };
    if let Some((reason, message)) = &pod.container.waiting
        && reason.contains("Error")
    {
        let kind = ErrorKind::Rejected(RejectReason::ContainerConfig);
        return (kind, crate::view::said(Some(reason), Some(message)));
    }
    if let Some(why) = pod.unschedulable.as_ref().filter(|_| !pod.scheduled) {
        return (ErrorKind::Saturated, why.clone());
    }
    let why = snapshot.warning.clone();
    (ErrorKind::Unavailable, why.unwrap_or_else(|| "the Pod did not start in time".to_owned()))
}

/// Whether no Pod of a suspended attempt has started, nor can; none while that is open.
pub(crate) fn never_started(snapshot: &Snapshot) -> Option<bool> {
    let suspended = snapshot.job.as_ref().is_some_and(|job| job.suspended && job.suspension_seen);
    if snapshot.pods.is_empty() {
        // The Job controller handles one Job in one thread: once it says that the Job is
        // suspended, no Pod of an earlier pass is on its way.
        return suspended.then_some(true);
    }
    let proofs: Vec<Option<bool>> =
        snapshot.pods.iter().map(|seen| pod_never_started(&seen.pod, seen.presence)).collect();
    if proofs.contains(&Some(false)) {
        return Some(false);
    }
    proofs.iter().all(Option::is_some).then_some(true)
}

fn pod_never_started(pod: &PodView, presence: Presence) -> Option<bool> {
    if pod.container.created || presence == Presence::Vanished {
        return Some(false);
    }
    // A node that cannot be reached may have started it without saying so.
    if pod.disruption.is_some() {
        return Some(false);
    }
    // A phase that is final is written only once nothing of the Pod can run (`pkg/kubelet/status`,
    // `mergePodStatus`).
    let confirmed =
        presence == Presence::Deleted || pod.ended || pod.deletion_confirmed || pod.ending;
    // Without a node and being deleted, it is never given one (the binding is refused).
    let never_placed = !pod.scheduled && pod.deleting;
    (confirmed || never_placed).then_some(true)
}

/// Tells each step of an attempt once.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    scheduled: bool,
    pulling: bool,
    pulled: bool,
    started: bool,
    waiting: Option<String>,
}

impl Narrator {
    /// What is new in `snapshot`.
    pub(crate) fn tell(&mut self, snapshot: &Snapshot) -> Vec<Event> {
        let mut news = Vec::new();
        let Some(pod) = snapshot.pod().map(|seen| &seen.pod) else { return news };
        let mut once = |told: &mut bool, now: bool, event: Event| {
            if now && !*told {
                *told = true;
                news.push(event);
            }
        };
        let started = pod.container.has_started();
        once(&mut self.scheduled, pod.scheduled, Event::Scheduled);
        let pulling = snapshot.pulling && !started;
        once(&mut self.pulling, pulling, Event::Pulling { current: 0, total: None });
        let pulled = snapshot.pulled.is_some() && !snapshot.pulling;
        once(&mut self.pulled, pulled || started, Event::Pulled);
        let at = pod.container.running.flatten();
        let at = at.or_else(|| pod.container.terminated.as_ref().and_then(|t| t.started));
        once(&mut self.started, started, Event::Started(at));
        let waits = why_waiting(pod).filter(|_| !started);
        if waits != self.waiting {
            news.extend(waits.clone().map(Event::Waiting));
            self.waiting = waits;
        }
        news
    }
}

fn why_waiting(pod: &PodView) -> Option<String> {
    let container = pod
        .container
        .waiting
        .as_ref()
        .filter(|(reason, message)| !message.is_empty() || !is_creating(reason));
    let container = container.map(|(r, m)| crate::view::said(Some(r), Some(m)));
    container.or_else(|| pod.unschedulable.clone())
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;

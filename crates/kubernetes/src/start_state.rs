//! Determines whether a launched attempt has started, is waiting, or never will start. Pure.

use longshore_core::{
    ErrorKind, Event, ImageReason, PullPolicy, RejectReason, StartError, start_error,
};

use crate::meta::reason_and_message;
use crate::names::{Commit, object_name};
use crate::pod_view::PodView;
use crate::pull::{self, PullFailure};
use crate::refusal;
use crate::snapshot::{Presence, Snapshot};

/// The state of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartState {
    /// The job may still start.
    Waiting,
    /// The job runs, or has run.
    Started,
    /// The job will not start. The launch must withdraw it and then refuse with this error.
    Hopeless(ErrorKind, String),
    /// The job never ran, and provably never will. The launch refuses with this error.
    NeverRan(ErrorKind, String),
    /// The attempt is over. Only a process that follows it can determine how it ended.
    Over(String),
}

/// Returns the state of the launch of `snapshot`.
pub(crate) fn start_state(snapshot: &Snapshot) -> StartState {
    let Some(observed) = snapshot.pod() else { return without_pod(snapshot) };
    let pod = &observed.pod;
    let container = &pod.container;
    if container.has_started() {
        return StartState::Started;
    }
    if let Some(end) = container.terminated.as_ref().filter(|t| t.never_ran())
        && pod.spec.never_restarts()
        && pod.spec.job().is_some()
    {
        // The runtime refused to start it, and with restartPolicy Never the kubelet does not try
        // again.
        let kind = refused_start(&end.message);
        let kind = kind.unwrap_or(ErrorKind::Rejected(RejectReason::ContainerConfig));
        return StartState::NeverRan(kind, end.message.clone());
    }
    if observed.presence.is_gone() || pod.deleting {
        return StartState::Over(with_difference(
            snapshot,
            "the Pod was deleted before it had started".to_owned(),
        ));
    }
    if pod.ended {
        return ended_unstarted(snapshot, pod);
    }
    match image_failure(snapshot, pod) {
        Some(PullFailure::Definite(why, message)) => {
            return StartState::Hopeless(ErrorKind::ImageUnavailable(why), message);
        }
        Some(PullFailure::NameRefused(message)) => {
            return StartState::Hopeless(ErrorKind::Unsupported, message);
        }
        Some(PullFailure::Transient(_) | PullFailure::WithoutLogin(..)) => {
            return StartState::Waiting;
        }
        None => {}
    }
    if let Some((reason, message)) = &container.waiting {
        return waiting(snapshot, reason, message);
    }
    match &pod.unschedulable {
        Some(why) if why.contains("persistentvolumeclaim") && why.contains("not found") => {
            StartState::Hopeless(ErrorKind::Rejected(RejectReason::ContainerConfig), why.clone())
        }
        _ => StartState::Waiting,
    }
}

fn without_pod(snapshot: &Snapshot) -> StartState {
    if snapshot.job_presence.is_gone() {
        return StartState::Over("the Job was deleted before it had started".to_owned());
    }
    let Some(job) = &snapshot.job else { return StartState::Waiting };
    if let Some(failed) = &job.over {
        return StartState::Over(failed.clone());
    }
    if job.commit == Some(Commit::Committed) && job.held {
        let change = if job.suspended { "spec.suspend is true" } else { "spec.parallelism is 0" };
        let why = format!("another client holds the released Job back: {change}");
        return StartState::Hopeless(ErrorKind::Unsupported, why);
    }
    StartState::Waiting
}

/// Returns the state of the launch of a Pod with a final phase whose container did not start.
///
/// Only the kubelet's own refusal of the Pod proves that nothing ran: the node had no room for it
/// (`OutOfcpu`, `OutOfmemory`, `OutOfpods`, `NodeAffinity`; `pkg/kubelet/lifecycle`). In any other
/// case, such as a failed init container or a container that the status does not mention, the
/// process that follows the Pod to its end decides. The same applies to a Pod that the cluster
/// disrupts, because the kubelet may not know of that yet.
fn ended_unstarted(snapshot: &Snapshot, pod: &PodView) -> StartState {
    let why = unstarted(pod);
    if pod.refused && pod.disruption.is_none() && !pod.container.created {
        return StartState::NeverRan(ErrorKind::Saturated, why);
    }
    StartState::Over(with_difference(snapshot, why))
}

/// Returns why the job's container did not start, in the kubelet's words: what it says about the
/// Pod and about an init container, and the container's state.
pub(crate) fn unstarted(pod: &PodView) -> String {
    let pod_message = reason_and_message(Some(&pod.reason), Some(&pod.message));
    if pod.refused {
        return pod_message;
    }
    let state = format!("container `{}`: {}", pod.job_container(), pod.container.state());
    let parts = [Some(pod_message), pod.init_failure.clone(), Some(state)];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Returns `why`, followed by how the Pod differs from the submitted one, if it does.
pub(crate) fn with_difference(snapshot: &Snapshot, why: String) -> String {
    match snapshot.difference() {
        Some(difference) => format!("{why}; {difference}"),
        None => why,
    }
}

/// Returns what is known of a problem with the image of `pod`. The kubelet sends the Event of a
/// failed pull up to seconds before the container's status.
fn image_failure(snapshot: &Snapshot, pod: &PodView) -> Option<PullFailure> {
    let known = snapshot.pull.failure.as_deref();
    let failure = match &pod.container.waiting {
        Some((reason, message)) if !is_creating(reason) => {
            pull::judge_waiting(reason, message, known)
        }
        _ => known.map(pull::judge),
    };
    match failure {
        // Without a login, a registry may deny that an image exists.
        Some(PullFailure::Definite(
            why @ (ImageReason::Denied | ImageReason::NotFound),
            message,
        )) if snapshot.may_have_missed_login() => Some(PullFailure::WithoutLogin(why, message)),
        failure => failure,
    }
}

/// Returns whether `reason` says only that the container does not exist yet.
fn is_creating(reason: &str) -> bool {
    matches!(reason, "ContainerCreating" | "PodInitializing")
}

/// The state of an image that a launch waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageWait {
    /// Nothing is known yet: the node is pulling.
    Silent,
    /// The registry did not answer, with this message; the node tries again.
    Failing(String),
    /// The registry refused a node that may not have had the login yet, with this reason and
    /// message; the node tries again.
    WithoutLogin(ImageReason, String),
}

/// Returns the state of the image that `snapshot` waits for; `None` if it waits for something else.
///
/// A container that is being created may also wait for its volumes or its network. Without Events
/// (`no_events`) that looks the same, and counts as a pull.
pub(crate) fn image_wait(snapshot: &Snapshot, no_events: bool) -> Option<ImageWait> {
    let pod = &snapshot.pod()?.pod;
    let may_pull = pod.scheduled && !pod.container.created && pod.policy != Some(PullPolicy::Never);
    if !may_pull {
        return None;
    }
    match image_failure(snapshot, pod) {
        Some(
            PullFailure::Transient(message)
            | PullFailure::Definite(_, message)
            | PullFailure::NameRefused(message),
        ) => {
            return Some(ImageWait::Failing(message));
        }
        Some(PullFailure::WithoutLogin(why, message)) => {
            return Some(ImageWait::WithoutLogin(why, message));
        }
        None => {}
    }
    let creating = pod.container.waiting.as_ref().is_none_or(|(reason, _)| is_creating(reason));
    (creating && (snapshot.pull.pulling || no_events)).then_some(ImageWait::Silent)
}

/// Returns what the reason of a waiting container means, if it is not about the image. The reasons
/// are those of `pkg/kubelet/kuberuntime`.
fn waiting(snapshot: &Snapshot, reason: &str, message: &str) -> StartState {
    match reason {
        // A Secret or ConfigMap that does not exist, or a user that must not be root.
        "CreateContainerConfigError"
            if !message.contains("failed to sync") && !is_about_own_secret(snapshot, message) =>
        {
            rejected(RejectReason::ContainerConfig, &with_remedy_for_root(message))
        }
        "CreateContainerError" | "RunContainerError" => match refused_start(message) {
            // The runtime itself failed, or nothing is known. The kubelet tries again.
            None | Some(ErrorKind::Unavailable) => StartState::Waiting,
            Some(kind) => StartState::Hopeless(kind, message.to_owned()),
        },
        _ => StartState::Waiting,
    }
}

/// Returns whether `message` says that the attempt's own Secret does not exist. Longshore creates
/// that Secret before it releases the Job, so the kubelet only does not know it yet, and reads it
/// again.
fn is_about_own_secret(snapshot: &Snapshot, message: &str) -> bool {
    let job = snapshot.job.as_ref().filter(|job| job.own_secret);
    let attempt = job.and_then(|job| job.attempt.as_deref());
    attempt.is_some_and(|attempt| {
        message.contains("not found") && message.contains(&format!("\"{}\"", object_name(attempt)))
    })
}

/// Returns the kubelet's `message`, with what to do if it refuses an image that runs as root.
fn with_remedy_for_root(message: &str) -> String {
    if !message.contains("runAsNonRoot") {
        return message.to_owned();
    }
    format!(
        "securityContext.runAsNonRoot, which the security profile restricted sets, does not allow \
         the image's user: set securityContext.runAsUser, or use an image with a numeric user \
         other than 0 (the kubelet: {message})"
    )
}

fn rejected(reason: RejectReason, message: &str) -> StartState {
    StartState::Hopeless(ErrorKind::Rejected(reason), message.to_owned())
}

/// Returns what it means that the runtime, which gave this `message`, did not start the container;
/// `None` if the message does not show that.
fn refused_start(message: &str) -> Option<ErrorKind> {
    match start_error(message) {
        StartError::Job(reason) => Some(ErrorKind::Rejected(reason)),
        StartError::Host => Some(ErrorKind::Unsupported),
        StartError::Runtime => Some(ErrorKind::Unavailable),
        _ => None,
    }
}

/// Returns why the job has not started in time, if it does not wait for its image. `job_warning` is
/// the last warning about the Job, for example that its Pod could not be created.
pub(crate) fn at_deadline(snapshot: &Snapshot, job_warning: Option<&str>) -> (ErrorKind, String) {
    let Some(pod) = snapshot.pod().map(|observed| &observed.pod) else {
        let why = job_warning.unwrap_or("Kubernetes created no Pod");
        let kind = refusal::classify(why).unwrap_or(ErrorKind::Unavailable);
        return (kind, why.to_owned());
    };
    if let Some((reason, message)) = &pod.container.waiting
        && reason.contains("Error")
        && !is_about_own_secret(snapshot, message)
    {
        let kind = ErrorKind::Rejected(RejectReason::ContainerConfig);
        return (kind, reason_and_message(Some(reason), Some(message)));
    }
    if !pod.scheduled {
        return match &pod.unschedulable {
            Some(why) => (ErrorKind::Saturated, why.clone()),
            None => (
                ErrorKind::Unavailable,
                format!("the scheduler `{}` has not looked at the Pod", pod.spec.scheduler),
            ),
        };
    }
    let warning = snapshot.warning.as_ref().map(|warning| format!("last Event: {warning}"));
    let difference = snapshot.difference();
    let reasons = [pod.init_failure.clone(), pod.blocked.clone(), warning, difference];
    let reasons: Vec<String> = reasons.into_iter().flatten().collect();
    let why = if reasons.is_empty() {
        format!("container `{}` is {}", pod.job_container(), pod.container.state())
    } else {
        reasons.join("; ")
    };
    (ErrorKind::Unavailable, why)
}

/// Returns whether no Pod of a suspended attempt has started or can start; `None` if that is
/// unknown.
pub(crate) fn never_started(snapshot: &Snapshot) -> Option<bool> {
    let suspended = snapshot.job.as_ref().is_some_and(|job| job.suspended && job.suspension_seen);
    if snapshot.pods.is_empty() {
        // The Job controller handles one Job in one thread at a time. Once it reports that the Job
        // is suspended, no earlier pass can still create a Pod.
        return suspended.then_some(true);
    }
    let proofs: Vec<Option<bool>> = snapshot
        .pods
        .iter()
        .map(|observed| pod_never_started(&observed.pod, observed.presence))
        .collect();
    if proofs.contains(&Some(false)) {
        return Some(false);
    }
    proofs.iter().all(Option::is_some).then_some(true)
}

fn pod_never_started(pod: &PodView, presence: Presence) -> Option<bool> {
    if pod.container.has_started() || pod.container.created || presence == Presence::Vanished {
        return Some(false);
    }
    // An unreachable node may have started the container without reporting it.
    if pod.disruption.is_some() {
        return Some(false);
    }
    // A Pod that is being deleted never gets a node (the API server refuses the binding).
    if !pod.scheduled && (pod.deleting || presence == Presence::Deleted) {
        return Some(true);
    }
    // The kubelet reports a final phase only once nothing of the Pod can run (`pkg/kubelet/status`,
    // `mergePodStatus`).
    let is_final =
        presence == Presence::Deleted || pod.ended || pod.deletion_confirmed || pod.ending;
    is_final.then(|| pod.shows_that_nothing_ran())
}

/// Reports each step of an attempt once.
#[derive(Debug, Default)]
pub(crate) struct EventReporter {
    scheduled: bool,
    pulling: bool,
    pulled: bool,
    started: bool,
    running: bool,
    altered: bool,
    waiting: Option<String>,
}

impl EventReporter {
    /// Returns the events that are new in `snapshot`.
    pub(crate) fn new_events(&mut self, snapshot: &Snapshot) -> Vec<Event> {
        let mut new_events = Vec::new();
        let Some(observed) = snapshot.pod() else { return new_events };
        let pod = &observed.pod;
        let mut once = |reported: &mut bool, now: bool, event: Event| {
            if now && !*reported {
                *reported = true;
                new_events.push(event);
            }
        };
        let started = pod.container.has_started();
        once(&mut self.scheduled, pod.scheduled, Event::Scheduled);
        let pulling = snapshot.pull.pulling && !started;
        once(&mut self.pulling, pulling, Event::Pulling { current: 0, total: None });
        let pulled = snapshot.pull.consulted.is_some() && !snapshot.pull.pulling;
        once(&mut self.pulled, pulled || started, Event::Pulled);
        let at = pod.container.running.flatten();
        let at = at.or_else(|| pod.container.terminated.as_ref().and_then(|t| t.started));
        once(&mut self.started, started, Event::Started(at));
        let runs = pod.container.running.is_some() && !pod.ended;
        once(&mut self.running, runs && observed.presence == Presence::Here, Event::Running);
        if let Some(alteration) = snapshot.alteration().filter(|_| !self.altered) {
            self.altered = true;
            tracing::warn!(pod = %pod.name, "{alteration}");
            new_events.push(Event::Waiting(alteration));
        }
        let waits = why_waiting(pod).filter(|_| !started);
        if waits != self.waiting {
            new_events.extend(waits.clone().map(Event::Waiting));
            self.waiting = waits;
        }
        new_events
    }
}

fn why_waiting(pod: &PodView) -> Option<String> {
    let container = pod
        .container
        .waiting
        .as_ref()
        .filter(|(reason, message)| !message.is_empty() || !is_creating(reason));
    let container = container.map(|(r, m)| reason_and_message(Some(r), Some(m)));
    container.or_else(|| pod.unschedulable.clone())
}

#[cfg(test)]
#[path = "start_state_tests.rs"]
mod tests;

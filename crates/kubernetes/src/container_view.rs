//! The parts of a container's status that Longshore reads.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::meta::reason_and_message;

/// The job's container within its Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerView {
    /// Whether the Pod's status mentions the container.
    pub(crate) known: bool,
    /// Whether a container was ever created.
    pub(crate) created: bool,
    /// The image's ID on the node.
    pub(crate) image_id: String,
    /// Reason and message, while the container waits.
    pub(crate) waiting: Option<(String, String)>,
    /// When it started, while the container runs.
    pub(crate) running: Option<Option<Timestamp>>,
    /// How it ended.
    pub(crate) terminated: Option<Terminated>,
    /// How many times the kubelet restarted the container.
    pub(crate) restarts: i32,
    /// How the run before the current one ended.
    pub(crate) before: Option<Terminated>,
    /// How the first run ended, if an earlier status showed that.
    pub(crate) first: Option<Terminated>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terminated {
    /// The exit code.
    pub(crate) code: i32,
    /// The signal. Most runtimes never report it.
    pub(crate) signal: Option<i32>,
    /// The runtime's reason, such as `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub(crate) reason: String,
    /// The runtime's message.
    pub(crate) message: String,
    /// When it started.
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    pub(crate) finished: Option<Timestamp>,
}

impl ContainerView {
    /// Returns whether the job's own program was started, in this run or an earlier one.
    pub(crate) fn has_started(&self) -> bool {
        self.running.is_some()
            || self.restarts > 0
            || self.terminated.as_ref().is_some_and(|t| self.created && !t.never_ran())
    }

    /// Returns how the container's first run ended, if this status or an earlier one shows that.
    /// The kubelet keeps only the run before the current one.
    pub(crate) fn first_end(&self) -> Option<&Terminated> {
        match self.restarts {
            0 => self.terminated.as_ref(),
            1 => self.before.as_ref(),
            _ => self.first.as_ref(),
        }
    }

    /// Returns the state of the container in the kubelet's words.
    pub(crate) fn state(&self) -> String {
        if let Some((reason, message)) = &self.waiting {
            return format!("waiting: {}", reason_and_message(Some(reason), Some(message)));
        }
        if let Some(end) = &self.terminated {
            let why = reason_and_message(Some(&end.reason), Some(&end.message));
            return format!("terminated with exit code {}: {why}", end.code);
        }
        if self.running.is_some() { "running".to_owned() } else { "not reported".to_owned() }
    }
}

impl Terminated {
    /// Returns whether the node does not know how the container ended. The kubelet writes
    /// `ContainerStatusUnknown` for a container that the runtime has lost. containerd writes
    /// `Unknown` and 255 for one that is no longer there when it starts, such as after the node was
    /// restarted (`internal/cri/server/restart.go`).
    pub(crate) fn is_unknown(&self) -> bool {
        self.reason == "ContainerStatusUnknown" || self.reason == "Unknown" && self.code == 255
    }

    /// Returns whether the runtime refused to start the container (containerd and CRI-O:
    /// `StartError`; dockershim and cri-dockerd: `ContainerCannotRun`).
    pub(crate) fn never_ran(&self) -> bool {
        matches!(self.reason.as_str(), "StartError" | "ContainerCannotRun")
    }
}

impl From<&ContainerStatus> for ContainerView {
    fn from(status: &ContainerStatus) -> Self {
        let state = status.state.as_ref();
        let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        Self {
            known: true,
            // If the node has lost a container that ran, only its last state remains.
            created: before.is_some()
                || status.container_id.as_deref().is_some_and(|id| !id.is_empty()),
            image_id: status.image_id.clone(),
            waiting: state.and_then(|s| s.waiting.as_ref()).map(|w| {
                (w.reason.clone().unwrap_or_default(), w.message.clone().unwrap_or_default())
            }),
            running: state.and_then(|s| s.running.as_ref()).map(|r| time(r.started_at.as_ref())),
            terminated: state.and_then(|s| s.terminated.as_ref()).map(Terminated::from),
            restarts: status.restart_count,
            before: before.map(Terminated::from),
            first: None,
        }
    }
}

impl From<&ContainerStateTerminated> for Terminated {
    fn from(end: &ContainerStateTerminated) -> Self {
        Self {
            code: end.exit_code,
            signal: end.signal.filter(|signal| *signal != 0),
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
            started: time(end.started_at.as_ref()),
            finished: time(end.finished_at.as_ref()),
        }
    }
}

/// Returns `at`, or `None` for the epoch, which the status of a container that never started
/// contains.
fn time(at: Option<&Time>) -> Option<Timestamp> {
    at.map(|time| time.0).filter(|time| *time > Timestamp::UNIX_EPOCH)
}

/// Returns whether the container runs now.
pub(crate) fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Returns why the init container of `status` prevents the Pod from starting, if it does.
pub(crate) fn init_failure(status: &ContainerStatus) -> Option<String> {
    let name = &status.name;
    let view = ContainerView::from(status);
    if let Some(end) = view.terminated.as_ref().or(view.before.as_ref())
        && end.code != 0
    {
        let why = reason_and_message(Some(&end.reason), Some(&end.message));
        return Some(format!("init container `{name}` ended with exit code {}: {why}", end.code));
    }
    match &view.waiting {
        Some((reason, message)) if reason != "PodInitializing" => {
            let why = reason_and_message(Some(reason), Some(message));
            Some(format!("init container `{name}` waits: {why}"))
        }
        _ if view.running.is_some() && status.started == Some(false) => {
            Some(format!("init container `{name}` has not started"))
        }
        _ if view.running.is_some() && !status.ready => {
            Some(format!("init container `{name}` still runs"))
        }
        _ => None,
    }
}

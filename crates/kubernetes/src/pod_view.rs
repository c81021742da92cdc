//! The parts of a Pod that Longshore reads. Only what a decision needs is kept, so that a thousand
//! jobs in flight use little memory.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::PullPolicy;

use crate::container_view::{ContainerView, init_failure, is_running};
use crate::meta::{annotation, has_first_deadline, reason_and_message};
use crate::names::{self, Ending};
use crate::pod_spec_view::PodSpecView;

/// The view of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodView {
    /// Its uid.
    pub(crate) uid: String,
    /// Its name.
    pub(crate) name: String,
    /// The uid of the Job that owns it.
    pub(crate) job: Option<String>,
    /// When it was created.
    pub(crate) created: Option<Timestamp>,
    /// How far the node's clock is behind the API server's at least: by how much the Pod began, by
    /// the node's clock, before it was created.
    pub(crate) clock_behind: SignedDuration,
    /// The resource version of the object that this view was read from.
    pub(crate) resource_version: String,
    /// Whether it has a node.
    pub(crate) scheduled: bool,
    /// Whether its phase is `Succeeded` or `Failed`, which is final.
    pub(crate) ended: bool,
    /// `status.reason`, such as `Evicted` or `DeadlineExceeded`.
    pub(crate) reason: String,
    /// `status.message`.
    pub(crate) message: String,
    /// Whether its deletion has been requested.
    pub(crate) deleting: bool,
    /// When its deletion was requested. The kubelet's confirmation overwrites this time.
    pub(crate) deletion_asked: Option<Timestamp>,
    /// Whether the kubelet has confirmed that nothing of the Pod runs. The kubelet then deletes the
    /// Pod with a grace period of 0, which Longshore itself never does.
    pub(crate) deletion_confirmed: bool,
    /// Whether the status of the job's container shows that the kubelet has begun to end the
    /// deleted Pod. From then on, the kubelet creates no container. See [`is_ending`].
    pub(crate) ending: bool,
    /// Whether the kubelet refused the Pod before it created any container. See [`is_refused`].
    pub(crate) refused: bool,
    /// Why Longshore ended the Pod, from an annotation of the Pod itself.
    pub(crate) mark: Option<Ending>,
    /// `spec.activeDeadlineSeconds`.
    pub(crate) active_deadline: Option<i64>,
    /// Whether that deadline is the one of its creation; see [`has_first_deadline`].
    pub(crate) first_deadline: bool,
    /// When that deadline ends, by the node's clock.
    pub(crate) expires: Option<Timestamp>,
    /// Why the cluster disrupts the Pod, and since when (condition `DisruptionTarget`).
    pub(crate) disruption: Option<(String, Option<Timestamp>)>,
    /// Why it has no node.
    pub(crate) unschedulable: Option<String>,
    /// The condition that keeps its containers from starting, as a text.
    pub(crate) blocked: Option<String>,
    /// The init container that fails or waits, as a text.
    pub(crate) init_failure: Option<String>,
    /// The pull policy after admission.
    pub(crate) policy: Option<PullPolicy>,
    /// What the Pod runs after admission.
    pub(crate) spec: PodSpecView,
    /// The job's container.
    pub(crate) container: ContainerView,
    /// Whether another container of the Pod runs, such as a sidecar.
    pub(crate) others_run: bool,
}

impl PodView {
    /// Returns the API server's time at `at`, a time of the node's clock, as far as the difference of
    /// the two clocks is known.
    pub(crate) fn by_server_clock(&self, at: Timestamp) -> Timestamp {
        at.saturating_add(self.clock_behind).unwrap_or(at)
    }

    /// Returns the name of the container whose output is the job's.
    pub(crate) fn job_container(&self) -> &str {
        self.spec.job_container().unwrap_or(names::CONTAINER)
    }

    /// Returns whether a Pod, of which nothing runs or can run, provably never ran the job: the
    /// kubelet says so of the container `job` by name, or it refused the Pod as a whole.
    ///
    /// A status that does not mention the container proves nothing. Nor does the status of a
    /// container that admission has renamed, as it may not be the container that Longshore
    /// submitted.
    pub(crate) fn shows_that_nothing_ran(&self) -> bool {
        self.refused
            || (self.container.known && !self.container.created && self.spec.job().is_some())
    }
}

/// Returns whether the kubelet has reported the state of the job's container after it began to end
/// the deleted `pod`.
///
/// In the kubelet, one worker handles a Pod, one step after another. Once a worker gets a Pod with
/// a `deletionTimestamp`, it ends that Pod and never starts its containers again
/// (`pkg/kubelet/pod_workers.go`, `UpdatePod`, `startPodSync`). Before the first step of ending,
/// the worker waits for a state of the runtime that is newer than the last step of starting
/// (`podWorkerLoop`, `GetNewerThan`), so it knows each container that it ever created. It reports
/// that state at the beginning of this step (`pkg/kubelet/kubelet.go`, `SyncTerminatingPod`). The
/// report has the `generation` of the Pod that the worker got as `observedGeneration`
/// (`pkg/kubelet/status/status_manager.go`, `SetPodStatus`; Kubernetes 1.34). The deletion raises
/// the `generation` (`apiserver/pkg/registry/rest/delete.go`), so an older status cannot have that
/// number.
fn is_ending(pod: &Pod, container: &ContainerView) -> bool {
    let observed = pod.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default();
    let asked = pod.metadata.generation.unwrap_or_default();
    pod.metadata.deletion_timestamp.is_some() && asked > 1 && observed >= asked && container.known
}

/// Returns whether the kubelet refused to admit the Pod. It then writes a final phase, a reason of
/// its own, and no container status (`pkg/kubelet/kubelet.go`, `rejectPod`; the reasons are in
/// `pkg/kubelet/lifecycle/predicate.go` and `pkg/kubelet/cm`). Other writers of a final phase
/// without a container status, such as the Pod garbage collector for a lost node, give no such
/// reason, and prove nothing.
fn is_refused(status: &PodStatus) -> bool {
    let reason = status.reason.as_deref().unwrap_or_default();
    let message = status.message.as_deref().unwrap_or_default();
    let is_admission = message.starts_with("Pod was rejected: ")
        || reason.starts_with("OutOf")
        || matches!(reason, "NodeAffinity" | "UnexpectedAdmissionError" | "TopologyAffinityError");
    status.phase.as_deref() == Some("Failed")
        && is_admission
        && status.container_statuses.as_ref().is_none_or(Vec::is_empty)
        && status.init_container_statuses.as_ref().is_none_or(Vec::is_empty)
}

impl From<&Pod> for PodView {
    fn from(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let status = pod.status.as_ref();
        let spec = pod.spec.as_ref();
        let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let grace = meta.deletion_grace_period_seconds.filter(|grace| *grace > 0);
        let asked = meta.deletion_timestamp.as_ref().zip(grace).map(|(at, grace)| {
            at.0.saturating_sub(SignedDuration::from_secs(grace)).unwrap_or(at.0)
        });
        let spec_view = spec.map(PodSpecView::from).unwrap_or_default();
        let statuses = statuses(status);
        let own = spec_view.job_container();
        let container = statuses
            .iter()
            .find(|s| Some(s.name.as_str()) == own)
            .map(|s| ContainerView::from(*s))
            .unwrap_or_default();
        let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
        let others = statuses.iter().copied().filter(|s| Some(s.name.as_str()) != own).chain(init);
        let active_deadline = spec.and_then(|s| s.active_deadline_seconds);
        let started = status.and_then(|s| s.start_time.as_ref()).map(|time| time.0);
        let created = meta.creation_timestamp.as_ref().map(|t| t.0);
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            job: owner(meta),
            created,
            clock_behind: created
                .zip(started)
                .map(|(created, started)| created.duration_since(started))
                .filter(|behind| behind.is_positive())
                .unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            scheduled: spec.is_some_and(|s| s.node_name.is_some()),
            ended: matches!(phase, "Succeeded" | "Failed"),
            reason: status.and_then(|s| s.reason.clone()).unwrap_or_default(),
            message: status.and_then(|s| s.message.clone()).unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            deletion_asked: asked,
            deletion_confirmed: meta.deletion_timestamp.is_some()
                && meta.deletion_grace_period_seconds == Some(0),
            ending: is_ending(pod, &container),
            refused: status.is_some_and(is_refused),
            mark: annotation(meta, names::ENDING).and_then(Ending::parse),
            active_deadline,
            first_deadline: has_first_deadline(meta),
            expires: started.zip(active_deadline).and_then(|(started, seconds)| {
                started.checked_add(SignedDuration::from_secs(seconds)).ok()
            }),
            disruption: disruption(status),
            unschedulable: condition(status, "PodScheduled", "False"),
            blocked: ["PodReadyToStartContainers", "Initialized"]
                .into_iter()
                .find_map(|kind| condition(status, kind, "False").map(|why| (kind, why)))
                .map(|(kind, why)| {
                    reason_and_message(Some(&format!("{kind} is False")), Some(&why))
                }),
            init_failure: init.iter().find_map(init_failure),
            policy: spec.and_then(|s| {
                let container = s.containers.iter().find(|c| Some(c.name.as_str()) == own)?;
                container.image_pull_policy.as_deref()?.parse().ok()
            }),
            others_run: others.into_iter().any(is_running),
            spec: spec_view,
            container,
        }
    }
}

fn statuses(status: Option<&PodStatus>) -> Vec<&ContainerStatus> {
    status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default().iter().collect()
}

/// Returns reason and message of the condition `kind`, if it has the status `value`.
fn condition(status: Option<&PodStatus>, kind: &str, value: &str) -> Option<String> {
    let conditions = status?.conditions.as_deref()?;
    let found = conditions.iter().find(|c| c.type_ == kind && c.status == value)?;
    Some(reason_and_message(found.reason.as_deref(), found.message.as_deref()))
}

fn disruption(status: Option<&PodStatus>) -> Option<(String, Option<Timestamp>)> {
    let why = condition(status, "DisruptionTarget", "True")?;
    let conditions = status?.conditions.as_deref()?;
    let since = conditions.iter().find(|c| c.type_ == "DisruptionTarget");
    Some((why, since.and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0)))
}

fn owner(meta: &ObjectMeta) -> Option<String> {
    let owners = meta.owner_references.as_deref()?;
    owners.iter().find(|owner| owner.kind == "Job").map(|owner| owner.uid.clone())
}

//! What Longshore reads of a Pod: the facts that decide, and no more, so that a thousand jobs in
//! flight stay small.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::PullPolicy;

use crate::container_view::{ContainerView, init_failure, is_running};
use crate::names::{self, Ending};
use crate::shape::PodShape;
use crate::view::{annotation, said};

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodView {
    /// Its uid.
    pub(crate) uid: String,
    /// Its name.
    pub(crate) name: String,
    /// The uid of the Job that it belongs to.
    pub(crate) job: Option<String>,
    /// When it was created.
    pub(crate) created: Option<Timestamp>,
    /// The version of the object that this was read from.
    pub(crate) resource_version: String,
    /// Whether it has a node.
    pub(crate) scheduled: bool,
    /// Whether its phase is `Succeeded` or `Failed`, which is final.
    pub(crate) ended: bool,
    /// `status.reason`, such as `Evicted` or `DeadlineExceeded`.
    pub(crate) reason: String,
    /// `status.message`.
    pub(crate) message: String,
    /// Whether somebody asked for its deletion.
    pub(crate) deleting: bool,
    /// When. The kubelet's confirmation overwrites it.
    pub(crate) deletion_asked: Option<Timestamp>,
    /// Whether the kubelet has confirmed that nothing of it runs: it then deletes the Pod with a
    /// grace period of 0, which Longshore itself never does.
    pub(crate) deletion_confirmed: bool,
    /// Whether the kubelet, in what it says of the job's container, has taken the deletion into
    /// account: from then on it creates none. See [`is_ending`].
    pub(crate) ending: bool,
    /// Whether the kubelet refused the Pod before it created any container. See [`is_refused`].
    pub(crate) refused: bool,
    /// Why Longshore ended the Pod, as an annotation on the Pod itself.
    pub(crate) mark: Option<Ending>,
    /// `spec.activeDeadlineSeconds`.
    pub(crate) active_deadline: Option<i64>,
    /// When that is over, by the node's clock.
    pub(crate) expires: Option<Timestamp>,
    /// Why the cluster disrupts it, and since when (condition `DisruptionTarget`).
    pub(crate) disruption: Option<(String, Option<Timestamp>)>,
    /// Why it has no node.
    pub(crate) unschedulable: Option<String>,
    /// The condition that keeps its containers from starting, in words.
    pub(crate) blocked: Option<String>,
    /// The init container that fails or waits, in words.
    pub(crate) init_failure: Option<String>,
    /// The pull policy after admission.
    pub(crate) policy: Option<PullPolicy>,
    /// What the Pod runs after admission.
    pub(crate) shape: PodShape,
    /// The job's container.
    pub(crate) container: ContainerView,
    /// Whether another container of the Pod runs, such as a sidecar.
    pub(crate) others_run: bool,
}

impl PodView {
    /// The name of the container whose output is the job's.
    pub(crate) fn job_container(&self) -> &str {
        self.shape.job_container().unwrap_or(names::CONTAINER)
    }

    /// Whether the Pod, of which nothing runs or can run, provably never ran the job: the kubelet
    /// says so of the container `job` by name, or it refused the Pod as a whole.
    ///
    /// A status that does not mention the container proves nothing, and one of a container that
    /// admission has renamed is not about the container that Longshore submitted.
    pub(crate) fn shows_that_nothing_ran(&self) -> bool {
        self.refused
            || (self.container.known && !self.container.created && self.shape.job().is_some())
    }
}

/// Whether the kubelet has told the state of the job's container after it began to end the deleted
/// `pod`.
///
/// One worker in the kubelet handles a Pod, one step after another. A worker that is given a Pod
/// with a `deletionTimestamp` ends it, and never starts containers again
/// (`pkg/kubelet/pod_workers.go`, `UpdatePod`, `startPodSync`). Before the first step of that it
/// waits until the runtime was asked anew after the last step of starting (`podWorkerLoop`,
/// `GetNewerThan`), so that it knows each container that it ever created; and it reports that at
/// the beginning of that step (`pkg/kubelet/kubelet.go`, `SyncTerminatingPod`), with the
/// `generation` of the Pod that it was given as `observedGeneration`
/// (`pkg/kubelet/status/status_manager.go`, `SetPodStatus`; Kubernetes 1.34). The deletion raises
/// the `generation` (`apiserver/pkg/registry/rest/delete.go`), so an older status cannot have that
/// number.
fn is_ending(pod: &Pod, container: &ContainerView) -> bool {
    let observed = pod.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default();
    let asked = pod.metadata.generation.unwrap_or_default();
    pod.metadata.deletion_timestamp.is_some() && asked > 1 && observed >= asked && container.known
}

/// Whether the kubelet refused the Pod when it was to admit it: then it writes a final phase, a
/// reason of its own and no container's status (`pkg/kubelet/kubelet.go`, `rejectPod`; the reasons
/// are in `pkg/kubelet/lifecycle/predicate.go` and `pkg/kubelet/cm`). Others that write a final
/// phase without a container's status, such as the Pod garbage collector for a node that is gone,
/// give no such reason, and prove nothing.
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
        let shape = spec.map(PodShape::from).unwrap_or_default();
        let statuses = statuses(status);
        let own = shape.job_container();
        let container = statuses
            .iter()
            .find(|s| Some(s.name.as_str()) == own)
            .map(|s| ContainerView::from(*s))
            .unwrap_or_default();
        let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
        let others = statuses.iter().copied().filter(|s| Some(s.name.as_str()) != own).chain(init);
        let active_deadline = spec.and_then(|s| s.active_deadline_seconds);
        let started = status.and_then(|s| s.start_time.as_ref()).map(|time| time.0);
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            job: owner(meta),
            created: meta.creation_timestamp.as_ref().map(|t| t.0),
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
            expires: started.zip(active_deadline).and_then(|(started, seconds)| {
                started.checked_add(SignedDuration::from_secs(seconds)).ok()
            }),
            disruption: disruption(status),
            unschedulable: condition(status, "PodScheduled", "False"),
            blocked: ["PodReadyToStartContainers", "Initialized"]
                .into_iter()
                .find_map(|kind| condition(status, kind, "False").map(|why| (kind, why)))
                .map(|(kind, why)| said(Some(&format!("{kind} is False")), Some(&why))),
            init_failure: init.iter().find_map(init_failure),
            policy: spec.and_then(|s| {
                let container = s.containers.iter().find(|c| Some(c.name.as_str()) == own)?;
                container.image_pull_policy.as_deref()?.parse().ok()
            }),
            others_run: others.into_iter().any(is_running),
            shape,
            container,
        }
    }
}

fn statuses(status: Option<&PodStatus>) -> Vec<&ContainerStatus> {
    status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default().iter().collect()
}

/// Reason and message of the condition `kind`, if it has the status `value`.
fn condition(status: Option<&PodStatus>, kind: &str, value: &str) -> Option<String> {
    let conditions = status?.conditions.as_deref()?;
    let found = conditions.iter().find(|c| c.type_ == kind && c.status == value)?;
    Some(said(found.reason.as_deref(), found.message.as_deref()))
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

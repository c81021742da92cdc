//! What Longshore reads of Jobs and Pods: the facts it decides by, and no more, so that a thousand
//! jobs in flight stay small.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::{HumanDuration, PullPolicy};

use crate::names::{self, Commit, Ending};
use crate::secret;

/// A Job, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobView {
    /// Its uid.
    pub(crate) uid: String,
    /// `spec.suspend`.
    pub(crate) suspended: bool,
    /// How far it has come; none for a Job that is not ours.
    pub(crate) commit: Option<Commit>,
    /// Why Longshore ends it early.
    pub(crate) ending: Ending,
    /// How long the job may run.
    pub(crate) timeout: Option<Duration>,
    /// The Pod template's grace period in seconds.
    pub(crate) grace: i64,
    /// Whether its Pod reads a Secret of the attempt's own, called like the Job.
    pub(crate) own_secret: bool,
    /// The image as the job names it.
    pub(crate) image: String,
    /// The attempt's label.
    pub(crate) attempt: Option<String>,
    /// The installation's label.
    pub(crate) installation: Option<String>,
    /// Whether it runs nothing and only occupies the name.
    pub(crate) tombstone: bool,
    /// Whether somebody deletes it.
    pub(crate) deleting: bool,
    /// Whether the Job controller has seen that it is suspended (condition `Suspended`).
    pub(crate) suspension_seen: bool,
    /// Reason and message of its `Failed` or `Complete` condition.
    pub(crate) over: Option<String>,
    /// The exit code that this condition tells; it outlives the Pod.
    pub(crate) exit_code: Option<i32>,
    /// The controller that owns `spec.suspend`, if it is not Kubernetes' own.
    pub(crate) foreign_owner: Option<String>,
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> Self {
        let spec = job.spec.as_ref();
        let pod = spec.and_then(|s| s.template.spec.as_ref());
        let conditions = job.status.as_ref().and_then(|s| s.conditions.as_deref());
        let condition = |kind: &str| {
            let found = conditions.unwrap_or_default().iter();
            found.clone().find(|c| c.type_ == kind && c.status == "True")
        };
        let timeout: Option<HumanDuration> =
            annotation(&job.metadata, names::TIMEOUT).and_then(|text| text.parse().ok());
        Self {
            uid: job.metadata.uid.clone().unwrap_or_default(),
            suspended: spec.and_then(|s| s.suspend).unwrap_or_default(),
            commit: annotation(&job.metadata, names::COMMIT).and_then(Commit::parse),
            ending: annotation(&job.metadata, names::ENDING).map_or(Ending::None, Ending::parse),
            timeout: timeout.map(HumanDuration::get),
            grace: pod.and_then(|p| p.termination_grace_period_seconds).unwrap_or(30),
            own_secret: pod.is_some_and(|pod| {
                secret::reads_own(job.metadata.name.as_deref().unwrap_or_default(), pod)
            }),
            image: pod
                .and_then(|p| p.containers.iter().find(|c| c.name == names::CONTAINER))
                .and_then(|c| c.image.clone())
                .unwrap_or_default(),
            attempt: label(&job.metadata, names::ATTEMPT).map(str::to_owned),
            installation: label(&job.metadata, names::INSTALLATION).map(str::to_owned),
            tombstone: label(&job.metadata, names::TOMBSTONE).is_some(),
            deleting: job.metadata.deletion_timestamp.is_some(),
            suspension_seen: condition("Suspended").is_some(),
            over: condition("Failed")
                .or_else(|| condition("Complete"))
                .map(|c| said(c.reason.as_deref(), c.message.as_deref())),
            exit_code: condition("Failed")
                .and_then(|c| exit_code(c.message.as_deref().unwrap_or_default()))
                .or_else(|| condition("Complete").map(|_| 0)),
            foreign_owner: foreign_owner(job),
        }
    }
}

/// The exit code in the message of a Job that its Pod failure policy ended: `Container job for pod
/// NAMESPACE/NAME failed with exit code 42 matching FailJob rule at index 0`
/// (<https://kubernetes.io/docs/tasks/job/pod-failure-policy/>).
fn exit_code(message: &str) -> Option<i32> {
    let (_, after) = message.split_once(" failed with exit code ")?;
    after.split(' ').next()?.parse().ok()
}

/// Who else starts and stops `job`: Kueue by its label, or any controller by `managedBy`
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#delegation-of-managing-a-job-object-to-external-controller>).
fn foreign_owner(job: &Job) -> Option<String> {
    let manager = job.spec.as_ref().and_then(|s| s.managed_by.clone());
    manager.filter(|name| name != "kubernetes.io/job-controller").or_else(|| {
        label(&job.metadata, names::KUEUE_QUEUE).map(|queue| format!("Kueue (queue {queue})"))
    })
}

/// A Pod, as far as it matters here.
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
    /// Why the cluster disrupts it, and since when (condition `DisruptionTarget`).
    pub(crate) disruption: Option<(String, Option<Timestamp>)>,
    /// Why it has no node.
    pub(crate) unschedulable: Option<String>,
    /// The pull policy after admission.
    pub(crate) policy: Option<PullPolicy>,
    /// The job's container.
    pub(crate) container: ContainerView,
}

/// The job's container within its Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerView {
    /// Whether a container was ever created.
    pub(crate) created: bool,
    /// The node's id of the image.
    pub(crate) image_id: String,
    /// Reason and message while it waits.
    pub(crate) waiting: Option<(String, String)>,
    /// When it started, while it runs.
    pub(crate) running: Option<Option<Timestamp>>,
    /// How it ended.
    pub(crate) terminated: Option<Terminated>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terminated {
    /// The exit code.
    pub(crate) code: i32,
    /// The signal, which most runtimes never tell.
    pub(crate) signal: Option<i32>,
    /// The runtime's reason, such as `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub(crate) reason: String,
    /// The runtime's words.
    pub(crate) message: String,
    /// When it started.
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    pub(crate) finished: Option<Timestamp>,
}

impl ContainerView {
    /// Whether the job's own program was started, now or before.
    pub(crate) fn has_started(&self) -> bool {
        self.running.is_some()
            || self.terminated.as_ref().is_some_and(|t| self.created && !t.never_ran())
    }
}

impl Terminated {
    /// Whether the runtime refused to start the container (containerd and CRI-O: `StartError`;
    /// dockershim and cri-dockerd: `ContainerCannotRun`).
    pub(crate) fn never_ran(&self) -> bool {
        matches!(self.reason.as_str(), "StartError" | "ContainerCannotRun")
    }
}

/// Whether the kubelet has told the state of the job's container after it began to end the deleted
/// `pod`.
///
/// One worker in the kubelet handles a Pod, one step after another. A worker that is given a Pod
/// with a `deletionTimestamp` ends it, and never starts containers again
/// (`pkg/kubelet/pod_workers.go`, `UpdatePod`, `startPodSync`). Before the first step of that it
/// waits until the runtime was asked anew after the last step of starting (`podWorkerLoop`,
/// `GetNewerThan`), so that it knows each container that it ever created; and it tells that at the
/// beginning of that step (`pkg/kubelet/kubelet.go`, `SyncTerminatingPod`), with the `generation` of
/// the Pod that it was given as `observedGeneration` (`pkg/kubelet/status/status_manager.go`,
/// `SetPodStatus`; Kubernetes 1.34). The deletion raises the `generation`
/// (`apiserver/pkg/registry/rest/delete.go`), so a status of before cannot have that number.
fn is_ending(pod: &Pod) -> bool {
    let observed = pod.status.as_ref().and_then(|s| s.observed_generation).unwrap_or_default();
    let asked = pod.metadata.generation.unwrap_or_default();
    pod.metadata.deletion_timestamp.is_some()
        && asked > 1
        && observed >= asked
        && container_status(pod).is_some()
}

fn container_status(pod: &Pod) -> Option<&ContainerStatus> {
    let all = pod.status.as_ref()?.container_statuses.as_deref()?;
    all.iter().find(|c| c.name == names::CONTAINER)
}

impl From<&Pod> for PodView {
    fn from(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let status = pod.status.as_ref();
        let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let grace = meta.deletion_grace_period_seconds.filter(|grace| *grace > 0);
        let asked = meta.deletion_timestamp.as_ref().zip(grace).map(|(at, grace)| {
            at.0.saturating_sub(jiff::SignedDuration::from_secs(grace)).unwrap_or(at.0)
        });
        let disruption = conditions
            .iter()
            .find(|c| c.type_ == "DisruptionTarget" && c.status == "True")
            .map(|c| {
                let since = c.last_transition_time.as_ref().map(|t| t.0);
                (said(c.reason.as_deref(), c.message.as_deref()), since)
            });
        let unschedulable = conditions
            .iter()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")
            .map(|c| said(c.reason.as_deref(), c.message.as_deref()));
        let policy = pod.spec.as_ref().and_then(|s| {
            let container = s.containers.iter().find(|c| c.name == names::CONTAINER)?;
            container.image_pull_policy.as_deref()?.parse().ok()
        });
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            job: owner(meta),
            created: meta.creation_timestamp.as_ref().map(|t| t.0),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            scheduled: pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()),
            ended: matches!(phase, "Succeeded" | "Failed"),
            reason: status.and_then(|s| s.reason.clone()).unwrap_or_default(),
            message: status.and_then(|s| s.message.clone()).unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            deletion_asked: asked,
            deletion_confirmed: meta.deletion_timestamp.is_some()
                && meta.deletion_grace_period_seconds == Some(0),
            ending: is_ending(pod),
            disruption,
            unschedulable,
            policy,
            container: container_status(pod).map(ContainerView::from).unwrap_or_default(),
        }
    }
}

impl From<&ContainerStatus> for ContainerView {
    fn from(status: &ContainerStatus) -> Self {
        let state = status.state.as_ref();
        let time = |t: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
            // A container that never started has the epoch here.
            t.as_ref().map(|t| t.0).filter(|t| *t > Timestamp::UNIX_EPOCH)
        };
        // Of one that ran and that the node has lost, only its last state tells.
        let ran_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
        Self {
            created: ran_before || status.container_id.as_deref().is_some_and(|id| !id.is_empty()),
            image_id: status.image_id.clone(),
            waiting: state.and_then(|s| s.waiting.as_ref()).map(|w| {
                (w.reason.clone().unwrap_or_default(), w.message.clone().unwrap_or_default())
            }),
            running: state.and_then(|s| s.running.as_ref()).map(|r| time(&r.started_at)),
            terminated: state.and_then(|s| s.terminated.as_ref()).map(|t| Terminated {
                code: t.exit_code,
                signal: t.signal.filter(|signal| *signal != 0),
                reason: t.reason.clone().unwrap_or_default(),
                message: t.message.clone().unwrap_or_default(),
                started: time(&t.started_at),
                finished: time(&t.finished_at),
            }),
        }
    }
}

/// A Pod and whether it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSeen {
    /// What was last seen of it.
    pub(crate) pod: Arc<PodView>,
    /// What became of it.
    pub(crate) presence: Presence,
}

/// Whether an object is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Not seen yet.
    #[default]
    Unknown,
    /// There.
    Here,
    /// Deleted, and its last state was seen.
    Deleted,
    /// Gone while nobody looked: its last state was not seen.
    Vanished,
}

impl Presence {
    /// Whether it was there and is not any more.
    pub(crate) const fn is_gone(self) -> bool {
        matches!(self, Self::Deleted | Self::Vanished)
    }
}

/// All that is known of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Its Job.
    pub(crate) job: Option<Arc<JobView>>,
    /// Whether its Job is there.
    pub(crate) job_presence: Presence,
    /// Its Pods, in the order in which they were made. More than one is a violation.
    pub(crate) pods: Vec<PodSeen>,
    /// Whether a registry was consulted; none without evidence.
    pub(crate) pulled: Option<bool>,
    /// Whether the node says that it pulls.
    pub(crate) pulling: bool,
    /// How often it has said so.
    pub(crate) pulls: u32,
    /// The node's words about the last pull that failed; none once one did not.
    pub(crate) pull_failure: Option<String>,
    /// The node's warning about pull secrets that are not there: it pulls without them.
    pub(crate) pull_secrets: Option<String>,
    /// The last warning among the Pod's Events, such as a volume that cannot be mounted.
    pub(crate) warning: Option<String>,
    /// When the container was seen to start, if it was seen waiting before: a clock of our own,
    /// where the node's may be wrong.
    pub(crate) seen_starting: Option<tokio::time::Instant>,
}

impl Snapshot {
    /// The Pod that counts: the first whose container was created, else the last.
    pub(crate) fn pod(&self) -> Option<&PodSeen> {
        self.pods.iter().find(|seen| seen.pod.container.created).or_else(|| self.pods.last())
    }

    /// Whether the node has pulled only without the attempt's own login, which it had not got yet.
    /// It is there before the Job is released; but a kubelet waits for a Secret that it has not
    /// seen only a second (`pkg/kubelet/util/manager/watch_based_manager.go`, `Get`), pulls without
    /// it, and reads it again before the next pull.
    pub(crate) fn has_missed_login(&self) -> bool {
        let attempt = self.job.as_ref().filter(|job| job.own_secret);
        let attempt = attempt.and_then(|job| job.attempt.as_deref());
        let names = self.pull_secrets.as_deref().and_then(|said| {
            let (_, names) = said.split_once('(')?;
            Some(names.split_once(')')?.0)
        });
        let of = |name: &str| name.trim().strip_prefix("longshore-") == attempt;
        let missed = attempt.is_some() && names.is_some_and(|names| names.split(',').any(of));
        missed && self.pulls <= 1
    }
}

fn owner(meta: &ObjectMeta) -> Option<String> {
    let owners = meta.owner_references.as_deref()?;
    owners.iter().find(|owner| owner.kind == "Job").map(|owner| owner.uid.clone())
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// `reason: message`, whichever is there.
pub(crate) fn said(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message];
    let given: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    given.join(": ")
}

//! The parts of a Job that Longshore reads. Only what a decision needs is kept, so that a thousand
//! jobs in flight use little memory.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use longshore_core::HumanDuration;

use crate::meta::{annotation, has_first_deadline, label, reason_and_message};
use crate::names::{self, Commit, Ending};
use crate::pod_spec_view::PodSpecView;
use crate::secret;

/// The view of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobView {
    /// Its uid.
    pub(crate) uid: String,
    /// `spec.suspend`.
    pub(crate) suspended: bool,
    /// Whether it creates no Pod: it is suspended, or its parallelism is 0.
    pub(crate) held: bool,
    /// The step of the commit protocol; `None` if the annotation is missing or unknown.
    pub(crate) commit: Option<Commit>,
    /// Why Longshore ends the job early; `None` if the annotation is missing or unknown.
    pub(crate) ending: Option<Ending>,
    /// How long the job may run.
    pub(crate) timeout: Option<Duration>,
    /// The Pod template's grace period in seconds.
    pub(crate) grace: i64,
    /// The Pod template's `activeDeadlineSeconds`.
    pub(crate) active_deadline: Option<i64>,
    /// Whether the Job's own `activeDeadlineSeconds`, which Longshore does not set, is that of its
    /// creation; see [`has_first_deadline`].
    pub(crate) first_deadline: bool,
    /// Whether the Pod reads the attempt's own Secret, which has the name of the Job.
    pub(crate) own_secret: bool,
    /// The Pod that its template describes.
    pub(crate) template: PodSpecView,
    /// The attempt's label.
    pub(crate) attempt: Option<String>,
    /// The installation's label.
    pub(crate) installation: Option<String>,
    /// Whether the Job runs nothing and only reserves the name.
    pub(crate) tombstone: bool,
    /// Whether its deletion has been requested.
    pub(crate) deleting: bool,
    /// Whether the Job controller has seen that the Job is suspended (condition `Suspended`).
    pub(crate) suspension_seen: bool,
    /// Reason and message of its `Failed` or `Complete` condition.
    pub(crate) over: Option<String>,
    /// Reason and message of its `FailureTarget` condition: the Job is about to fail, and Kubernetes
    /// deletes its Pods
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-termination-and-cleanup>).
    pub(crate) failing: Option<String>,
    /// The exit code in the `Failed` or `Complete` condition; it outlives the Pod.
    pub(crate) exit_code: Option<i32>,
    /// The controller that controls `spec.suspend`, if it is not the one of Kubernetes itself.
    pub(crate) foreign_owner: Option<String>,
}

impl JobView {
    /// Returns the image as the job names it.
    pub(crate) fn image(&self) -> &str {
        self.template.job().map_or("", |container| &container.image)
    }
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
            held: spec.is_some_and(|s| s.suspend == Some(true) || s.parallelism == Some(0)),
            commit: annotation(&job.metadata, names::COMMIT).and_then(Commit::parse),
            ending: annotation(&job.metadata, names::ENDING).and_then(Ending::parse),
            timeout: timeout.map(HumanDuration::get),
            grace: pod.and_then(|p| p.termination_grace_period_seconds).unwrap_or(30),
            active_deadline: pod.and_then(|p| p.active_deadline_seconds),
            first_deadline: has_first_deadline(&job.metadata),
            own_secret: pod.is_some_and(|pod| {
                secret::reads_own(job.metadata.name.as_deref().unwrap_or_default(), pod)
            }),
            template: pod.map(PodSpecView::from).unwrap_or_default(),
            attempt: label(&job.metadata, names::ATTEMPT).map(str::to_owned),
            installation: label(&job.metadata, names::INSTALLATION).map(str::to_owned),
            tombstone: label(&job.metadata, names::TOMBSTONE).is_some(),
            deleting: job.metadata.deletion_timestamp.is_some(),
            suspension_seen: condition("Suspended").is_some(),
            over: condition("Failed")
                .or_else(|| condition("Complete"))
                .map(|c| reason_and_message(c.reason.as_deref(), c.message.as_deref())),
            failing: condition("FailureTarget")
                .map(|c| reason_and_message(c.reason.as_deref(), c.message.as_deref())),
            exit_code: condition("Failed")
                .and_then(|c| exit_code(c.message.as_deref().unwrap_or_default()))
                .or_else(|| condition("Complete").map(|_| 0)),
            foreign_owner: foreign_owner(job),
        }
    }
}

/// Returns the exit code in the message of a Job that its Pod failure policy ended: `Container job
/// for pod NAMESPACE/NAME failed with exit code 42 matching FailJob rule at index 0`
/// (<https://kubernetes.io/docs/tasks/job/pod-failure-policy/>).
fn exit_code(message: &str) -> Option<i32> {
    let (_, after) = message.split_once(" failed with exit code ")?;
    after.split(' ').next()?.parse().ok()
}

/// Returns the controller that starts and stops `job` instead of Kubernetes' own: Kueue by its
/// label, or any other by `managedBy`
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#delegation-of-managing-a-job-object-to-external-controller>).
fn foreign_owner(job: &Job) -> Option<String> {
    let manager = job.spec.as_ref().and_then(|s| s.managed_by.clone());
    manager.filter(|name| name != "kubernetes.io/job-controller").or_else(|| {
        label(&job.metadata, names::KUEUE_QUEUE).map(|queue| format!("Kueue (queue {queue})"))
    })
}

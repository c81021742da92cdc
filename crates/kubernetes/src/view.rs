//! All that the watches have told of one attempt.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

pub(crate) use crate::container_view::Terminated;
pub(crate) use crate::job_view::JobView;
pub(crate) use crate::pod_view::PodView;
use crate::pull_history::PullHistory;

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
    /// What the node has said about the pull of the image.
    pub(crate) pull: PullHistory,
    /// The last warning among the Pod's Events, such as a volume that cannot be mounted.
    pub(crate) warning: Option<String>,
    /// When the container was seen to start, if it was seen waiting before: a clock of our own,
    /// where the node's may be wrong.
    pub(crate) seen_starting: Option<Instant>,
    /// When the container's end was first seen.
    pub(crate) seen_ending: Option<Instant>,
}

impl Snapshot {
    /// The Pod that counts: the first whose container was created, else the last.
    pub(crate) fn pod(&self) -> Option<&PodSeen> {
        self.pods.iter().find(|seen| seen.pod.container.created).or_else(|| self.pods.last())
    }

    /// Whether the registry has refused the node nothing yet that it asked for with the attempt's
    /// own login. See [`PullHistory::may_have_missed`].
    pub(crate) fn may_have_missed_login(&self) -> bool {
        let job = self.job.as_ref().filter(|job| job.own_secret);
        let attempt = job.and_then(|job| job.attempt.as_deref());
        attempt.is_some_and(|attempt| self.pull.may_have_missed(&object_name(attempt)))
    }

    /// How the Pod that counts differs from the one that was submitted, in words; `None` if it does
    /// not, or if one of the two is unknown.
    pub(crate) fn difference(&self) -> Option<String> {
        let difference = self.job.as_ref()?.template.difference(&self.pod()?.pod.shape)?;
        Some(format!("the Pod was changed by admission: {difference}"))
    }

    /// As [`difference`](Self::difference), without what only runs beside the job.
    pub(crate) fn alteration(&self) -> Option<String> {
        let alteration = self.job.as_ref()?.template.alteration(&self.pod()?.pod.shape)?;
        Some(format!("the Pod was changed by admission: {alteration}"))
    }
}

/// The name of the objects of `attempt`, as [`longshore_core::Attempt::object_name`] gives it.
pub(crate) fn object_name(attempt: &str) -> String {
    format!("longshore-{attempt}")
}

/// The annotation `key`.
pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The label `key`.
pub(crate) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// `reason: message`, whichever is there.
pub(crate) fn said(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message];
    let given: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    given.join(": ")
}

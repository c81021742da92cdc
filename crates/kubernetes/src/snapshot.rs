//! Everything that the watches have reported about one attempt.

use std::sync::Arc;

use tokio::time::Instant;

use crate::job_view::JobView;
use crate::names::object_name;
use crate::pod_view::PodView;
use crate::pull_history::PullHistory;

/// A Pod, and whether it still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObservedPod {
    /// The last known state of the Pod.
    pub(crate) pod: Arc<PodView>,
    /// Whether the Pod still exists.
    pub(crate) presence: Presence,
}

/// Whether an object exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Not seen yet.
    #[default]
    Unknown,
    /// It exists.
    Here,
    /// Deleted, and its last state was seen.
    Deleted,
    /// Gone while no watch ran: its last state was not seen.
    Vanished,
}

impl Presence {
    /// Returns whether the object existed and no longer does.
    pub(crate) const fn is_gone(self) -> bool {
        matches!(self, Self::Deleted | Self::Vanished)
    }
}

/// Everything that is known of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Whether the watches had begun before its Job was created, so that they have missed nothing.
    pub(crate) seen_from_creation: bool,
    /// Its Job.
    pub(crate) job: Option<Arc<JobView>>,
    /// Whether its Job exists.
    pub(crate) job_presence: Presence,
    /// Its Pods, in the order of their creation. More than one violates the protocol.
    pub(crate) pods: Vec<ObservedPod>,
    /// What the node has said about the pull of the image.
    pub(crate) pull: PullHistory,
    /// The last warning among the Pod's Events, for example about a volume that cannot be mounted.
    pub(crate) warning: Option<String>,
    /// When the container was seen to start, if it was seen waiting before. This is a local clock,
    /// because the node's clock may be wrong.
    pub(crate) start_observed: Option<Instant>,
    /// When the container's end was first seen.
    pub(crate) end_observed: Option<Instant>,
}

impl Snapshot {
    /// Returns the Pod that counts: the first whose container was created, or else the last.
    pub(crate) fn pod(&self) -> Option<&ObservedPod> {
        self.pods
            .iter()
            .find(|observed| observed.pod.container.created)
            .or_else(|| self.pods.last())
    }

    /// Returns whether there is no proof yet that the registry refused a pull with the attempt's
    /// own login. See [`PullHistory::may_have_missed`].
    pub(crate) fn may_have_missed_login(&self) -> bool {
        let job = self.job.as_ref().filter(|job| job.own_secret);
        let attempt = job.and_then(|job| job.attempt.as_deref());
        attempt.is_some_and(|attempt| self.pull.may_have_missed(&object_name(attempt)))
    }

    /// Returns how the Pod that counts differs from the submitted one, as a text; `None` if it does
    /// not, or if one of the two is unknown.
    pub(crate) fn difference(&self) -> Option<String> {
        let difference = self.job.as_ref()?.template.difference(&self.pod()?.pod.spec)?;
        Some(format!("the Pod was changed by admission: {difference}"))
    }

    /// Like [`difference`](Self::difference), but ignores containers that were only added.
    pub(crate) fn alteration(&self) -> Option<String> {
        let alteration = self.job.as_ref()?.template.alteration(&self.pod()?.pod.spec)?;
        Some(format!("the Pod was changed by admission: {alteration}"))
    }
}

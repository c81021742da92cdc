//! Applies what the watches report to the snapshot of an attempt. Pure.

use std::sync::Arc;

use tokio::time::Instant;

use crate::job_view::JobView;
use crate::meta::reason_and_message;
use crate::pod_view::PodView;
use crate::snapshot::{ObservedPod, Presence, Snapshot};

impl Snapshot {
    /// Records the current state of the Job.
    pub(crate) fn apply_job(&mut self, job: JobView) {
        let replaced = self.job.as_ref().is_some_and(|known| known.uid != job.uid);
        if replaced && self.job_presence.is_gone() {
            *self = Self::default();
        }
        self.job = Some(Arc::new(job));
        self.job_presence = Presence::Here;
    }

    /// Records that the Job is gone; `last` is its last state, if that was seen.
    pub(crate) fn remove_job(&mut self, last: Option<JobView>) {
        self.job_presence = if last.is_some() { Presence::Deleted } else { Presence::Vanished };
        if let Some(last) = last {
            self.job = Some(Arc::new(last));
        }
    }

    /// Records the current state of a Pod.
    pub(crate) fn apply_pod(&mut self, pod: PodView) {
        self.note_start(&pod);
        if let Some((reason, message)) = &pod.container.waiting {
            let before = self.known(&pod).and_then(|known| known.container.waiting.as_ref());
            let before = before.map(|(reason, _)| reason.clone());
            self.pull.status(before.as_deref(), reason, message);
        }
        self.set_pod(pod, Presence::Here);
    }

    /// Records that a Pod was deleted; `pod` is its last state.
    pub(crate) fn remove_pod(&mut self, pod: PodView) {
        self.set_pod(pod, Presence::Deleted);
    }

    /// Records that the Pods that are not among `listed` are gone without a known last state.
    pub(crate) fn retain_pods(&mut self, listed: impl Fn(&str) -> bool) {
        for observed in &mut self.pods {
            if observed.presence == Presence::Here && !listed(&observed.pod.uid) {
                observed.presence = Presence::Vanished;
            }
        }
    }

    /// Records one of the Pod's Events.
    pub(crate) fn apply_event(&mut self, warning: bool, reason: &str, message: &str) {
        self.pull.event(reason, message);
        if warning {
            self.warning = Some(reason_and_message(Some(reason), Some(message)));
        }
    }

    /// Returns what is known of the same Pod.
    fn known(&self, pod: &PodView) -> Option<&PodView> {
        let known = self.pods.iter().find(|observed| observed.pod.uid == pod.uid);
        known.map(|observed| observed.pod.as_ref())
    }

    fn note_start(&mut self, pod: &PodView) {
        let waited = self.known(pod).is_some_and(|known| !known.container.has_started());
        if waited && pod.container.has_started() && self.start_observed.is_none() {
            self.start_observed = Some(Instant::now());
        }
        let ended = pod.container.terminated.is_some() || pod.container.restarts > 0;
        if ended && self.end_observed.is_none() {
            self.end_observed = Some(Instant::now());
        }
    }

    fn set_pod(&mut self, mut pod: PodView, presence: Presence) {
        if let Some(known) = self.known(&pod) {
            pod.deletion_asked = known.deletion_asked.or(pod.deletion_asked);
            // The kubelet keeps only the run before the current one, so the end of the first run is
            // kept here.
            if pod.container.restarts > 1
                && let Some(first) = known.container.first_end()
            {
                pod.container.first = Some(first.clone());
            }
        }
        let pod = Arc::new(pod);
        match self.pods.iter_mut().find(|observed| observed.pod.uid == pod.uid) {
            Some(observed) => *observed = ObservedPod { pod, presence },
            None => {
                self.pods.push(ObservedPod { pod, presence });
                self.pods.sort_by_key(|observed| observed.pod.created);
            }
        }
    }
}

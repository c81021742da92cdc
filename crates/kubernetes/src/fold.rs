//! Applies what the watches report to the snapshot of an attempt. Pure.

use std::sync::Arc;

use tokio::time::Instant;

use crate::view::{JobView, PodSeen, PodView, Presence, Snapshot, said};

impl Snapshot {
    /// Records the current state of the Job.
    pub(crate) fn job_seen(&mut self, job: JobView) {
        let replaced = self.job.as_ref().is_some_and(|known| known.uid != job.uid);
        if replaced && self.job_presence.is_gone() {
            *self = Self::default();
        }
        self.job = Some(Arc::new(job));
        self.job_presence = Presence::Here;
    }

    /// Records that the Job is gone; `last` is its last state, if that was seen.
    pub(crate) fn job_gone(&mut self, last: Option<JobView>) {
        self.job_presence = if last.is_some() { Presence::Deleted } else { Presence::Vanished };
        if let Some(last) = last {
            self.job = Some(Arc::new(last));
        }
    }

    /// Records the current state of a Pod.
    pub(crate) fn pod_seen(&mut self, pod: PodView) {
        self.note_start(&pod);
        if let Some((reason, message)) = &pod.container.waiting {
            let before = self.known(&pod).and_then(|known| known.container.waiting.as_ref());
            let before = before.map(|(reason, _)| reason.clone());
            self.pull.status(before.as_deref(), reason, message);
        }
        self.set_pod(pod, Presence::Here);
    }

    /// Records that a Pod was deleted; `pod` is its last state.
    pub(crate) fn pod_deleted(&mut self, pod: PodView) {
        self.set_pod(pod, Presence::Deleted);
    }

    /// Records that the Pods that are not among `listed` are gone without a known last state.
    pub(crate) fn pods_listed(&mut self, listed: impl Fn(&str) -> bool) {
        for seen in &mut self.pods {
            if seen.presence == Presence::Here && !listed(&seen.pod.uid) {
                seen.presence = Presence::Vanished;
            }
        }
    }

    /// Records one of the Pod's Events.
    pub(crate) fn event_seen(&mut self, warning: bool, reason: &str, message: &str) {
        self.pull.event(reason, message);
        if warning {
            self.warning = Some(said(Some(reason), Some(message)));
        }
    }

    /// Returns what is known of the same Pod.
    fn known(&self, pod: &PodView) -> Option<&PodView> {
        let known = self.pods.iter().find(|seen| seen.pod.uid == pod.uid);
        known.map(|seen| seen.pod.as_ref())
    }

    fn note_start(&mut self, pod: &PodView) {
        let waited = self.known(pod).is_some_and(|known| !known.container.has_started());
        if waited && pod.container.has_started() && self.seen_starting.is_none() {
            self.seen_starting = Some(Instant::now());
        }
        let ended = pod.container.terminated.is_some() || pod.container.restarts > 0;
        if ended && self.seen_ending.is_none() {
            self.seen_ending = Some(Instant::now());
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
        match self.pods.iter_mut().find(|seen| seen.pod.uid == pod.uid) {
            Some(seen) => *seen = PodSeen { pod, presence },
            None => {
                self.pods.push(PodSeen { pod, presence });
                self.pods.sort_by_key(|seen| seen.pod.created);
            }
        }
    }
}

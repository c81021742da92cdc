//! Takes what the watches tell into what is known of an attempt. Pure.

use std::sync::Arc;

use tokio::time::Instant;

use crate::pull;
use crate::view::{JobView, PodSeen, PodView, Presence, Snapshot, said};

impl Snapshot {
    /// The Job is there.
    pub(crate) fn job_seen(&mut self, job: JobView) {
        let replaced = self.job.as_ref().is_some_and(|known| known.uid != job.uid);
        if replaced && self.job_presence.is_gone() {
            *self = Self::default();
        }
        self.job = Some(Arc::new(job));
        self.job_presence = Presence::Here;
    }

    /// The Job is gone; `last` is its last state, if it was seen.
    pub(crate) fn job_gone(&mut self, last: Option<JobView>) {
        self.job_presence = if last.is_some() { Presence::Deleted } else { Presence::Vanished };
        if let Some(last) = last {
            self.job = Some(Arc::new(last));
        }
    }

    /// A Pod is there.
    pub(crate) fn pod_seen(&mut self, pod: PodView) {
        self.note_start(&pod);
        if let Some((reason, message)) = &pod.container.waiting
            && let Some(failure) = pull::failure(reason, message)
        {
            self.pull_failure = Some(failure.to_owned());
        }
        self.set_pod(pod, Presence::Here);
    }

    /// A Pod is deleted; this was its last state.
    pub(crate) fn pod_deleted(&mut self, pod: PodView) {
        self.set_pod(pod, Presence::Deleted);
    }

    /// Those Pods that are not among `listed` are gone, their last state unseen.
    pub(crate) fn pods_listed(&mut self, listed: impl Fn(&str) -> bool) {
        for seen in &mut self.pods {
            if seen.presence == Presence::Here && !listed(&seen.pod.uid) {
                seen.presence = Presence::Vanished;
            }
        }
    }

    /// One of the Pod's Events.
    pub(crate) fn event_seen(&mut self, warning: bool, reason: &str, message: &str) {
        self.pulls += u32::from(reason == "Pulling");
        if let Some(consulted) = pull::registry_consulted(reason, message) {
            // Once asked, always asked: a second try may then find the image there.
            self.pulled = Some(self.pulled.unwrap_or_default() || consulted);
            self.pulling = reason == "Pulling";
            if !self.pulling {
                self.pull_failure = None;
            }
        }
        if let Some(failure) = pull::failure(reason, message) {
            self.pulling = false;
            self.pull_failure = Some(failure.to_owned());
        }
        if reason == "FailedToRetrieveImagePullSecret" {
            self.pull_secrets = Some(message.to_owned());
        }
        if warning {
            self.warning = Some(said(Some(reason), Some(message)));
        }
    }

    fn note_start(&mut self, pod: &PodView) {
        let known = self.pods.iter().find(|seen| seen.pod.uid == pod.uid);
        let waited = known.is_some_and(|seen| !seen.pod.container.has_started());
        if waited && pod.container.has_started() && self.seen_starting.is_none() {
            self.seen_starting = Some(Instant::now());
        }
    }

    fn set_pod(&mut self, mut pod: PodView, presence: Presence) {
        if let Some(known) = self.pods.iter().find(|seen| seen.pod.uid == pod.uid) {
            pod.deletion_asked = known.pod.deletion_asked.or(pod.deletion_asked);
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

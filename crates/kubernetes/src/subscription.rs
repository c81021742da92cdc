//! A subscription to one attempt.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::cache::{ScopeCache, WatchHealth};
use crate::job_view::JobView;
use crate::pod_view::PodView;
use crate::snapshot::Snapshot;

/// A subscription to one attempt. While it exists, the watches run.
#[derive(Debug)]
pub(crate) struct Subscription {
    cache: Arc<ScopeCache>,
    snapshot: watch::Receiver<Snapshot>,
    health: watch::Receiver<WatchHealth>,
}

impl Subscription {
    /// Subscribes to `attempt` in `cache`.
    pub(crate) fn new(cache: Arc<ScopeCache>, attempt: &str) -> Self {
        Self { snapshot: cache.subscribe(attempt), health: cache.health(), cache }
    }

    /// Returns what is known now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.snapshot.borrow_and_update().clone()
    }

    /// Returns the state of the watches now, as far as it matters for the attempt.
    pub(crate) fn health(&mut self) -> WatchHealth {
        let mut health = self.health.borrow_and_update().clone();
        let snapshot = self.snapshot.borrow();
        if snapshot.seen_from_creation && snapshot.job.is_some() {
            // No list shows more.
            health.jobs.listed = true;
            health.pods.listed = true;
        }
        health
    }

    /// Waits until the watches have begun. Returns `false` if one fails.
    pub(crate) async fn watched(&mut self) -> bool {
        let settled = |health: &WatchHealth| {
            let events = health.events_watched || health.events_unavailable;
            health.is_watching() && events || health.failure.is_some()
        };
        // An error would mean that the sender is gone, but the cache holds it.
        self.health.wait_for(settled).await.is_ok_and(|health| health.is_watching())
    }

    /// Records that the watches had begun before `job`, the Job of `attempt`, was created, in `version`.
    pub(crate) fn record_creation(&self, attempt: &str, job: JobView, version: Option<String>) {
        self.cache.record_answer(attempt, job, version);
        self.cache.update_known(attempt, |snapshot| snapshot.seen_from_creation = true);
    }

    /// Records the answer to the release of the Job of `attempt`.
    pub(crate) fn record_release(&self, attempt: &str, job: JobView) {
        self.cache.record_answer(attempt, job, None);
    }

    /// Makes the watch on Jobs begin, for what only the Job shows.
    pub(crate) fn want_jobs(&self) {
        self.cache.want_jobs();
    }

    /// Makes the watches list the objects that existed before they began.
    pub(crate) fn want_lists(&self) {
        self.cache.want_lists();
    }

    /// Records the end of `attempt` if `pods`, the answer to a request, shows it. Nothing else is
    /// taken from `pods`, as the watch may since have reported something newer.
    pub(crate) fn record_end(&self, attempt: &str, pods: &[Pod]) {
        let over = |pod: &PodView| pod.ended || pod.container.terminated.is_some();
        for pod in pods.iter().map(PodView::from).filter(over) {
            self.cache.update_known(attempt, |snapshot| {
                let known = snapshot.pods.iter().find(|observed| observed.pod.uid == pod.uid);
                if known.is_none_or(|known| !known.presence.is_gone()) {
                    snapshot.apply_pod(pod);
                }
            });
        }
    }

    /// Waits until something about the attempt or the state of the watches changes.
    pub(crate) async fn changed(&mut self) {
        // An error would mean that a sender is gone. The cache, which this subscription holds,
        // keeps them: the attempt's own at least as long as it has a receiver, such as this one.
        tokio::select! {
            _ = self.snapshot.changed() => {}
            _ = self.health.changed() => {}
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cache.unsubscribe();
    }
}

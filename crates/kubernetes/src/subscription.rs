//! A subscription to one attempt.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;

use crate::cache::{ScopeCache, WatchHealth};
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

    /// Returns the state of the watches now.
    pub(crate) fn health(&mut self) -> WatchHealth {
        self.health.borrow_and_update().clone()
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

//! Passes what happens to all jobs on to the subscribers.

use std::sync::OnceLock;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use longshore_core::JobId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::job_event::JobEvent;

/// How many events are kept for a slow subscriber. Older events are lost.
pub(crate) const EVENTS_KEPT: usize = 4096;

/// A subscriber was too slow: this many events were lost before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were lost, because the subscriber was too slow")]
pub struct Lagged(pub u64);

/// Receives what happens to all jobs. Never waits.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// Created with the first subscriber, because it allocates all its room at once.
    subscribers: OnceLock<broadcast::Sender<(JobId, JobEvent)>>,
}

impl Feed {
    pub(crate) fn send(&self, job: &JobId, event: &JobEvent) {
        if let Some(subscribers) = self.subscribers.get()
            && subscribers.receiver_count() > 0
        {
            // The last subscriber may have left meanwhile.
            let _ = subscribers.send((job.clone(), event.clone()));
        }
    }

    pub(crate) fn subscribe(&self) -> BoxStream<'static, Result<(JobId, JobEvent), Lagged>> {
        let subscribers = self.subscribers.get_or_init(|| broadcast::channel(EVENTS_KEPT).0);
        stream::unfold(subscribers.subscribe(), |mut events| async {
            let next = match events.recv().await {
                Ok(event) => Ok(event),
                Err(RecvError::Lagged(lost)) => Err(Lagged(lost)),
                Err(RecvError::Closed) => return None,
            };
            Some((next, events))
        })
        .boxed()
    }
}

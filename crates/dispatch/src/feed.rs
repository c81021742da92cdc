//! Passes what happens to all jobs and runners on to the observers and subscribers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use longshore_core::{JobId, RunnerName};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::job_event::JobEvent;
use crate::observer::{Observer, RunnerEvent};

/// How many events are kept for a slow subscriber. Older events are lost.
pub(crate) const EVENTS_KEPT: usize = 4096;

/// A subscriber was too slow: this many events were lost before the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0} events were lost, because the subscriber was too slow")]
pub struct Lagged(pub u64);

/// Receives what happens to all jobs and runners. Never waits.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    observers: Vec<Arc<dyn Observer>>,
    /// Held while one event is passed on, so that everyone sees the same order.
    order: Mutex<()>,
    /// Created with the first subscriber, because it allocates all its room at once.
    subscribers: OnceLock<broadcast::Sender<(JobId, JobEvent)>>,
}

/// The right to pass on the next event.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    observers: &'a [Arc<dyn Observer>],
    _order: MutexGuard<'a, ()>,
}

impl Feed {
    pub(crate) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers, ..Self::default() }
    }

    /// Passes on what happened to a job.
    pub(crate) fn send(&self, job: &JobId, event: &JobEvent) {
        let turn = self.turn();
        turn.tell(|observer| observer.job_event(job, event));
        if let Some(subscribers) = self.subscribers.get()
            && subscribers.receiver_count() > 0
        {
            // The last subscriber may have left meanwhile.
            let _ = subscribers.send((job.clone(), event.clone()));
        }
    }

    /// Waits until the event before is passed on. What the next event says must be determined
    /// within the turn.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { observers: &self.observers, _order: self.order.lock() }
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

impl Turn<'_> {
    /// Passes on what happened to a runner.
    pub(crate) fn send(&self, runner: &RunnerName, event: &RunnerEvent) {
        self.tell(|observer| observer.runner_event(runner, event));
    }

    fn tell(&self, call: impl Fn(&dyn Observer)) {
        for observer in self.observers {
            if catch_unwind(AssertUnwindSafe(|| call(&**observer))).is_err() {
                tracing::warn!("an observer panicked");
            }
        }
    }
}

//! The events of an attempt.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{Handle, ImageReport, Report};

/// What happens to an attempt. Only [`Event::Ended`] is guaranteed, [`Event::Started`] for an attempt
/// that has started, and [`Event::Running`] for one that runs when the listener arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// The backend accepted the attempt and placed it.
    Scheduled,
    /// The image is being pulled.
    Pulling {
        /// The bytes received so far.
        current: u64,
        /// The total number of bytes, once known.
        total: Option<u64>,
    },
    /// The image is present on the backend.
    Pulled,
    /// The attempt waits for something. The text is the backend's message, for a person.
    Waiting(String),
    /// The job has started. It may have ended since: a listener that arrives later still receives
    /// this event, before [`Event::Ended`].
    Started(Option<Timestamp>),
    /// The job runs: the backend showed it running when it was last heard. It comes at most once, after
    /// [`Event::Started`], and never for a job that had ended before the listener arrived.
    Running,
    /// The job has ended. This is the last event: it occurs exactly once and is never dropped.
    Ended(Report),
}

/// A job that a runner has committed to and that has started, or has already ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Started {
    /// The location of the attempt.
    pub handle: Handle,
    /// When the job started, by the backend's clock.
    pub started_at: Option<Timestamp>,
    /// The image the job runs; `None` for a process.
    pub image: Option<ImageReport>,
}

impl Started {
    /// Creates a started attempt.
    #[must_use]
    pub const fn new(
        handle: Handle,
        started_at: Option<Timestamp>,
        image: Option<ImageReport>,
    ) -> Self {
        Self { handle, started_at, image }
    }
}

/// The channel to which a launch reports its progress.
///
/// It is bounded: a slow listener loses progress and never delays a launch.
#[derive(Clone, Debug, Default)]
pub struct EventSink(Option<mpsc::Sender<Event>>);

impl EventSink {
    /// Creates a sink that sends to `sender`.
    #[must_use]
    pub const fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(Some(sender))
    }

    /// Sends `event`, or drops it if the channel is full or closed.
    pub fn emit(&self, event: Event) {
        if let Some(sender) = &self.0 {
            // This is progress only: the result needs nothing that a full or closed channel loses.
            let _ = sender.try_send(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_listener_never_holds_up_a_launch() {
        let (sender, mut receiver) = mpsc::channel(1);
        let sink = EventSink::new(sender);
        sink.emit(Event::Scheduled);
        sink.emit(Event::Pulled);
        assert_eq!(receiver.try_recv(), Ok(Event::Scheduled));
        assert!(receiver.try_recv().is_err());
        EventSink::default().emit(Event::Scheduled);
    }
}

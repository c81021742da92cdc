//! What happens to an attempt.

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{Handle, ImageReport, Report};

/// What happens to an attempt. Only [`Event::Ended`] is certain, and [`Event::Started`] for an
/// attempt that has started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The backend accepted it and found it a place.
    Scheduled,
    /// The image is being pulled.
    Pulling {
        /// Bytes here so far.
        current: u64,
        /// Bytes in all, once known.
        total: Option<u64>,
    },
    /// The image is here.
    Pulled,
    /// It waits for something; the backend's words, for a person.
    Waiting(String),
    /// The job has started. It may have ended since: a listener that arrives later receives this
    /// event all the same, before [`Event::Ended`].
    Started(Option<Timestamp>),
    /// The job has ended. The last event, exactly one, never dropped.
    Ended(Report),
}

/// A job that a runner has committed to and that has started, or has already ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// Where it is to be found.
    pub handle: Handle,
    /// When it started, by the backend's clock.
    pub started_at: Option<Timestamp>,
    /// The image it runs; none for a process.
    pub image: Option<ImageReport>,
}

impl Started {
    /// A started attempt.
    #[must_use]
    pub const fn new(
        handle: Handle,
        started_at: Option<Timestamp>,
        image: Option<ImageReport>,
    ) -> Self {
        Self { handle, started_at, image }
    }
}

/// Where a launch tells its progress. Bounded: a slow listener loses progress, and never holds up
/// a launch.
#[derive(Clone, Debug, Default)]
pub struct EventSink(Option<mpsc::Sender<Event>>);

impl EventSink {
    /// A sink that sends to `sender`.
    #[must_use]
    pub const fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(Some(sender))
    }

    /// Tells `event` if the listener keeps up.
    pub fn emit(&self, event: Event) {
        if let Some(sender) = &self.0 {
            // Progress only: what a full or closed channel loses is not needed for the result.
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

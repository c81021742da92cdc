//! Reports a job's progress to its submitter.

use longshore_core::{Error, Event, PassedOver, RunnerName};
use tokio::sync::mpsc;
use tracing::debug;

use crate::job::JobEvent;

/// How many events are buffered for a slow reader. Further events are lost.
pub(crate) const EVENTS_KEPT: usize = 256;

/// Receives the progress of a job's task. Never waits.
#[derive(Clone, Debug)]
pub(crate) struct JobEventSink(mpsc::Sender<JobEvent>);

impl JobEventSink {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<JobEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_KEPT);
        (Self(sender), receiver)
    }

    /// Creates a sink for progress that has no reader.
    pub(crate) fn discarding() -> Self {
        Self::channel().0
    }

    pub(crate) fn send(&self, event: JobEvent) {
        log(&event);
        // Events are lost if the channel is full or the reader has left. The result does not need
        // them.
        let _ = self.0.try_send(event);
    }

    /// Reports a problem that does not change the result.
    pub(crate) fn trouble(&self, runner: &RunnerName, error: &Error) {
        self.send(JobEvent::Trouble { runner: runner.clone(), message: error.to_string() });
    }
}

/// Logs what happens to a job. The names of the events and fields are documented in
/// `docs/tracing.md`.
fn log(event: &JobEvent) {
    match event {
        JobEvent::Probing { runner } => debug!(%runner, "probing"),
        JobEvent::PassedOver(passed) => {
            let PassedOver { runner, kind, message: reason, .. } = passed;
            debug!(%runner, kind, reason, "passed over");
        }
        JobEvent::Runner { runner, event } => log_progress(runner, event),
        JobEvent::Settling { runner, attempt, message: reason } => {
            debug!(%runner, %attempt, reason, "settling");
        }
        JobEvent::Warning { message: reason } => debug!(reason, "warning"),
        JobEvent::Trouble { runner, message: reason } => debug!(%runner, reason, "trouble"),
        // These are logged where they are recorded.
        JobEvent::Launching { .. } | JobEvent::Started { .. } => {}
    }
}

fn log_progress(runner: &RunnerName, event: &Event) {
    match event {
        Event::Scheduled => debug!(%runner, "scheduled"),
        Event::Pulling { current, total } => debug!(%runner, current, total, "pulling"),
        Event::Pulled => debug!(%runner, "pulled"),
        Event::Waiting(reason) => debug!(%runner, reason, "waiting"),
        Event::Started(at) => {
            debug!(%runner, started_at = at.as_ref().map(display), "running");
        }
        // Logged where it is recorded, and unknown ones have no fields.
        _ => {}
    }
}

//! Reports a job's progress to its submitter.

use longshore_core::{Error, RunnerName};
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
        debug!(?event, "job");
        // Events are lost if the channel is full or the reader has left. The result does not need
        // them.
        let _ = self.0.try_send(event);
    }

    /// Reports a problem that does not change the result.
    pub(crate) fn trouble(&self, runner: &RunnerName, error: &Error) {
        self.send(JobEvent::Trouble { runner: runner.clone(), message: error.to_string() });
    }
}

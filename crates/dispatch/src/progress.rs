//! Telling a job's submitter what happens.

use longshore_core::{Error, RunnerName};
use tokio::sync::mpsc;
use tracing::debug;

use crate::job::JobEvent;

/// How many events wait for a slow reader; further ones are lost.
pub(crate) const EVENTS_KEPT: usize = 256;

/// Where a job's task tells what happens. Never waits.
#[derive(Clone, Debug)]
pub(crate) struct Progress(mpsc::Sender<JobEvent>);

impl Progress {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<JobEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_KEPT);
        (Self(sender), receiver)
    }

    /// Of what nobody wants to hear.
    pub(crate) fn unheard() -> Self {
        Self::channel().0
    }

    pub(crate) fn tell(&self, event: JobEvent) {
        debug!(?event, "job");
        // What a full channel or a reader that has left loses is not needed for the result.
        let _ = self.0.try_send(event);
    }

    /// Tells of something that does not change the result.
    pub(crate) fn trouble(&self, runner: &RunnerName, error: &Error) {
        self.tell(JobEvent::Trouble { runner: runner.clone(), message: error.to_string() });
    }
}

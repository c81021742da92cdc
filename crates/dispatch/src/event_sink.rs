//! Reports a job's progress to its submitter.

use std::sync::Arc;

use longshore_core::{Error, Event, JobId, PassedOver, RunnerName};
use tokio::sync::mpsc;
use tracing::debug;

use crate::feed::Feed;
use crate::job_event::JobEvent;

/// How many events are buffered for a slow reader. Further events are lost.
pub(crate) const EVENTS_KEPT: usize = 256;

/// Receives what happens to a job. Never waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobEventSink {
    /// The reader of this job's progress.
    reader: Option<mpsc::Sender<JobEvent>>,
    /// Where the events of all jobs go, and this job.
    feed: Option<(Arc<Feed>, JobId)>,
}

impl JobEventSink {
    /// Creates a sink for `job`, and the channel of its reader.
    pub(crate) fn channel(feed: &Arc<Feed>, job: &JobId) -> (Self, mpsc::Receiver<JobEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS_KEPT);
        (Self { reader: Some(sender), ..Self::unread(feed, job) }, receiver)
    }

    /// Creates a sink for `job`, whose own progress has no reader.
    pub(crate) fn unread(feed: &Arc<Feed>, job: &JobId) -> Self {
        Self { reader: None, feed: Some((Arc::clone(feed), job.clone())) }
    }

    /// Creates a sink for what is done about no job in particular.
    pub(crate) fn discarding() -> Self {
        Self::default()
    }

    /// Reports progress.
    pub(crate) fn send(&self, event: JobEvent) {
        self.announce(&event);
        if let Some(reader) = &self.reader {
            // Events are lost if the channel is full or the reader has left. The result does not
            // need them.
            let _ = reader.try_send(event);
        }
    }

    /// Reports what a reader of this job's progress learns from the [`Job`](crate::Job) itself.
    pub(crate) fn announce(&self, event: &JobEvent) {
        log(event);
        if let Some((feed, job)) = &self.feed {
            feed.send(job, event);
        }
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
        JobEvent::Queued => debug!("queued"),
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
        // These are logged where they are recorded, or concern only those who follow all jobs.
        JobEvent::Launching { .. }
        | JobEvent::Started { .. }
        | JobEvent::Submitted { .. }
        | JobEvent::TakenUp
        | JobEvent::Left { .. }
        | JobEvent::Ended(_)
        | JobEvent::Stopped { .. } => {}
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
        // Logged where it is recorded, and others have no fields.
        _ => {}
    }
}

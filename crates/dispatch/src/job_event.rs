//! What happens to a job.

use std::sync::Arc;

use jiff::Timestamp;
use longshore_core::{AttemptId, Event, JobResult, JobSpec, PassedOver, PullPolicy, RunnerName};
use serde::{Deserialize, Serialize};

/// What happens to a job, for a person, a progress line or a metric. The result does not depend on
/// these events.
///
/// The reader of one job ([`Job::take_events`](crate::Job::take_events)) receives only its progress.
/// The events from [`Submitted`](Self::Submitted) to [`Stopped`](Self::Stopped) are for those who
/// follow all jobs ([`Dispatcher::subscribe`](crate::Dispatcher::subscribe)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum JobEvent {
    /// The job is recorded, and this process looks for a runner.
    Submitted {
        /// What to run, as submitted.
        spec: Arc<JobSpec>,
    },
    /// The job was submitted before, and this process follows it from now on.
    TakenUp,
    /// The job has started and is left to its runner. This process no longer follows it.
    Left {
        /// The runner.
        runner: RunnerName,
        /// The attempt.
        attempt: AttemptId,
    },
    /// The job is over. Its output may not yet be read, nor the job removed from its runner.
    Ended(Box<JobResult>),
    /// This process no longer follows the job, because it cannot. The job may still run.
    Stopped {
        /// The reason, in one line.
        message: String,
    },
    /// There is no place for the job now, and it waits for one.
    Queued,
    /// A runner is being asked whether it can take work.
    Probing {
        /// The runner.
        runner: RunnerName,
    },
    /// A runner was passed over; the next one is tried.
    PassedOver(PassedOver),
    /// A runner is being asked to launch the job.
    Launching {
        /// The runner.
        runner: RunnerName,
        /// The attempt.
        attempt: AttemptId,
        /// The pull policy of this attempt.
        pull_policy: PullPolicy,
    },
    /// Progress of an attempt, as its runner reports it. Never [`Event::Ended`].
    Runner {
        /// The runner.
        runner: RunnerName,
        /// What happened.
        event: Event,
    },
    /// A launch gave no clear answer. The dispatcher is determining whether it started.
    Settling {
        /// The runner.
        runner: RunnerName,
        /// The attempt.
        attempt: AttemptId,
        /// Why there was no clear answer.
        message: String,
    },
    /// The job has started; no other runner will be tried.
    Started {
        /// The runner.
        runner: RunnerName,
        /// The attempt.
        attempt: AttemptId,
        /// The start time, by the backend's clock.
        started_at: Option<Timestamp>,
    },
    /// A problem with the job that no runner caused and that does not keep the job from running,
    /// such as a password file that others can read.
    Warning {
        /// The problem, in one line.
        message: String,
    },
    /// Something that does not change the result went wrong, such as a backend out of reach for
    /// now, or a clean-up that failed.
    Trouble {
        /// The runner.
        runner: RunnerName,
        /// What went wrong, in one line.
        message: String,
    },
}

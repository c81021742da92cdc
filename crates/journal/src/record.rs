//! What the journal keeps about a job.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{
    Handle, HumanDuration, ImageReport, InstallationId, JobId, JobResult, JobSpec, PassedOver,
    PullPolicy, RunnerName,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A job to be recorded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewJob {
    /// The job's identity. Default: a new one.
    pub id: JobId,
    /// The key that makes a second submission with an equal `spec` the same job. With a different
    /// `spec`, the second submission is an error. 1 to 255 characters. Default: none.
    pub idempotency_key: Option<String>,
    /// The installation that runs the job.
    pub installation: InstallationId,
    /// What to run, as submitted: where secrets come from, never their values.
    pub spec: Arc<JobSpec>,
    /// Whether the job continues after its submitter exits. Default: false.
    pub detached: bool,
    /// The runners to try, in order. Default: none.
    pub runners: Vec<RunnerName>,
    /// How to go on with the job if this process ends before anything of it has started. Default:
    /// the job is then over.
    pub relaunch: Option<Relaunch>,
}

impl NewJob {
    /// Creates a job of `spec` for `installation`, with the defaults.
    #[must_use]
    pub fn new(installation: InstallationId, spec: impl Into<Arc<JobSpec>>) -> Self {
        Self {
            id: JobId::random(),
            idempotency_key: None,
            installation,
            spec: spec.into(),
            detached: false,
            runners: Vec::new(),
            relaunch: None,
        }
    }
}

/// How another process goes on with a job of which nothing has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Relaunch {
    /// The priority with which it waits for a place.
    pub priority: i32,
    /// Until when it waits for a place, if it has a limit.
    pub until: Option<Timestamp>,
    /// Whether it may use the configured logins to registries.
    pub configured_logins: bool,
}

impl Relaunch {
    /// Creates the way to go on with a job that has `priority` and no limit.
    #[must_use]
    pub const fn new(priority: i32) -> Self {
        Self { priority, until: None, configured_logins: true }
    }
}

/// An attempt that is about to be launched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewAttempt {
    /// Its number, from 1; greater than that of every earlier attempt.
    pub number: u32,
    /// Where to find it.
    pub handle: Handle,
    /// The pull policy in force.
    pub pull_policy: PullPolicy,
}

impl NewAttempt {
    /// Creates attempt `number` with its `handle`.
    #[must_use]
    pub const fn new(number: u32, handle: Handle, pull_policy: PullPolicy) -> Self {
        Self { number, handle, pull_policy }
    }
}

/// The full record of a job.
///
/// It contains no secret: the specification only says where secrets come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Record {
    /// The job.
    pub id: JobId,
    /// The key that makes a second submission the same job.
    pub idempotency_key: Option<String>,
    /// The installation that runs the job.
    pub installation: InstallationId,
    /// What to run, as submitted.
    pub spec: Arc<JobSpec>,
    /// Whether the job continues after its submitter exits.
    pub detached: bool,
    /// The runners to try, in order.
    pub runners: Vec<RunnerName>,
    /// How another process goes on with the job as long as nothing of it has started. None: the job
    /// is then over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relaunch: Option<Relaunch>,
    /// When the job was submitted.
    pub submitted_at: Timestamp,
    /// Its attempts, by number.
    pub attempts: Vec<AttemptRecord>,
    /// Each runner that was passed over, in order.
    pub passed_over: Vec<PassedOver>,
    /// What the job's submitter could not pass on, such as its output to a full disk, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undelivered: Vec<String>,
    /// The request to end the job early; of several, the one with the shortest grace period.
    pub cancel: Option<CancelRequest>,
    /// The job's result.
    pub result: Option<JobResult>,
    /// When the result was recorded.
    pub ended_at: Option<Timestamp>,
    /// When it was recorded that nothing of the job was left on any backend.
    pub removed_at: Option<Timestamp>,
}

impl Record {
    /// Returns how far the job is, for people.
    #[must_use]
    pub fn state(&self) -> State {
        if self.result.is_some() {
            return State::Ended;
        }
        match self.attempts.last().map(|attempt| &attempt.state) {
            Some(AttemptState::Intent) => State::Launching,
            Some(AttemptState::Started { .. } | AttemptState::Ended { .. }) => State::Running,
            Some(AttemptState::Refused { .. }) | None => State::Queued,
        }
    }

    /// Returns whether the job's own record was lost, and this one was made from what is on its
    /// backend: it has an empty specification, which no submitted job has.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.spec.container.is_none() && self.spec.process.is_none()
    }

    /// Returns whether it is on record that the job has started or ended.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        matches!(self.state(), State::Running | State::Ended)
    }

    /// Returns the attempt that may be on a backend, or was the last one there.
    ///
    /// Every earlier attempt is proven not to have started.
    #[must_use]
    pub fn committed(&self) -> Option<&AttemptRecord> {
        self.attempts.last().filter(|a| !matches!(a.state, AttemptState::Refused { .. }))
    }

    /// Returns the number for the next attempt.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.attempts.last().map_or(1, |attempt| attempt.number.saturating_add(1))
    }

    /// Returns whether the job has ended and nothing of it is left on any backend.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.removed_at.is_some()
    }
}

/// An attempt on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub number: u32,
    /// Where to find it.
    pub handle: Handle,
    /// The pull policy in force.
    pub pull_policy: PullPolicy,
    /// When the intent to launch it was recorded.
    pub intent_at: Timestamp,
    /// How far it is.
    #[serde(flatten)]
    pub state: AttemptState,
}

/// How far an attempt is, according to the record.
///
/// Serialised as `{"state": …}` with the fields of that state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum AttemptState {
    /// The attempt is about to be launched, or was: only its runner knows whether it started.
    Intent,
    /// The attempt has started.
    Started {
        /// When, by the backend's clock.
        started_at: Option<Timestamp>,
        /// The image it runs.
        image: Option<ImageReport>,
    },
    /// It is proven that the attempt never started and never can.
    Refused {
        /// The class of the reason: the name of an [`ErrorKind`](longshore_core::ErrorKind).
        kind: String,
        /// The reason, in one line for a person.
        message: String,
    },
    /// The job's result is about this attempt.
    Ended {
        /// When the job started, by the backend's clock, if that was recorded before the end.
        started_at: Option<Timestamp>,
        /// The image the job ran, if that was recorded before the end.
        image: Option<ImageReport>,
    },
}

/// How far a job is, for people.
///
/// A record in any state but `Ended` that is [not claimed](crate::Journal::is_claimed) was left by
/// a crash. The next holder continues from that state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum State {
    /// The job waits for a runner. After a crash: nothing of it has started and nothing can; it may
    /// be launched.
    Queued,
    /// A runner was asked to launch the job. After a crash: it may have started; its runner settles
    /// it.
    Launching,
    /// The job has started. After a crash: it is followed to its end.
    Running,
    /// The job's result is on record. After a crash: what is left on its backend is removed.
    Ended,
}

impl State {
    /// All states, in the order in which a job has them.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Launching, Self::Running, Self::Ended];

    /// Returns the state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Launching => "Launching",
            Self::Running => "Running",
            Self::Ended => "Ended",
        }
    }
}

/// A request to end a job early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CancelRequest {
    /// The job.
    pub job: JobId,
    /// When the request was made.
    pub asked_at: Timestamp,
    /// The time between TERM and KILL, in whole milliseconds.
    #[serde(serialize_with = "as_people_write_it", deserialize_with = "as_people_wrote_it")]
    pub grace: Duration,
}

fn as_people_write_it<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    HumanDuration::from(*duration).serialize(to)
}

fn as_people_wrote_it<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    HumanDuration::deserialize(from).map(HumanDuration::get)
}

/// The result of a request to end a job early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cancelled {
    /// The request is on record, and the job's holder is notified.
    Noted,
    /// The job had ended before.
    AlreadyEnded,
}

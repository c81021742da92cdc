//! The place of a job among those in flight, or how it waits for one.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::Outcome;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::places::{Place, Places, Ticket};

/// What a submission does if there is no place for its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// If `maxJobs` jobs are in flight, `submit` fails with `Saturated`, and nothing is recorded.
    Refuse,
    /// The job is recorded at once, and waits for at most this long: first until fewer than
    /// `maxJobs` jobs are in flight, and then, if every runner that could take it is saturated, until
    /// one takes it. After that, the job ends as `NotRun`.
    ///
    /// At most `maxQueuedJobs` jobs wait in this way. A further `submit` fails with `Saturated`.
    Wait(Duration),
}

/// The longest wait that a timer supports for certain: tokio's own limit.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Returns the end of a wait of `left` from now.
pub(crate) fn end_of_wait(left: Duration) -> Instant {
    Instant::now() + left.min(LONGEST_WAIT)
}

/// The place of a job, or how it waits for one.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) place: Option<Place>,
    pub(crate) ticket: Option<Ticket>,
    /// Until when the job waits, and how long that is.
    pub(crate) until: Option<(Instant, Duration)>,
    pub(crate) places: Option<Arc<Places>>,
    /// Set for a job that another process goes on with: it does not wait any longer once this is
    /// cancelled.
    pub(crate) closing: Option<CancellationToken>,
}

/// Why a job does not wait any longer.
pub(crate) enum Left {
    /// It is over.
    Over(Outcome),
    /// Another process goes on with it.
    ToAnother,
}

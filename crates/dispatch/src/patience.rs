//! The time limits for following an attempt.

use std::time::Duration;

/// The time limits for following an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) connect_timeout: Duration,
    pub(crate) lost_after: Duration,
    /// The job's own limit on its run.
    pub(crate) timeout: Option<Duration>,
    /// The job's own grace period.
    pub(crate) grace: Duration,
}

//! What a program implements to see everything that happens in a dispatcher.

use std::fmt;

use jiff::Timestamp;
use longshore_core::{JobId, RunnerName};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job_event::JobEvent;
use crate::runner_status::{LastProbe, RunnerError};

/// Sees everything that happens in a dispatcher, such as a program's own metrics or audit log.
///
/// The dispatcher calls its observers one after the other, each event after the one before, and never
/// two at once. No event is lost. When a caller receives a job's result, its observers have seen the
/// job's end.
///
/// The calls are made from the tasks that run the jobs, and all jobs wait meanwhile. An observer must
/// therefore return at once: it must not block, wait for anything, or do I/O. Work that takes longer
/// belongs behind a channel. [`Dispatcher::subscribe`](crate::Dispatcher::subscribe) is such a
/// channel. An observer may call everything of the dispatcher that returns at once.
///
/// # Panics
/// A panic in an observer is caught and logged. The observer misses that event and is called for the
/// next one.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use longshore_core::JobId;
/// use longshore_dispatch::{Dispatcher, JobEvent, Observer};
///
/// /// Counts the jobs that have ended.
/// #[derive(Debug, Default)]
/// struct Ended(AtomicU64);
///
/// impl Observer for Ended {
///     fn job_event(&self, _: &JobId, event: &JobEvent) {
///         if let JobEvent::Ended(_) = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let ended = Arc::new(Ended::default());
/// let builder = Dispatcher::builder().observer(ended.clone());
/// ```
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened to a job.
    fn job_event(&self, job: &JobId, event: &JobEvent) {
        let _ = (job, event);
    }

    /// Something happened to a runner.
    fn runner_event(&self, runner: &RunnerName, event: &RunnerEvent) {
        let _ = (runner, event);
    }
}

/// What happens to a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum RunnerEvent {
    /// The runner answered a probe, or did not answer in time.
    Probed(LastProbe),
    /// The runner is unavailable: from now on, jobs pass it over at once.
    Opened {
        /// Why.
        error: RunnerError,
        /// When it is probed again.
        #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
        retry_at: Timestamp,
    },
    /// The runner is back: jobs ask it again.
    Closed,
}

//! The spans of jobs and attempts. Their names and fields are documented in `docs/tracing.md`.

use longshore_core::{AttemptId, JobId, RunnerName};
use tracing::{Span, info_span};

/// Returns the span of everything that this process does for a job.
pub(crate) fn job(job: &JobId) -> Span {
    info_span!("job", %job)
}

/// Returns the span of one attempt, within the span of its job.
pub(crate) fn attempt(attempt: &AttemptId, runner: &RunnerName) -> Span {
    info_span!("attempt", %attempt, %runner)
}

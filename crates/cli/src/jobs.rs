//! Recorded jobs, as used by the commands.

use std::time::Duration;

use longshore::journal::Record;
use longshore::{Dispatcher, JobResult};

use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::{selection, trouble};

/// Returns the current record of the job that `text` names, as [`selection::record`] does.
///
/// # Errors
/// If `text` names no job or several jobs; the message lists the candidates.
pub async fn find(dispatcher: &Dispatcher, text: &str) -> Result<Record, CliError> {
    let record = selection::record(dispatcher, text).await?;
    Ok(dispatcher.look(&record.id).await?)
}

/// As [`find`], but returns a job that is on record as running as it is. It may have ended since, which
/// the next call about it notices.
///
/// # Errors
/// As [`find`].
pub async fn find_begun(dispatcher: &Dispatcher, text: &str) -> Result<Record, CliError> {
    let record = selection::record(dispatcher, text).await?;
    if record.has_begun() {
        return Ok(record);
    }
    Ok(dispatcher.look(&record.id).await?)
}

/// Waits for the job of `record` to end.
///
/// # Errors
/// If the job cannot be followed from here; it may still run.
pub async fn end_of(dispatcher: &Dispatcher, record: &Record) -> Result<JobResult, CliError> {
    if let Some(result) = &record.result {
        return Ok(result.clone());
    }
    let mut job = dispatcher.attach(&record.id).await?;
    let events = job.take_events();
    let progress = ProgressLine::new(false);
    let ((), result) = tokio::join!(progress.show_all(events, false), job.wait());
    progress.clear();
    Ok(result?)
}

/// Waits for the job of `record` to end, which was asked to end within `grace`. If that takes longer,
/// says so every few seconds.
///
/// # Errors
/// If the job cannot be followed from here; it may still run.
pub async fn end_of_cancelled(
    dispatcher: &Dispatcher,
    record: &Record,
    grace: Duration,
) -> Result<JobResult, CliError> {
    tokio::select! {
        biased;
        result = end_of(dispatcher, record) => result,
        never = trouble::say_that_it_lasts(&record.id, grace) => match never {},
    }
}

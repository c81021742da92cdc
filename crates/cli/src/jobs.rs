//! Jobs on record, as the commands about them see them.

use longshore::{Dispatcher, ErrorKind, JobId, JobResult, Record};

use crate::commands::run::show;
use crate::error::CliError;
use crate::progress::Progress;

/// The job that `text` names, as it is now.
///
/// # Errors
/// No job or several are named so, the candidates among the words.
pub async fn find(dispatcher: &Dispatcher, text: &str) -> Result<Record, CliError> {
    let record = dispatcher.record(text).await?;
    Ok(dispatcher.look(&record.id).await?)
}

/// Waits for the end of the job of `record`.
///
/// # Errors
/// It cannot be followed from here, and may still run.
pub async fn end_of(dispatcher: &Dispatcher, record: &Record) -> Result<JobResult, CliError> {
    if let Some(result) = &record.result {
        return Ok(result.clone());
    }
    let mut job = dispatcher.attach(&record.id).await?;
    let events = job.take_events();
    let progress = Progress::new(false);
    let ((), result) = tokio::join!(show(events, &progress, false), job.wait());
    progress.clear();
    if is_open(dispatcher, &record.id).await? {
        return Err(CliError::failed(format!("job {}: {}", record.id, result.outcome)));
    }
    Ok(result)
}

/// Whether no end of the job is on record.
async fn is_open(dispatcher: &Dispatcher, id: &JobId) -> Result<bool, CliError> {
    match dispatcher.record(id.as_str()).await {
        Ok(record) => Ok(record.result.is_none()),
        // Only what is over is forgotten.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

//! `longshore rm`.

use std::fmt::Write;
use std::time::Duration;

use longshore::{Dispatcher, JobId};

use crate::args::RmArgs;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::{jobs, output, settings};

/// Removes jobs one by one, and prints the ids of those that are gone.
pub async fn rm(args: &RmArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.some.config)?;
    let mut removed = String::new();
    let mut code = 0;
    for id in &args.some.jobs {
        match remove(&dispatcher, id, args.force).await {
            Ok(id) => {
                let _ = writeln!(removed, "{id}");
            }
            Err(error) => {
                output::complain(&error);
                code = COULD_NOT_RUN;
            }
        }
    }
    output::print(&removed)?;
    Ok(code)
}

async fn remove(dispatcher: &Dispatcher, text: &str, force: bool) -> Result<JobId, CliError> {
    // The job may have ended unnoticed.
    let record = jobs::find(dispatcher, text).await?;
    if force && dispatcher.stranded_on(&record).await.is_some() {
        for left in dispatcher.give_up(&record.id).await? {
            output::warn(&format!(
                "{} {}: {}: it may be left there",
                left.runner, left.attempt, left.why
            ));
        }
        return Ok(record.id);
    }
    if record.result.is_none() {
        if !force {
            let id = &record.id;
            return Err(CliError::failed(format!(
                "job {id} has not ended: wait for it to end, cancel it, or remove it with --force"
            )));
        }
        dispatcher.cancel(&record.id, Some(Duration::ZERO)).await?;
        let end = jobs::end_of_cancelled(dispatcher, &record, Duration::ZERO).await?;
        let removed = dispatcher.remove(&record.id).await;
        if removed.is_err() && !has_ended_on_record(dispatcher, &record.id).await {
            return Err(CliError::failed(format!(
                "job {} {}, but that cannot be recorded, so the job was not removed",
                record.id, end.outcome
            )));
        }
        removed?;
        return Ok(record.id);
    }
    dispatcher.remove(&record.id).await?;
    Ok(record.id)
}

/// Whether the end of a job is on record. The disk of the journal may be full.
async fn has_ended_on_record(dispatcher: &Dispatcher, job: &JobId) -> bool {
    dispatcher.record(job.as_str()).await.is_ok_and(|record| record.result.is_some())
}

//! `longshore logs`.

use longshore::LogPosition;

use crate::args::LogsArgs;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::{jobs, settings};

/// Prints a job's output: what exists now, or all of it, to the job's end.
pub async fn logs(args: &LogsArgs) -> Result<u8, CliError> {
    let dispatcher = settings::dispatcher(&args.job.config)?;
    // Settles the job first: a job that was abandoned before its start would be followed forever.
    let record = jobs::find(&dispatcher, &args.job.id).await?;
    let chunks = dispatcher.logs(&record.id, LogPosition::START, args.follow).await?;
    Relay::new().pass_on(chunks, &ProgressLine::new(true), Unread::Stop).await?;
    Ok(0)
}

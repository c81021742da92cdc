//! `longshore logs`.

use longshore::LogPosition;

use crate::args::LogsArgs;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::{jobs, settings};

/// Prints a job's output: what exists now, or all of it, to the job's end. The exit code is 125 if
/// not all of it could be written.
pub async fn logs(args: &LogsArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.job.config)?;
    // Settles the job first: a job that was abandoned before its start would be followed forever.
    let record = jobs::find(&dispatcher, &args.job.id).await?;
    let chunks = dispatcher.logs(&record.id, LogPosition::START, args.follow).await?;
    let relay = Relay::new();
    let whole = relay.pass_on(chunks, &ProgressLine::new(true), Unread::Stop).await?;
    Ok(if whole { 0 } else { COULD_NOT_RUN })
}

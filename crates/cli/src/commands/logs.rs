//! `longshore logs`.

use std::convert::Infallible;

use futures::{StreamExt, stream};
use longshore::{Dispatcher, JobId, LogPosition};

use crate::args::LogsArgs;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::tail::Tail;
use crate::{jobs, output, settings};

/// Prints the output of jobs, one after the other: what exists now, or all of it, to each job's end.
/// The exit code is 125 if not all of it could be read and written.
pub async fn logs(args: &LogsArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.some.config)?;
    let mut code = 0;
    for name in &args.some.jobs {
        match print(&dispatcher, name, args).await {
            Ok(true) => {}
            Ok(false) => code = COULD_NOT_RUN,
            Err(error) => {
                output::complain(&error);
                code = error.exit_code();
            }
        }
    }
    Ok(code)
}

/// Prints a job's output. Returns whether all of it was written.
async fn print(dispatcher: &Dispatcher, name: &str, args: &LogsArgs) -> Result<bool, CliError> {
    // Settles the job first: a job that was abandoned before its start would be followed forever.
    let job = jobs::find(dispatcher, name).await?.id;
    let Some(lines) = args.tail else {
        return pass_on(dispatcher, &job, LogPosition::START, args.follow).await;
    };
    let mut chunks = dispatcher.logs(&job, LogPosition::START, false).await?;
    let mut tail = Tail::new(lines);
    while let Some(chunk) = chunks.next().await {
        tail.push(&chunk?);
    }
    let (chunks, end) = tail.finish();
    let chunks = stream::iter(chunks.into_iter().map(Ok::<_, Infallible>));
    let progress = ProgressLine::new(true);
    let Ok(failures) = Relay::new().pass_on(chunks, &progress, Unread::Stop).await;
    Ok(failures.is_empty() && (!args.follow || pass_on(dispatcher, &job, end, true).await?))
}

async fn pass_on(
    dispatcher: &Dispatcher,
    job: &JobId,
    from: LogPosition,
    follow: bool,
) -> Result<bool, CliError> {
    let chunks = dispatcher.logs(job, from, follow).await?;
    let progress = ProgressLine::new(true);
    Ok(Relay::new().pass_on(chunks, &progress, Unread::Stop).await?.is_empty())
}

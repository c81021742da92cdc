//! `longshore cancel`, and `longshore kill` without another signal.

use std::time::Duration;

use futures::future::join_all;
use longshore::job::HumanDuration;
use longshore::journal::Record;
use longshore::{Dispatcher, JobResult, Outcome};

use crate::args::OpenJobs;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::signals::Interruption;
use crate::{jobs, output, selection, settings, summary};

/// Cancels jobs and waits for them to end.
pub async fn cancel(args: &OpenJobs, grace: Option<HumanDuration>) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.config)?;
    let grace = grace.map(HumanDuration::get);
    let mut interruption = Interruption::watch()?;
    let mut code = 0;
    let mut cancelled = Vec::new();
    let open = if args.all { selection::open(&dispatcher).await? } else { Vec::new() };
    let names = open.iter().map(|record| record.id.as_str());
    for name in names.chain(args.jobs.iter().map(String::as_str)) {
        match request(&dispatcher, name, grace).await {
            Ok(asked) => cancelled.extend(asked),
            Err(error) => {
                output::complain(&error);
                code = COULD_NOT_RUN;
            }
        }
    }
    let ends = cancelled.iter().map(|asked| end_of(&dispatcher, asked, grace));
    tokio::select! {
        biased;
        code = interruption.seen() => {
            for Asked { record, .. } in &cancelled {
                let id = &record.id;
                output::say(&format!("job {id} was asked to end; not waiting for it"));
            }
            Ok(code)
        }
        ends = join_all(ends) => Ok(ends.into_iter().fold(code, u8::max)),
    }
}

/// A job that was asked to end.
struct Asked {
    record: Record,
    /// Whether the request came before the job's end.
    noted: bool,
}

/// Asks a job to end. Returns `None` if it has ended before.
async fn request(
    dispatcher: &Dispatcher,
    name: &str,
    grace: Option<Duration>,
) -> Result<Option<Asked>, CliError> {
    let record = jobs::find_begun(dispatcher, name).await?;
    if let Some(result) = &record.result {
        say_ended_before(result);
        return Ok(None);
    }
    let noted = dispatcher.cancel(&record.id, grace).await?;
    Ok(Some(Asked { record, noted }))
}

/// Waits for a job's end, reports it, and returns the exit code.
async fn end_of(dispatcher: &Dispatcher, asked: &Asked, grace: Option<Duration>) -> u8 {
    let Asked { record, noted } = asked;
    let grace = grace.unwrap_or_else(|| record.spec.effective_grace_period().get());
    match jobs::end_of_cancelled(dispatcher, record, grace).await {
        // A job that ended by itself had ended before, although nobody knew it.
        Ok(result) if *noted && matches!(result.outcome, Outcome::Cancelled { .. }) => {
            summary::say(&result, summary::seconds_run(&result), false);
            0
        }
        Ok(result) => {
            say_ended_before(&result);
            0
        }
        Err(error) => {
            output::complain(&error);
            COULD_NOT_RUN
        }
    }
}

fn say_ended_before(result: &JobResult) {
    output::say(&format!("the job had already ended: it {}", result.outcome));
}

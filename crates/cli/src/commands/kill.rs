//! `longshore kill`.

use std::fmt::Write;

use longshore::job::{HumanDuration, Signal};
use longshore::{Dispatcher, ErrorKind, JobId};

use crate::args::KillArgs;
use crate::commands::cancel::cancel;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::{jobs, output, selection, settings, summary};

/// Kills jobs and waits for their ends, or sends jobs another signal and prints the IDs of those that
/// have received it.
pub async fn kill(args: &KillArgs) -> Result<u8, CliError> {
    if args.signal == Signal::KILL {
        return cancel(&args.open, Some(HumanDuration::from_secs(0))).await;
    }
    let dispatcher = settings::of_recorded(&args.open.config)?;
    let open = if args.open.all { selection::open(&dispatcher).await? } else { Vec::new() };
    let names = open.iter().map(|record| record.id.as_str());
    let mut signalled = String::new();
    let mut code = 0;
    for name in names.chain(args.open.jobs.iter().map(String::as_str)) {
        match signal(&dispatcher, name, args.signal).await {
            Ok(id) => {
                let _ = writeln!(signalled, "{id}");
            }
            Err(error) => {
                output::complain(&error);
                code = COULD_NOT_RUN;
            }
        }
    }
    output::print(&signalled)?;
    Ok(code)
}

async fn signal(dispatcher: &Dispatcher, name: &str, signal: Signal) -> Result<JobId, CliError> {
    let record = jobs::find_begun(dispatcher, name).await?;
    let id = record.id.clone();
    match dispatcher.signal(&id, signal).await {
        Err(error) if error.kind() == ErrorKind::Unsupported && signal == Signal::TERM => {
            output::say(&format!("{error}: cancelling job {id} with its grace period"));
            dispatcher.cancel(&id, None).await?;
            // A process must follow the job to its end.
            let grace = record.spec.effective_grace_period().get();
            let result = jobs::end_of_cancelled(dispatcher, &record, grace).await?;
            summary::say(&result, summary::seconds_run(&result), false);
        }
        sent => sent?,
    }
    Ok(id)
}

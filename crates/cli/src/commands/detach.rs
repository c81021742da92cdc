//! `longshore run --detach`.

use std::path::Path;
use std::time::Instant;

use longshore::job::{Detached, DetachedJob, Stopped};
use longshore::journal::Record;
use longshore::{Dispatcher, JobId, JobResult, Submission};

use crate::args::RunArgs;
use crate::config_args::ConfigArgs;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::signals::{Interruption, Signals};
use crate::stdin::{self, Input};
use crate::{follower, output, summary, undelivered};

/// Printed if this command has a stdin that the job does not get.
const UNUSED_INPUT: &str = "a detached job does not get the stdin of this command: name a file with \
                            --stdin FILE, or none with --stdin /dev/null";

/// Launches a job and prints its id once it has started.
pub async fn detach(
    dispatcher: &Dispatcher,
    submission: Submission,
    args: &RunArgs,
) -> Result<u8, CliError> {
    let quiet = args.quiet;
    let input = match &args.job.stdin {
        Some(_) => Input::choose(&args.job, submission.spec.tty)?,
        None => None,
    };
    if args.job.stdin.is_none()
        && !submission.spec.tty
        && args.job.file.as_deref() != Some(Path::new("-"))
        && !quiet
        && stdin::has_unused_input()
    {
        output::warn(UNUSED_INPUT);
    }
    let submission = if input.is_some() { submission.with_stdin_later() } else { submission };
    let begun = Instant::now();
    let own = submission.id.clone();
    let asked = Interruption::watch()?;
    let job = dispatcher.submit_detached(submission).await?;
    let signals = Signals::pass_on(asked, job.canceller());
    let id = job.id().clone();
    let is_known = own.as_ref() != Some(&id);
    if is_known && !quiet {
        summary::say_known(&id);
    }
    let left = to_the_start(job, quiet).await;
    drop(signals);
    match left? {
        Detached::Ended(result) => {
            summary::say(&result, Some(begun.elapsed().as_secs_f64()), quiet);
            summary::say_misread(&result, &args.job);
            Ok(told(dispatcher, &id, &result).await)
        }
        _ => {
            // The job runs, whether or not this can be read.
            if let Ok(record) = dispatcher.record(id.as_str()).await {
                if !quiet {
                    say_started(&record);
                }
                match input.filter(|_| !is_known) {
                    Some(input) => {
                        give_stdin(dispatcher, &record.id, &args.job.config, input).await;
                    }
                    None => keep_timeout(dispatcher, &record, &args.job.config, is_known).await,
                }
            }
            tell(dispatcher, &id).await;
            Ok(0)
        }
    }
}

/// Leaves a job that runs, whose terminal this command was, and prints its ID.
pub async fn leave(dispatcher: &Dispatcher, id: &JobId, config: &ConfigArgs, is_known: bool) {
    if let Ok(record) = dispatcher.record(id.as_str()).await {
        keep_timeout(dispatcher, &record, config, is_known).await;
    }
    dispatcher.abandon();
    tell(dispatcher, id).await;
}

/// Prints the job's ID. The job is there whether or not the ID can be printed, so a failure does not
/// change the exit code, and the ID goes to stderr.
async fn tell(dispatcher: &Dispatcher, id: &JobId) {
    if let Err(error) = output::print(&format!("{id}\n")) {
        output::complain(&error);
        undelivered::note(dispatcher, id, &[error.to_string()]).await;
        output::say(&format!("the job's ID is {id}"));
    }
}

async fn to_the_start(mut job: DetachedJob, quiet: bool) -> Result<Detached, Stopped> {
    let events = job.take_events();
    let progress = ProgressLine::new(quiet);
    let ((), left) = tokio::join!(progress.show_all(events, quiet), job.left());
    progress.clear();
    left
}

/// Prints the id of a job that has already ended on its own: it was launched successfully, whatever
/// its exit code. Returns the exit code.
async fn told(dispatcher: &Dispatcher, id: &JobId, result: &JobResult) -> u8 {
    if result.outcome.ran_to_its_end() {
        tell(dispatcher, id).await;
        return 0;
    }
    summary::exit_code(result)
}

fn say_started(record: &Record) {
    for passed in &record.passed_over {
        output::say(&summary::passed_over(passed));
    }
    if let Some(attempt) = record.committed() {
        output::say(&format!("{}: the job has started", attempt.handle.runner));
    }
}

/// Leaves a background process that gives the job its stdin, and enforces its timeout.
async fn give_stdin(dispatcher: &Dispatcher, job: &JobId, config: &ConfigArgs, input: Input) {
    let file = input.into_file();
    let Err(error) = follower::leave(job, config, Some(&file)).await else { return };
    output::complain(&format!(
        "the job's stdin is empty: failed to start a background process that gives it: {error}"
    ));
    // Otherwise, the job may wait for input forever.
    if let Err(error) = dispatcher.attach_with_stdin(job, tokio::io::empty()).await {
        tracing::warn!(%job, %error, "failed to give the job an empty stdin");
    }
}

/// Ensures that the job ends at its timeout although no command follows it.
async fn keep_timeout(
    dispatcher: &Dispatcher,
    record: &Record,
    config: &ConfigArgs,
    is_known: bool,
) {
    if !dispatcher.needs_follower(record) {
        return;
    }
    // The first submitter's process enforces the timeout.
    if is_known && dispatcher.is_in_hand(&record.id).await.unwrap_or(false) {
        return;
    }
    if let Err(error) = follower::leave(&record.id, config, None).await {
        output::warn(&format!(
            "the job's timeout is enforced only while a command follows the job: failed to start \
             a background process: {error}"
        ));
    }
}

//! `longshore run`.

use std::convert::Infallible;
use std::time::Instant;

use futures::StreamExt;
use longshore::job::{NotRunReason, Stopped};
use longshore::{Dispatcher, Job, JobId, JobResult, JobSpec, Outcome, Submission};

use crate::args::RunArgs;
use crate::commands::detach;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::result_file::ResultFile;
use crate::signals::{Interruption, Signals};
use crate::stdin::Input;
use crate::{leftovers, output, settings, spec, summary, undelivered};

/// Printed if no runner took a job that got its stdin without asking for it.
const NO_STDIN: &str =
    "the stdin of this command is the job's: --stdin /dev/null runs the job without one";

/// Runs a job to its end, or only to its start. The exit code is that of
/// [`longshore::Outcome::exit_code`].
pub async fn run(args: &RunArgs) -> Result<u8, CliError> {
    let spec = spec::build(&args.job)?;
    if args.detach {
        let dispatcher = settings::assemble_detached(&args.job.config, args.quiet)?;
        say_hint(hint(&dispatcher, &spec, args.quiet)?);
        return detach::detach(&dispatcher, submission(spec, args), args).await;
    }
    let input = Input::choose(&args.job)?;
    let inherited = input.as_ref().is_some_and(|input| input.inherited);
    let (loaded, dispatcher) = settings::assemble(&args.job.config, args.quiet)?;
    let hint = hint(&dispatcher, &spec, args.quiet)?;
    let result_file = args.result.as_deref().map(ResultFile::prepare).transpose()?;
    let begun = Instant::now();
    let mut submission = submission(spec, args);
    if let Some(input) = input {
        submission = submission.with_stdin(input.reader());
    }
    let own = submission.id.clone();
    let asked = Interruption::watch()?;
    let job = dispatcher.submit(submission).await?;
    let signals = Signals::pass_on(asked, job.canceller());
    if !args.quiet {
        if own.as_ref() == Some(job.id()) {
            output::say(&format!("job {}", job.id()));
        } else {
            summary::say_known(job.id());
        }
    }
    let id = job.id().clone();
    let ((result, mut undelivered), ()) = tokio::join!(
        follow(job, args.quiet),
        leftovers::remove_abandoned(&dispatcher, &loaded.value, args.quiet)
    );
    drop(signals);
    let result = result?;
    // A local process has no image.
    say_hint(hint.filter(|_| result.image.is_some()));
    summary::say(&result, Some(begun.elapsed().as_secs_f64()), args.quiet);
    if inherited && matches!(result.outcome, Outcome::NotRun { reason: NotRunReason::NoRunner, .. })
    {
        output::say(NO_STDIN);
    }
    if let Some(Err(error)) = result_file.map(|file| file.write(&result)) {
        // The job keeps its exit code.
        output::complain(&error);
        undelivered.push(error.to_string());
    }
    undelivered::note(&dispatcher, &id, &undelivered).await;
    Ok(summary::exit_code(&result))
}

/// Returns a hint if the image may be older than expected, unless `quiet`.
fn hint(dispatcher: &Dispatcher, spec: &JobSpec, quiet: bool) -> Result<Option<String>, CliError> {
    if quiet { Ok(None) } else { Ok(dispatcher.image_hint(spec)?) }
}

fn say_hint(hint: Option<String>) {
    if let Some(hint) = hint {
        output::say(&format!("hint: {hint}"));
    }
}

/// Returns the submission, with a new id that distinguishes it from an earlier one with the same
/// key.
fn submission(spec: JobSpec, args: &RunArgs) -> Submission {
    let submission = Submission::new(spec).with_id(JobId::random());
    let submission = if args.keep { submission.kept() } else { submission };
    match &args.idempotency_key {
        Some(key) => submission.with_key(key),
        None => submission,
    }
}

/// Passes the job's output on and shows its progress until the job ends. Also returns what could not
/// be written.
async fn follow(mut job: Job, quiet: bool) -> (Result<JobResult, Stopped>, Vec<String>) {
    let events = job.take_events();
    let logs = futures::stream::iter(job.take_logs()).flatten().map(Ok::<_, Infallible>);
    let progress = ProgressLine::new(quiet);
    let unread = Unread::Cancel(job.canceller(), quiet);
    let ((), Ok(undelivered), result) = tokio::join!(
        progress.show_all(events, quiet),
        Relay::new().pass_on(logs, &progress, unread),
        job.wait()
    );
    progress.clear();
    (result, undelivered)
}

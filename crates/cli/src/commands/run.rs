//! `longshore run`.

use std::convert::Infallible;
use std::time::Instant;

use futures::StreamExt;
use longshore::job::{AttachOutput, AttachSpec, Attachment, LogChunk, NotRunReason, Stopped};
use longshore::{Dispatcher, ErrorKind, Job, JobId, JobResult, JobSpec, Outcome, Submission};

use crate::args::RunArgs;
use crate::commands::detach;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::result_file::ResultFile;
use crate::signals::{Interruption, Signals};
use crate::stdin::Input;
use crate::{leftovers, output, settings, spec, summary, terminal, undelivered};

/// Printed if no runner took a job that got its stdin without asking for it.
const NO_STDIN: &str =
    "the stdin of this command is the job's: --stdin /dev/null runs the job without one";

/// Runs a job to its end, or only to its start. The exit code is that of
/// [`longshore::Outcome::exit_code`].
pub async fn run(args: &RunArgs) -> Result<u8, CliError> {
    let spec = spec::build(&args.job)?;
    let interactive = args.job.interactive;
    if args.detach && interactive && !spec.tty {
        return Err(CliError::usage(
            "a detached job gets nothing that is typed here: --interactive needs --tty with \
             --detach",
        ));
    }
    if spec.tty && interactive && !args.detach {
        terminal::check_input()?;
    }
    if args.detach {
        let dispatcher = settings::assemble_detached(&args.job.config, args.quiet)?;
        say_hint(hint(&dispatcher, &spec, args.quiet)?);
        return detach::detach(&dispatcher, submission(spec, args), args).await;
    }
    let tty = spec.tty;
    let input = Input::choose(&args.job, tty)?;
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
    let is_known = own.as_ref() != Some(job.id());
    if !args.quiet {
        match is_known {
            false => output::say(&format!("job {}", job.id())),
            true => summary::say_known(job.id()),
        }
    }
    let id = job.id().clone();
    let following = async {
        match tty {
            false => Some(follow(job, args.quiet).await),
            true => follow_terminal(&dispatcher, job, args).await,
        }
    };
    let (followed, ()) = tokio::join!(
        following,
        leftovers::remove_abandoned(&dispatcher, &loaded.value, args.quiet)
    );
    drop(signals);
    let Some((result, mut undelivered)) = followed else {
        detach::leave(&dispatcher, &id, &args.job.config, is_known).await;
        return Ok(0);
    };
    let result = result?;
    // A local process has no image.
    say_hint(hint.filter(|_| result.image.is_some()));
    summary::say(&result, Some(begun.elapsed().as_secs_f64()), args.quiet);
    summary::say_misread(&result, &args.job);
    if inherited && matches!(result.outcome, Outcome::NotRun { reason: NotRunReason::NoRunner, .. })
    {
        output::say(NO_STDIN);
    }
    if let Some(file) = result_file
        && let Err(error) = file.write_unless_interrupted(&result, args.quiet).await
    {
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
    let tty = spec.tty;
    let submission = Submission::new(spec).with_id(JobId::random());
    let submission = if tty { submission.with_terminal(terminal::size()) } else { submission };
    let submission = if args.keep { submission.kept() } else { submission };
    match &args.idempotency_key {
        Some(key) => submission.with_key(key),
        None => submission,
    }
}

/// What is known of a job at its end, and what could not be written.
type Followed = (Result<JobResult, Stopped>, Vec<String>);

/// As [`follow`], with this command's terminal as that of the job. Returns `None` if the keys to detach
/// were typed.
async fn follow_terminal(
    dispatcher: &Dispatcher,
    mut job: Job,
    args: &RunArgs,
) -> Option<Followed> {
    let id = job.id().clone();
    let (events, logs) = (job.take_events(), job.take_logs());
    let progress = ProgressLine::new(args.quiet);
    let unread = Unread::Cancel(job.canceller(), args.quiet);
    let spec = AttachSpec::default().stdin().output(AttachOutput::Unlogged);
    let shown = async {
        let mut attachment = match dispatcher.attach_to(&id, spec).await {
            Ok(attachment) => attachment,
            Err(error) => {
                // If it has ended already, its output is in its log.
                if error.kind() != ErrorKind::NotFound {
                    output::warn(&format!("the job's terminal is out of reach: {error}"));
                }
                Attachment::new(None)
            }
        };
        progress.clear();
        let live = attachment.output.is_some();
        let output = match attachment.output.take() {
            Some(shown) => {
                drop(logs);
                shown.filter_map(|chunk| std::future::ready(shown_piece(chunk))).boxed()
            }
            None => futures::stream::iter(logs).flatten().boxed(),
        };
        let manner = terminal::Manner {
            interactive: args.job.interactive,
            keys: &args.detach_keys,
            // What it has shown before is in no log yet, such as a shell's first prompt.
            redraw: live,
        };
        // Before any output, which the terminal would change otherwise.
        let session =
            terminal::Session::begin(attachment.sizes.take(), attachment.stdin.take(), manner);
        let typing = async { session?.until_detached().await };
        let typing = async {
            if let Err(error) = typing.await {
                output::complain(&error);
                std::future::pending::<()>().await;
            }
        };
        let chunks = output.map(Ok::<_, Infallible>);
        tokio::select! {
            biased;
            Ok(undelivered) = Relay::new().pass_on(chunks, &progress, unread) => Ok(undelivered),
            () = typing => Err(Left),
        }
    };
    let ended = async {
        let ((), result) = tokio::join!(progress.show_all(events, args.quiet), job.wait());
        Ok::<_, Left>(result)
    };
    let (undelivered, result) = futures::future::try_join(shown, ended).await.ok()?;
    Some((result, undelivered))
}

/// The keys to detach were typed.
struct Left;

/// Returns a piece of what a terminal shows. Warns if what follows is missing.
fn shown_piece(piece: longshore::Result<LogChunk>) -> Option<LogChunk> {
    match piece {
        Ok(chunk) => Some(chunk),
        Err(error) => {
            output::warn(&format!(
                "what the job's terminal shows from here on is missing: {error}; `longshore logs` \
                 has all finished lines"
            ));
            None
        }
    }
}

/// Passes the job's output on and shows its progress until the job ends. Also returns what could not
/// be written.
async fn follow(mut job: Job, quiet: bool) -> Followed {
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

//! `longshore attach`.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use longshore::job::{AttachOutput, AttachSpec, Attachment, Stopped};
use longshore::journal::Record;
use longshore::runner::Backoff;
use longshore::{Dispatcher, ErrorKind, Job, JobId, JobResult};
use tokio::time::sleep;

use crate::args::AttachArgs;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::signal_proxy::SignalProxy;
use crate::signals::Interruption;
use crate::stdin::Input;
use crate::{jobs, output, settings, summary, terminal};

/// The first and the longest pause before a broken connection is made again.
const REATTACH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Prints the output of a running job from now on, gives it this command's stdin if nobody gives it
/// one, and passes signals on. The exit code is the job's own.
pub async fn attach(args: &AttachArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.config)?;
    let record = jobs::find(&dispatcher, &args.job).await?;
    let id = &record.id;
    if let Some(result) = &record.result {
        let outcome = &result.outcome;
        return Err(CliError::failed(format!(
            "job {id} has ended: it {outcome}; `longshore logs {id}` prints its output"
        )));
    }
    let types = record.spec.tty && record.spec.stdin && !args.no_stdin;
    if types {
        terminal::check_input()?;
    }
    // Before anything is followed, so that no signal is lost. A terminal passes on keys instead.
    let proxy = (args.sig_proxy && !record.spec.tty)
        .then(|| SignalProxy::watch(&dispatcher, id))
        .transpose()?;
    let mut interruption = if proxy.is_none() { Some(Interruption::watch()?) } else { None };
    let job = follow(&dispatcher, &record, args).await?;
    let proxy = proxy.map(|proxy| proxy.pass_on(job.canceller()));
    let stopped = async {
        match &mut interruption {
            Some(interruption) => interruption.seen().await,
            None => std::future::pending().await,
        }
    };
    let code = tokio::select! {
        biased;
        code = stopped => {
            output::say(&format!("job {id} still runs"));
            Ok(code)
        }
        code = to_the_end(&dispatcher, id, job, args, types) => match code? {
            Some(code) => Ok(code),
            None => {
                output::say(&format!("job {id} still runs"));
                Ok(0)
            }
        },
    };
    drop(proxy);
    code
}

/// Follows the job, and gives it this command's stdin if the job has one that nobody has opened.
async fn follow(
    dispatcher: &Dispatcher,
    record: &Record,
    args: &AttachArgs,
) -> Result<Job, CliError> {
    let id = &record.id;
    // The process that owns a job gives it its stdin.
    let once = record.spec.stdin && !record.spec.tty;
    let unopened = once && !args.no_stdin && !dispatcher.is_in_hand(id).await?;
    if let Some(input) = Input::own().filter(|_| unopened) {
        match dispatcher.attach_with_stdin(id, input.reader()).await {
            Ok(job) => return Ok(job),
            Err(error) => output::warn(&format!("the job does not get this stdin: {error}")),
        }
    }
    Ok(dispatcher.attach(id).await?)
}

/// Passes the output on from now on, to the end of the job. Returns `None` if the keys to detach were
/// typed.
async fn to_the_end(
    dispatcher: &Dispatcher,
    id: &JobId,
    job: Job,
    args: &AttachArgs,
    types: bool,
) -> Result<Option<u8>, CliError> {
    let progress = ProgressLine::new(true);
    let spec = AttachSpec::default().output(AttachOutput::FromNow);
    let spec = if types { spec.stdin() } else { spec };
    let output = async {
        let mut broken = false;
        let mut backoff = Backoff::new(REATTACH.0, REATTACH.1);
        loop {
            let Attachment { output, stdin, sizes, .. } = match dispatcher.attach_to(id, spec).await
            {
                Ok(attached) => attached,
                // It has ended.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
                Err(error) if broken && error.kind() == ErrorKind::Unavailable => {
                    sleep(backoff.next_pause()).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            backoff.reset();
            let has_terminal = sizes.is_some();
            // Why the output broke off, if that is its last item.
            let fault = RefCell::new(None);
            let chunks = futures::stream::iter(output).flatten().filter_map(|item| {
                let (chunk, error) = match item {
                    Ok(chunk) => (Some(Ok::<_, Infallible>(chunk)), None),
                    Err(error) => (None, Some(error)),
                };
                fault.replace(error);
                std::future::ready(chunk)
            });
            let manner =
                terminal::Manner { interactive: types, keys: &args.detach_keys, redraw: true };
            let session = terminal::Session::begin(sizes, stdin, manner)?;
            tokio::select! {
                biased;
                Ok(_) = Relay::new().pass_on(chunks, &progress, Unread::Stop) => {}
                left = session.until_detached() => return left.map(|()| false),
            }
            match fault.take() {
                None => return Ok(true),
                Some(error) if !has_terminal && error.kind() == ErrorKind::Unavailable => {
                    output::warn(&format!(
                        "a part of the job's output may be missing here: {error}"
                    ));
                }
                Some(error) => return Err(CliError::from(error)),
            }
            broken = true;
        }
    };
    let ended = async { Ok::<_, CliError>(job.wait().await) };
    let mut ended = std::pin::pin!(ended);
    let mut output = std::pin::pin!(output);
    let goes_on = tokio::select! {
        biased;
        read = &mut output => read?,
        // All output follows soon.
        result = &mut ended => {
            output.await?;
            return told(result?).map(Some);
        }
    };
    match goes_on {
        true => told(ended.await?).map(Some),
        false => Ok(None),
    }
}

/// Prints how the job ended. Returns its exit code.
fn told(result: Result<JobResult, Stopped>) -> Result<u8, CliError> {
    let result = result?;
    summary::say(&result, summary::seconds_run(&result), false);
    Ok(summary::exit_code(&result))
}

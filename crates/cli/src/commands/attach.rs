//! `longshore attach`.

use futures::StreamExt;
use longshore::job::LogPosition;
use longshore::journal::Record;
use longshore::{Dispatcher, Error, ErrorKind, Job, JobId};

use crate::args::AttachArgs;
use crate::error::CliError;
use crate::progress::ProgressLine;
use crate::relay::{Relay, Unread};
use crate::signal_proxy::SignalProxy;
use crate::signals::Interruption;
use crate::stdin::Input;
use crate::{jobs, output, settings, summary};

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
    // Before anything is followed, so that no signal is lost.
    let proxy = args.sig_proxy.then(|| SignalProxy::watch(&dispatcher, id)).transpose()?;
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
        code = to_the_end(&dispatcher, id, job) => code,
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
    let unopened = record.spec.stdin && !args.no_stdin && !dispatcher.is_in_hand(id).await?;
    if let Some(input) = Input::own().filter(|_| unopened) {
        match dispatcher.attach_with_stdin(id, input.reader()).await {
            Ok(job) => return Ok(job),
            Err(error) => output::warn(&format!("the job does not get this stdin: {error}")),
        }
    }
    Ok(dispatcher.attach(id).await?)
}

async fn to_the_end(dispatcher: &Dispatcher, id: &JobId, job: Job) -> Result<u8, CliError> {
    let from = end_of_output(dispatcher, id).await?;
    let progress = ProgressLine::new(true);
    let output = async {
        let chunks = match dispatcher.logs(id, from, true).await {
            Ok(chunks) => chunks,
            // It has ended before its start.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok::<_, Error>(()),
            Err(error) => return Err(error),
        };
        Relay::new().pass_on(chunks, &progress, Unread::Stop).await.map(drop)
    };
    let (read, result) = tokio::join!(output, job.wait());
    read?;
    let result = result?;
    summary::say(&result, summary::seconds_run(&result), false);
    Ok(summary::exit_code(&result))
}

/// Returns how much output the job has written until now.
async fn end_of_output(dispatcher: &Dispatcher, id: &JobId) -> Result<LogPosition, CliError> {
    let mut end = LogPosition::START;
    let mut chunks = match dispatcher.logs(id, LogPosition::START, false).await {
        Ok(chunks) => chunks,
        // It has not started.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(end),
        Err(error) => return Err(error.into()),
    };
    while let Some(chunk) = chunks.next().await {
        end.advance(&chunk?);
    }
    Ok(end)
}

//! `longshore run --detach`.

use std::time::Instant;

use longshore::{Detached, DetachedJob, Dispatcher, JobId, JobResult, Outcome, Submission};

use crate::commands::run;
use crate::error::CliError;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{output, summary};

/// Launches a job and prints its id once it has started.
pub async fn detach(
    dispatcher: &Dispatcher,
    submission: Submission,
    quiet: bool,
) -> Result<u8, CliError> {
    let begun = Instant::now();
    let own = submission.id.clone();
    let job = dispatcher.submit_detached(submission).await?;
    let signals = Signals::watch(job.canceller())?;
    let id = job.id().clone();
    if own.as_ref() != Some(&id) && !quiet {
        run::say_known(&id);
    }
    let left = to_the_start(job, quiet).await;
    drop(signals);
    match left {
        Detached::Ended(result) => {
            if !quiet {
                summary::say(&result, Some(begun.elapsed().as_secs_f64()));
            }
            told(&id, &result)
        }
        _ => {
            if !quiet {
                say_started(dispatcher, &id).await;
            }
            output::print(&format!("{id}\n"))
        }
    }
}

async fn to_the_start(mut job: DetachedJob, quiet: bool) -> Detached {
    let events = job.take_events();
    let progress = Progress::new(quiet);
    let ((), left) = tokio::join!(run::show(events, &progress, quiet), job.left());
    progress.clear();
    left
}

/// A job that has already ended by itself was launched well, whatever it exited with.
fn told(id: &JobId, result: &JobResult) -> Result<u8, CliError> {
    match &result.outcome {
        Outcome::Exited { .. }
        | Outcome::OutOfMemory { .. }
        | Outcome::DeadlineExceeded { .. }
        | Outcome::Evicted { .. } => output::print(&format!("{id}\n")),
        _ => Ok(run::exit_code(result)),
    }
}

async fn say_started(dispatcher: &Dispatcher, id: &JobId) {
    // The job runs, whether or not this can be read.
    let Ok(record) = dispatcher.record(id.as_str()).await else { return };
    for passed in &record.passed_over {
        output::say(&summary::passed_over(passed));
    }
    if let Some(attempt) = record.committed() {
        output::say(&format!("{}: the job has started", attempt.handle.runner));
    }
}

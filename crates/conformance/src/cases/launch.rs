//! `launch` and `handle`.

use std::sync::Arc;

use longshore_core::{
    Attempt, Capability, ErrorKind, EventSink, LaunchContext, RejectReason, Settled,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{COUNT, never_started, nothing_left_of, refused, with_command};
use crate::bench::{Bench, Directory as JobDirectory};
use crate::case::Need::{Can, Directory};
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::late::wait_for_late_starts;

cases! { "launch":
    it_returns_once_the_job_has_started,
    the_handle_is_the_same_in_every_instance,
    launched_again_while_it_runs_it_starts_once [Directory],
    launched_again_after_its_end_it_starts_once [Directory],
    a_command_that_is_not_there_is_rejected_as_not_found,
    a_command_that_is_not_executable_is_rejected_as_such,
    a_working_directory_that_is_not_there_is_rejected [Can(Capability::Process)],
    past_its_deadline_it_is_refused_and_nothing_is_left [Directory],
    cancelled_before_it_began_it_is_refused_and_nothing_is_left [Directory],
    what_it_reports_as_started_is_never_fenced,
    progress_that_nobody_takes_does_not_hold_it_up,
    a_job_that_the_runner_cannot_run_is_unsupported,
}

async fn it_returns_once_the_job_has_started(bench: Arc<Bench>) -> Checked {
    // The job ends only when it is removed, so a launch that waits for its end never returns.
    let run = bench.start_script("echo here; sleep 600").await?;
    same("the handle", run.handle(), &run.runner.handle(&run.attempt))?;
    check(run.started.started_at.is_some(), || "launch gave no time of the start".to_owned())?;
    run.says("here").await
}

async fn the_handle_is_the_same_in_every_instance(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let (one, two) = (bench.runner().await?, bench.runner().await?);
    let handle = one.handle(&attempt);
    same("the second instance's handle", &two.handle(&attempt), &handle)?;
    same("the handle's runner", &handle.runner, one.name())?;
    same("the handle's attempt", &handle.attempt, &attempt.id)?;
    let text = serde_json::to_string(&handle)?;
    same("the handle read back from JSON", &serde_json::from_str(&text)?, &handle)
}

async fn launched_again_while_it_runs_it_starts_once(bench: Arc<Bench>) -> Checked {
    let wait = "until [ -e \"$LONGSHORE_JOB_DIR/input/go\" ]; do sleep 0.1; done";
    let (spec, directory) = bench.job_with_directory(&format!("{COUNT}; echo on; {wait}"))?;
    let attempt = bench.attempt(spec);
    let first = bench.launch(&attempt).await?;
    first.says("on").await?;
    let second = bench.launch(&attempt).await?;
    same("the second launch's handle", second.handle(), first.handle())?;
    directory.give("go", b"")?;
    let outcome = second.end().await?.outcome;
    check(outcome.is_success(), || format!("the job {outcome}"))?;
    same("starts", &directory.lines("starts")?, &1)
}

async fn launched_again_after_its_end_it_starts_once(bench: Arc<Bench>) -> Checked {
    let (spec, directory) = bench.job_with_directory(&format!("{COUNT}; exit 3"))?;
    let attempt = bench.attempt(spec);
    let first = bench.launch(&attempt).await?.finish().await?;
    let second = bench.launch(&attempt).await?.finish().await?;
    same("the second launch's outcome", &second.report.outcome, &first.report.outcome)?;
    same("starts", &directory.lines("starts")?, &1)
}

async fn a_command_that_is_not_there_is_rejected_as_not_found(bench: Arc<Bench>) -> Checked {
    rejected(&bench, &["/no/such/command"], RejectReason::CommandNotFound).await
}

async fn a_command_that_is_not_executable_is_rejected_as_such(bench: Arc<Bench>) -> Checked {
    rejected(&bench, &["/etc/passwd"], RejectReason::CommandNotExecutable).await
}

async fn rejected(bench: &Bench, command: &[&str], reason: RejectReason) -> Checked {
    let attempt = bench.attempt(with_command(bench, command, &[]));
    let runner = bench.runner().await?;
    let error = refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    same(&format!("the kind of `{error}`"), &error.kind(), &ErrorKind::Rejected(reason))?;
    nothing_left_of(bench, &attempt).await
}

async fn a_working_directory_that_is_not_there_is_rejected(bench: Arc<Bench>) -> Checked {
    // A container's runtime creates a missing directory (runc does, for Docker).
    let mut spec = bench.fixture().job("exit 0");
    if let Some(process) = &mut spec.process {
        process.working_dir = Some("/no/such/folder".to_owned());
    }
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let error = refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    check(matches!(error.kind(), ErrorKind::Rejected(_)), || {
        format!("expected Rejected, seen {}: {error}", error.kind())
    })
}

async fn past_its_deadline_it_is_refused_and_nothing_is_left(bench: Arc<Bench>) -> Checked {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let context = LaunchContext::new(Instant::now());
    let error = refused(bench.try_launch(runner.as_ref(), &attempt, &context).await?)?;
    same(&format!("the kind of `{error}`"), &error.kind(), &ErrorKind::Unavailable)?;
    never_starts(&bench, &attempt, &directory).await
}

async fn cancelled_before_it_began_it_is_refused_and_nothing_is_left(bench: Arc<Bench>) -> Checked {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let context = bench.context();
    context.cancel.cancel();
    let error = refused(bench.try_launch(runner.as_ref(), &attempt, &context).await?)?;
    same(&format!("the kind of `{error}`"), &error.kind(), &ErrorKind::Cancelled)?;
    never_starts(&bench, &attempt, &directory).await
}

/// Fails if a refused attempt is on the backend, or starts late. Settling comes last, as the fence
/// would hide a late start.
async fn never_starts(bench: &Bench, attempt: &Attempt, directory: &JobDirectory) -> Checked {
    nothing_left_of(bench, attempt).await?;
    wait_for_late_starts(bench, bench.latency()?).await?;
    same("starts of a job that was refused", &directory.lines("starts")?, &0)?;
    never_started(bench, attempt).await
}

async fn what_it_reports_as_started_is_never_fenced(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("sleep 600").await?;
    let other = bench.runner().await?;
    let settled = bench.settle(other.as_ref(), run.handle()).await?;
    same("settle right after launch returned", &settled, &Settled::MayHaveStarted)
}

async fn progress_that_nobody_takes_does_not_hold_it_up(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    let (sender, _kept_and_never_read) = mpsc::channel(1);
    let mut context = bench.context();
    context.events = EventSink::new(sender);
    bench.try_launch(runner.as_ref(), &attempt, &context).await??;
    Ok(())
}

async fn a_job_that_the_runner_cannot_run_is_unsupported(bench: Arc<Bench>) -> Checked {
    let Some(spec) = super::plan::other_way(&bench)? else { return Ok(()) };
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let error = refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    same(&format!("the kind of `{error}`"), &error.kind(), &ErrorKind::Unsupported)
}

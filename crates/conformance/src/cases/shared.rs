//! Helpers for cases of several groups.

use std::time::Duration;

use longshore_core::{Attempt, Error, Handle, JobSpec, LaunchError, Settled, Started};
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::bench::Bench;
use crate::failure::{Checked, check, same};

/// A script that appends a line to `output/starts` each time the job starts.
pub(super) const COUNT: &str = "echo started >> \"$LONGSHORE_JOB_DIR/output/starts\"";

/// The pause between two calls of `adopt`.
const ADOPTED_AGAIN: Duration = Duration::from_millis(200);

/// Returns a job that runs `command` with `args`, in the way that the fixture's jobs run.
pub(super) fn with_command(bench: &Bench, command: &[&str], args: &[&str]) -> JobSpec {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mut spec = bench.fixture().job("exit 0");
    if let Some(container) = &mut spec.container {
        container.command = texts(command);
        container.args = texts(args);
    }
    if let Some(process) = &mut spec.process {
        process.command = texts(command);
        process.args = texts(args);
    }
    spec
}

/// Returns the reason of a launch that was `Refused`; any other answer is a failure.
pub(super) fn refused(answer: Result<Started, LaunchError>) -> Checked<Error> {
    match answer {
        Err(LaunchError::Refused(error)) => Ok(error),
        Err(LaunchError::Indeterminate(error)) => {
            Err(Failure::new(format!("expected Refused, seen Indeterminate: {error}")))
        }
        Ok(started) => Err(Failure::new(format!("expected Refused, seen {started:?}"))),
    }
}

/// Returns the attempts of the suite's installation that the backend has.
pub(super) async fn adopted(bench: &Bench) -> Checked<Vec<Handle>> {
    let runner = bench.runner().await?;
    Ok(bench.wait("adopt to answer", runner.adopt(bench.installation())).await??)
}

/// Fails if `adopt` still finds `attempt`.
pub(super) async fn nothing_left_of(bench: &Bench, attempt: &Attempt) -> Checked {
    let found = adopted(bench).await?;
    check(found.iter().all(|handle| handle.attempt != attempt.id), || {
        format!("adopt still finds {}", attempt.id)
    })
}

/// Fails if `adopt` still finds `attempt` when the patience ends. A launch that gives up answers soon,
/// and its backend may take longer to remove what it had prepared.
pub(super) async fn nothing_stays_of(bench: &Bench, attempt: &Attempt) -> Checked {
    let deadline = Instant::now() + bench.patience();
    loop {
        let left = nothing_left_of(bench, attempt).await;
        if left.is_ok() || Instant::now() >= deadline {
            return left;
        }
        sleep(ADOPTED_AGAIN).await;
    }
}

/// Fails if a refused attempt is on the backend or can still start.
pub(super) async fn never_started(bench: &Bench, attempt: &Attempt) -> Checked {
    nothing_left_of(bench, attempt).await?;
    let runner = bench.runner().await?;
    let settled = bench.settle(runner.as_ref(), &runner.handle(attempt)).await?;
    same("settle after a refusal", &settled, &Settled::NeverStarted)
}

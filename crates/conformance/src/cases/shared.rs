//! What cases of several groups do.

use longshore_core::{Attempt, Error, Handle, JobSpec, LaunchError, Started};

use crate::Failure;
use crate::bench::Bench;
use crate::failure::{Checked, check};

/// Leaves a line in the job directory each time the job starts.
pub(super) const COUNT: &str = "echo started >> \"$LONGSHORE_JOB_DIR/output/starts\"";

/// A job that runs `command` with `args`, in whichever way the fixture's jobs run.
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

/// Fails unless the launch was refused: proven that nothing started. Gives the reason.
pub(super) fn refused(answer: Result<Started, LaunchError>) -> Checked<Error> {
    match answer {
        Err(LaunchError::Refused(error)) => Ok(error),
        Err(LaunchError::Indeterminate(error)) => {
            Err(Failure::new(format!("expected Refused, seen Indeterminate: {error}")))
        }
        Ok(started) => Err(Failure::new(format!("expected Refused, seen {started:?}"))),
    }
}

/// What the backend has of the suite's installation.
pub(super) async fn adopted(bench: &Bench) -> Checked<Vec<Handle>> {
    let runner = bench.runner().await?;
    Ok(bench.wait("adopt to answer", runner.adopt(bench.installation())).await??)
}

/// Fails if the backend still has something of `attempt`.
pub(super) async fn nothing_left_of(bench: &Bench, attempt: &Attempt) -> Checked {
    let found = adopted(bench).await?;
    check(found.iter().all(|handle| handle.attempt != attempt.id), || {
        format!("adopt still finds {}", attempt.id)
    })
}

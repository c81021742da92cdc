//! `launch` and `handle`.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{ErrorKind, LaunchError, RejectReason};

use crate::Failure;
use crate::bench::Bench;
use crate::case::Need::Directory;
use crate::case::cases;
use crate::failure::{Checked, check, same};

/// Leaves a line in the job directory each time the job starts.
const COUNT: &str = "echo started >> \"$LONGSHORE_JOB_DIR/output/starts\"";

cases! { "launch":
    it_returns_once_the_job_has_started,
    the_handle_is_the_same_in_every_instance,
    launched_again_while_it_runs_it_starts_once [Directory],
    launched_again_after_its_end_it_starts_once [Directory],
    launched_by_two_instances_at_once_it_starts_once [Directory],
    a_command_that_is_not_there_is_rejected_as_not_found,
}

async fn it_returns_once_the_job_has_started(bench: Arc<Bench>) -> Checked {
    // It ends only when it is removed: launch must not wait for the end.
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
    let script =
        format!("{COUNT}; echo on; until [ -e $LONGSHORE_JOB_DIR/input/go ]; do sleep 0.1; done");
    let (spec, directory) = bench.job_with_directory(&script)?;
    let attempt = bench.attempt(spec);
    let first = bench.launch(&attempt).await?;
    first.says("on").await?;
    let second = bench.launch(&attempt).await?;
    same("the second launch's handle", second.handle(), first.handle())?;
    directory.give("go", b"")?;
    check(second.end().await?.outcome.is_success(), || "the job failed".to_owned())?;
    same("starts", &directory.lines("starts")?, &1)
}

async fn launched_again_after_its_end_it_starts_once(bench: Arc<Bench>) -> Checked {
    let (spec, directory) = bench.job_with_directory(&format!("{COUNT}; exit 3"))?;
    let attempt = bench.attempt(spec);
    let first = bench.launch(&attempt).await?.finish().await?;
    let second = bench.launch(&attempt).await?.finish().await?;
    same("the second launch's report", &second.report, &first.report)?;
    same("starts", &directory.lines("starts")?, &1)
}

async fn launched_by_two_instances_at_once_it_starts_once(bench: Arc<Bench>) -> Checked {
    let (spec, directory) = bench.job_with_directory(&format!("{COUNT}; exit 4"))?;
    let attempt = bench.attempt(spec);
    let (one, two) = futures::try_join!(bench.launch(&attempt), bench.launch(&attempt))?;
    let (one, two) = futures::try_join!(one.finish(), two.finish())?;
    same("the second launch's report", &two.report, &one.report)?;
    same("starts", &directory.lines("starts")?, &1)
}

async fn a_command_that_is_not_there_is_rejected_as_not_found(bench: Arc<Bench>) -> Checked {
    let spec = crate::cases::with_command(&bench, &["/no/such/command"], &[]);
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let mut context = bench.context();
    context.deadline += Duration::from_secs(60);
    match bench.try_launch(runner.as_ref(), &attempt, &context).await? {
        Err(LaunchError::Refused(error)) => same(
            &format!("the kind of `{error}`"),
            &error.kind(),
            &ErrorKind::Rejected(RejectReason::CommandNotFound),
        ),
        other => Err(Failure::new(format!("expected a refusal, seen {other:?}"))),
    }
}

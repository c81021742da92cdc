//! The job's `timeout`.

use std::sync::Arc;

use longshore_core::{Capability, HumanDuration, Outcome};

use crate::bench::{Bench, Finished};
use crate::case::Need::{Can, Directory};
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::wait::until;

cases! { "timeout":
    a_job_past_its_timeout_ends_as_deadline_exceeded,
    a_job_past_its_timeout_is_told_with_term_first,
    a_job_past_its_timeout_that_ignores_term_is_killed,
    a_job_that_ends_before_its_timeout_keeps_its_code,
    the_timeout_is_kept_by_the_events_of_another_instance,
    the_timeout_is_kept_while_nobody_follows [Directory, Can(Capability::KeepTimeout)],
}

async fn run(bench: &Bench, script: &str, seconds: u64) -> Checked<Finished> {
    let mut spec = bench.fixture().job(script);
    spec.timeout = Some(HumanDuration::from_secs(seconds));
    spec.grace_period = Some(HumanDuration::from_secs(2));
    bench.run(spec).await
}

fn exceeded(outcome: &Outcome, codes: &[i32]) -> Checked {
    let fits = match outcome {
        Outcome::DeadlineExceeded { code } => code.is_none_or(|code| codes.contains(&code)),
        _ => false,
    };
    check(fits, || format!("expected DeadlineExceeded with a code of {codes:?}, seen {outcome:?}"))
}

async fn a_job_past_its_timeout_ends_as_deadline_exceeded(bench: Arc<Bench>) -> Checked {
    let finished = run(&bench, "echo on; sleep 600", 2).await?;
    exceeded(&finished.report.outcome, &[143, 137])?;
    same("the output before it", &finished.output.text(), &"on\n".to_owned())?;
    same("the command's exit code", &finished.report.outcome.exit_code(), &124)
}

async fn a_job_past_its_timeout_is_told_with_term_first(bench: Arc<Bench>) -> Checked {
    let script = "trap 'echo told; exit 9' TERM; echo on; while :; do sleep 0.1; done";
    let finished = run(&bench, script, 2).await?;
    exceeded(&finished.report.outcome, &[9])?;
    same("the output", &finished.output.text(), &"on\ntold\n".to_owned())
}

async fn a_job_past_its_timeout_that_ignores_term_is_killed(bench: Arc<Bench>) -> Checked {
    let finished = run(&bench, "trap '' TERM; while :; do sleep 0.1; done", 2).await?;
    exceeded(&finished.report.outcome, &[137])
}

async fn a_job_that_ends_before_its_timeout_keeps_its_code(bench: Arc<Bench>) -> Checked {
    let finished = run(&bench, "sleep 1; exit 13", 600).await?;
    same("the exit code", &finished.report.outcome.exit_code(), &13)
}

async fn the_timeout_is_kept_by_the_events_of_another_instance(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("sleep 600");
    spec.timeout = Some(HumanDuration::from_secs(2));
    spec.grace_period = Some(HumanDuration::from_secs(1));
    let run = bench.start(spec).await?;
    let elsewhere = run.seen_by(bench.runner().await?);
    exceeded(&elsewhere.end().await?.outcome, &[143, 137])
}

async fn the_timeout_is_kept_while_nobody_follows(bench: Arc<Bench>) -> Checked {
    let script = "trap 'echo told >> \"$LONGSHORE_JOB_DIR/output/told\"; exit 9' TERM; \
                  while :; do sleep 0.1; done";
    let (mut spec, directory) = bench.job_with_directory(script)?;
    spec.timeout = Some(HumanDuration::from_secs(2));
    let run = bench.start(spec).await?;
    until(bench.patience(), "the job to receive TERM while no stream follows it", || async {
        Ok((directory.lines("told")? > 0).then_some(()))
    })
    .await?;
    exceeded(&run.end().await?.outcome, &[9])
}

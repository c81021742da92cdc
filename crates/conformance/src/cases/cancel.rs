//! `cancel`.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Capability, Outcome};

use crate::bench::{Bench, Run};
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "cancel":
    a_job_that_honours_term_ends_as_cancelled_with_its_own_code,
    a_job_that_ignores_term_is_killed_after_the_grace_period,
    a_job_that_does_nothing_about_term_ends_as_cancelled,
    with_no_grace_a_job_is_killed_at_once,
    a_second_call_with_a_shorter_grace_shortens_it [Can(Capability::ShortenGrace)],
    called_twice_it_is_ok,
    a_job_cancelled_by_another_instance_ends_as_cancelled,
    a_job_that_had_ended_keeps_its_outcome,
    a_job_that_was_never_launched_is_ok,
    a_job_that_was_removed_is_ok,
}

const IGNORES_TERM: &str = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
const HONOURS_TERM: &str = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";

async fn ready(bench: &Bench, script: &str) -> Checked<Run> {
    let run = bench.start_script(script).await?;
    run.says("ready").await?;
    Ok(run)
}

async fn cancel(bench: &Bench, run: &Run, grace: Duration) -> Checked {
    let cancelled = run.runner.cancel(run.handle(), grace);
    Ok(bench.wait("cancel to answer", cancelled).await??)
}

async fn ends_with(run: &Run, code: i32) -> Checked {
    same("the outcome", &run.end().await?.outcome, &Outcome::Cancelled { code: Some(code) })
}

async fn a_job_that_honours_term_ends_as_cancelled_with_its_own_code(bench: Arc<Bench>) -> Checked {
    // It needs almost a second of the grace period, however fast the machine is.
    let script = "trap 'sleep 0.3; sleep 0.3; sleep 0.3; exit 7' TERM; echo ready; \
                  while :; do sleep 0.1; done";
    let run = ready(&bench, script).await?;
    cancel(&bench, &run, bench.patience()).await?;
    ends_with(&run, 7).await
}

async fn a_job_that_ignores_term_is_killed_after_the_grace_period(bench: Arc<Bench>) -> Checked {
    let run = ready(&bench, IGNORES_TERM).await?;
    let asked = tokio::time::Instant::now();
    cancel(&bench, &run, Duration::from_secs(2)).await?;
    ends_with(&run, 137).await?;
    // Clocks differ, so a slightly shorter time is not an early KILL.
    check(asked.elapsed() >= Duration::from_millis(1900), || {
        format!("it was killed after {:?}, before its grace period of 2s ended", asked.elapsed())
    })
}

async fn a_job_that_does_nothing_about_term_ends_as_cancelled(bench: Arc<Bench>) -> Checked {
    let run = ready(&bench, "echo ready; sleep 600").await?;
    // TERM ends it, long before the grace period is over: the job is not process 1, for which the
    // kernel would ignore TERM.
    cancel(&bench, &run, bench.patience() * 4).await?;
    ends_with(&run, 143).await
}

async fn with_no_grace_a_job_is_killed_at_once(bench: Arc<Bench>) -> Checked {
    let run = ready(&bench, IGNORES_TERM).await?;
    cancel(&bench, &run, Duration::ZERO).await?;
    ends_with(&run, 137).await
}

async fn a_second_call_with_a_shorter_grace_shortens_it(bench: Arc<Bench>) -> Checked {
    let run = ready(&bench, IGNORES_TERM).await?;
    // A cancel that waits for the end of the grace period exceeds the suite's patience.
    cancel(&bench, &run, bench.patience() * 20).await?;
    cancel(&bench, &run, Duration::from_secs(1)).await?;
    ends_with(&run, 137).await
}

async fn called_twice_it_is_ok(bench: Arc<Bench>) -> Checked {
    let run = ready(&bench, HONOURS_TERM).await?;
    cancel(&bench, &run, bench.patience()).await?;
    cancel(&bench, &run, bench.patience()).await?;
    ends_with(&run, 7).await?;
    cancel(&bench, &run, bench.patience()).await?;
    ends_with(&run, 7).await
}

async fn a_job_cancelled_by_another_instance_ends_as_cancelled(bench: Arc<Bench>) -> Checked {
    let run = ready(&bench, HONOURS_TERM).await?;
    let elsewhere = run.seen_by(bench.runner().await?);
    cancel(&bench, &elsewhere, bench.patience()).await?;
    // An instance that neither launched nor cancelled it sees the same.
    let third = run.seen_by(bench.runner().await?);
    futures::try_join!(ends_with(&run, 7), ends_with(&elsewhere, 7), ends_with(&third, 7))?;
    Ok(())
}

async fn a_job_that_had_ended_keeps_its_outcome(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 12").await?;
    run.end().await?;
    cancel(&bench, &run, Duration::from_secs(1)).await?;
    let expected = Outcome::Exited { code: 12, signal: None };
    same("the outcome", &run.end().await?.outcome, &expected)?;
    let elsewhere = run.seen_by(bench.runner().await?);
    same("another instance's outcome", &elsewhere.end().await?.outcome, &expected)
}

async fn a_job_that_was_never_launched_is_ok(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    let handle = runner.handle(&attempt);
    let cancelled = runner.cancel(&handle, Duration::from_secs(1));
    Ok(bench.wait("cancel to answer", cancelled).await??)
}

async fn a_job_that_was_removed_is_ok(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 0").await?;
    run.end().await?;
    bench.wait("remove to answer", run.runner.remove(run.handle())).await??;
    cancel(&bench, &run, Duration::from_secs(1)).await
}

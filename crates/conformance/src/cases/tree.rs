//! Every process that a job started ends with the job.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{HumanDuration, Outcome};

use crate::bench::{Bench, Directory as JobDirectory, Run};
use crate::case::Need::Directory;
use crate::case::cases;
use crate::failure::{Checked, check};
use crate::wait::{until, until_still};

cases! { "tree":
    a_cancelled_job_leaves_no_grandchild_in_a_session_of_its_own [Directory],
    a_cancelled_job_leaves_no_grandchild_that_ignores_term [Directory],
    a_cancelled_job_that_honours_term_leaves_no_grandchild_that_ignores_it [Directory],
    a_job_past_its_timeout_leaves_no_grandchild [Directory],
    a_removed_job_leaves_no_grandchild [Directory],
    a_job_that_has_ended_leaves_no_grandchild [Directory],
}

/// Appends to output/beat forever, and ignores TERM.
const BEAT: &str =
    "trap \"\" TERM; while :; do echo x >> \"$LONGSHORE_JOB_DIR/output/beat\"; sleep 0.1; done";

async fn with_grandchild(bench: &Bench, how: &str, then: &str) -> Checked<(Run, JobDirectory)> {
    let script = format!("{how} sh -c '{BEAT}' & {then}");
    let (mut spec, directory) = bench.job_with_directory(&script)?;
    spec.timeout = Some(HumanDuration::from_secs(600));
    let run = bench.start(spec).await?;
    beats(bench, &directory).await?;
    Ok((run, directory))
}

async fn beats(bench: &Bench, directory: &JobDirectory) -> Checked {
    until(bench.patience(), "the grandchild's first beat", || async {
        Ok((directory.lines("beat")? > 0).then_some(()))
    })
    .await
}

/// Fails if the grandchild is alive. A dead one misses fifteen beats.
async fn is_still(bench: &Bench, directory: &JobDirectory) -> Checked {
    let still = Duration::from_millis(1500);
    let what = "the grandchild's beat to stop: it outlived the job";
    until_still(still, bench.patience(), what, || async { directory.lines("beat") }).await?;
    Ok(())
}

async fn cancelled(bench: &Bench, how: &str, then: &str) -> Checked {
    let (run, directory) = with_grandchild(bench, how, then).await?;
    let grace = Duration::from_secs(1);
    bench.wait("cancel to answer", run.runner.cancel(run.handle(), grace)).await??;
    let outcome = run.end().await?.outcome;
    check(matches!(outcome, Outcome::Cancelled { .. }), || format!("the job {outcome}"))?;
    is_still(bench, &directory).await
}

const WAITS: &str = "while :; do sleep 0.1; done";

async fn a_cancelled_job_leaves_no_grandchild_in_a_session_of_its_own(
    bench: Arc<Bench>,
) -> Checked {
    cancelled(&bench, "setsid", WAITS).await
}

async fn a_cancelled_job_leaves_no_grandchild_that_ignores_term(bench: Arc<Bench>) -> Checked {
    cancelled(&bench, "", WAITS).await
}

async fn a_cancelled_job_that_honours_term_leaves_no_grandchild_that_ignores_it(
    bench: Arc<Bench>,
) -> Checked {
    cancelled(&bench, "setsid", "trap 'exit 0' TERM; while :; do sleep 0.1; done").await
}

async fn a_job_past_its_timeout_leaves_no_grandchild(bench: Arc<Bench>) -> Checked {
    let script = format!("setsid sh -c '{BEAT}' & {WAITS}");
    let (mut spec, directory) = bench.job_with_directory(&script)?;
    spec.timeout = Some(HumanDuration::from_secs(3));
    spec.grace_period = Some(HumanDuration::from_secs(1));
    let outcome = bench.start(spec).await?.end().await?.outcome;
    check(matches!(outcome, Outcome::DeadlineExceeded { .. }), || format!("the job {outcome}"))?;
    check(directory.lines("beat")? > 0, || "the grandchild never ran".to_owned())?;
    is_still(&bench, &directory).await
}

async fn a_removed_job_leaves_no_grandchild(bench: Arc<Bench>) -> Checked {
    let (run, directory) = with_grandchild(&bench, "setsid", WAITS).await?;
    bench.wait("remove to answer", run.runner.remove(run.handle())).await??;
    is_still(&bench, &directory).await
}

async fn a_job_that_has_ended_leaves_no_grandchild(bench: Arc<Bench>) -> Checked {
    // The same as in a container, whose processes all end with the first one.
    let wait = "until [ -s \"$LONGSHORE_JOB_DIR/output/beat\" ]; do sleep 0.1; done; exit 0";
    let (run, directory) = with_grandchild(&bench, "setsid", wait).await?;
    let outcome = run.end().await?.outcome;
    check(outcome.is_success(), || format!("the job {outcome}"))?;
    is_still(&bench, &directory).await
}

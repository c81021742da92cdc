//! `cancel`.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::Outcome;

use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, same};

cases! { "cancel":
    a_job_that_honours_term_ends_as_cancelled_with_its_own_code,
    a_job_that_ignores_term_is_killed_after_the_grace_period,
}

async fn a_job_that_honours_term_ends_as_cancelled_with_its_own_code(bench: Arc<Bench>) -> Checked {
    let run =
        bench.start_script("trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done").await?;
    run.says("ready").await?;
    bench.wait("cancel", run.runner.cancel(run.handle(), Duration::from_secs(20))).await??;
    same("the outcome", &run.end().await?.outcome, &Outcome::Cancelled { code: Some(7) })
}

async fn a_job_that_ignores_term_is_killed_after_the_grace_period(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("trap '' TERM; echo ready; while :; do sleep 0.1; done").await?;
    run.says("ready").await?;
    bench.wait("cancel", run.runner.cancel(run.handle(), Duration::from_secs(1))).await??;
    same("the outcome", &run.end().await?.outcome, &Outcome::Cancelled { code: Some(137) })
}

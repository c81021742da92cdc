//! `remove`.

use std::sync::Arc;

use super::nothing_left_of;
use crate::bench::Bench;
use crate::case::cases;
use crate::failure::Checked;

cases! { "remove":
    an_ended_job_is_gone_afterwards_and_removing_it_again_is_ok,
    a_job_that_was_never_launched_is_ok,
    a_running_job_is_killed_and_gone,
}

async fn an_ended_job_is_gone_afterwards_and_removing_it_again_is_ok(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 0").await?;
    run.end().await?;
    for runner in [Arc::clone(&run.runner), Arc::clone(&run.runner), bench.runner().await?] {
        bench.wait("remove to answer", runner.remove(run.handle())).await??;
        nothing_left_of(&bench, &run.attempt).await?;
    }
    Ok(())
}

async fn a_job_that_was_never_launched_is_ok(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    Ok(bench.wait("remove to answer", runner.remove(&runner.handle(&attempt))).await??)
}

async fn a_running_job_is_killed_and_gone(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("trap '' TERM; echo here; while :; do sleep 0.1; done").await?;
    run.says("here").await?;
    let other = bench.runner().await?;
    bench.wait("remove to answer", other.remove(run.handle())).await??;
    nothing_left_of(&bench, &run.attempt).await
}

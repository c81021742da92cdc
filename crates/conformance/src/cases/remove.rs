//! `remove`.

use std::sync::Arc;

use longshore_core::Settled;

use super::{COUNT, nothing_left_of, refused};
use crate::bench::Bench;
use crate::case::Need::Directory;
use crate::case::cases;
use crate::failure::{Checked, same};
use crate::late::wait_for_late_starts;

cases! { "remove":
    an_ended_job_is_gone_afterwards_and_removing_it_again_is_ok,
    a_job_that_was_never_launched_is_ok,
    a_running_job_is_killed_and_gone,
    what_was_fenced_stays_fenced [Directory],
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

async fn what_was_fenced_stays_fenced(bench: Arc<Bench>) -> Checked {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let (runner, other) = (bench.runner().await?, bench.runner().await?);
    let handle = runner.handle(&attempt);
    let settled = bench.settle(runner.as_ref(), &handle).await?;
    same("settle", &settled, &Settled::NeverStarted)?;
    bench.wait("remove to answer", other.remove(&handle)).await??;
    refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    wait_for_late_starts(&bench, bench.latency()?).await?;
    same("starts of a job that was fenced", &directory.lines("starts")?, &0)
}

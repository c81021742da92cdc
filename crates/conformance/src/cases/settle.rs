//! `settle`.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use longshore_core::Settled;

use super::{COUNT, refused};
use crate::bench::{Bench, Directory as JobDirectory};
use crate::case::Need::Directory;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "settle":
    what_was_never_launched_is_never_started_and_is_refused_from_then_on [Directory],
    what_has_started_may_have_started_and_goes_on,
    what_has_ended_may_have_started,
    settled_twice_it_says_the_same,
    racing_a_launch_it_never_says_never_started_of_a_job_that_ran [Directory] x 12,
}

async fn what_was_never_launched_is_never_started_and_is_refused_from_then_on(
    bench: Arc<Bench>,
) -> Checked {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let runner = bench.runner().await?;
    let settled = bench.settle(runner.as_ref(), &runner.handle(&attempt)).await?;
    same("settle", &settled, &Settled::NeverStarted)?;
    // From this instance, and from another that was not asked.
    for runner in [runner, bench.runner().await?] {
        refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    }
    same("starts", &directory.lines("starts")?, &0)
}

async fn what_has_started_may_have_started_and_goes_on(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("echo here; sleep 2; exit 5").await?;
    let other = bench.runner().await?;
    let settled = bench.settle(other.as_ref(), run.handle()).await?;
    same("settle", &settled, &Settled::MayHaveStarted)?;
    same("the exit code", &run.end().await?.outcome.exit_code(), &5)
}

async fn what_has_ended_may_have_started(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 0").await?;
    run.end().await?;
    let other = bench.runner().await?;
    let settled = bench.settle(other.as_ref(), run.handle()).await?;
    same("settle", &settled, &Settled::MayHaveStarted)
}

async fn settled_twice_it_says_the_same(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    for _ in 0..2 {
        let runner = bench.runner().await?;
        let settled = bench.settle(runner.as_ref(), &runner.handle(&attempt)).await?;
        same("settle", &settled, &Settled::NeverStarted)?;
    }
    Ok(())
}

async fn racing_a_launch_it_never_says_never_started_of_a_job_that_ran(
    bench: Arc<Bench>,
) -> Checked {
    let races = stream::iter(0..20).map(|round| race(Arc::clone(&bench), round));
    let fenced: Vec<_> = races.buffer_unordered(4).try_collect().await?;
    // Looked at once more at the end: what was fenced must not start late either.
    for directory in fenced.iter().flatten() {
        same("starts of a job that was NeverStarted", &directory.lines("starts")?, &0)?;
    }
    Ok(())
}

/// Launches and settles at once; gives the job directory if the job was fenced.
async fn race(bench: Arc<Bench>, round: u64) -> Checked<Option<JobDirectory>> {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let (launcher, settler) = (bench.runner().await?, bench.runner().await?);
    let handle = settler.handle(&attempt);
    let settle = async {
        // At a different moment of the launch each time.
        tokio::time::sleep(Duration::from_millis(round * round)).await;
        bench.settle(settler.as_ref(), &handle).await
    };
    let context = bench.context();
    let launch = bench.try_launch(launcher.as_ref(), &attempt, &context);
    let (answer, settled) = futures::join!(launch, settle);
    let answer = answer?;
    if settled? != Settled::NeverStarted {
        return Ok(None);
    }
    check(answer.is_err(), || format!("NeverStarted, and launch says {answer:?}"))?;
    same("starts of a job that was NeverStarted", &directory.lines("starts")?, &0)?;
    Ok(Some(directory))
}

//! `settle`.

use std::sync::Arc;

use longshore_core::{LaunchError, Settled, Started};

use super::{COUNT, refused};
use crate::Failure;
use crate::bench::{Bench, Directory as JobDirectory};
use crate::case::Need::Directory;
use crate::case::cases;
use crate::failure::{Checked, same};
use crate::late::wait_for_late_starts;
use crate::race::{Played, Race, Round, Winner};

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
    // Also by an instance that did not settle it.
    for runner in [runner, bench.runner().await?] {
        refused(bench.try_launch(runner.as_ref(), &attempt, &bench.context()).await?)?;
    }
    wait_for_late_starts(&bench, bench.latency()?).await?;
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

const FENCE: Race = Race {
    what: "settle against launch",
    sides: ["fenced before it started", "started before it was fenced"],
    rounds: 16,
};

async fn racing_a_launch_it_never_says_never_started_of_a_job_that_ran(
    bench: Arc<Bench>,
) -> Checked {
    FENCE.run(&bench, |round| race(Arc::clone(&bench), round)).await
}

async fn race(bench: Arc<Bench>, round: Round) -> Checked<Played> {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let (launcher, settler) = (bench.runner().await?, bench.runner().await?);
    let (handle, context) = (settler.handle(&attempt), bench.context());
    let launch = bench.try_launch(launcher.as_ref(), &attempt, &context);
    let (answer, settled) = round.both(launch, bench.settle(settler.as_ref(), &handle)).await?;
    fenced(&answer, settled?, directory)
}

/// Judges the answers to a launch and to a fence that raced it.
pub(super) fn fenced(
    answer: &Result<Started, LaunchError>,
    settled: Settled,
    directory: JobDirectory,
) -> Checked<Played> {
    let why = format!("settle says {settled:?}, and launch says {answer:?}");
    let (winner, starts) = match (answer, settled) {
        (Ok(_), Settled::NeverStarted) => return Err(Failure::new(why)),
        (Err(_), Settled::NeverStarted) => (Winner::Rival, 0..=0),
        (Ok(_), _) => (Winner::Launch, 1..=1),
        (Err(LaunchError::Refused(_)), _) => (Winner::Nobody, 0..=0),
        (Err(LaunchError::Indeterminate(_)), _) => (Winner::Nobody, 0..=1),
    };
    Ok(Played { winner, directory, starts, why })
}

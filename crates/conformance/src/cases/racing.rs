//! Calls that race a launch. The race of `settle` is among its cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longshore_core::{Attempt, LaunchContext, LaunchError, Outcome, Settled, Started};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::settle::fenced;
use super::{COUNT, never_started, nothing_stays_of, refused};
use crate::bench::{Bench, Directory as JobDirectory};
use crate::case::Need::Directory;
use crate::case::{Case, cases};
use crate::failure::{Checked, check, same};
use crate::race::{Played, Race, Round, Winner};

/// The cases that race a launch, in the groups of the methods that they check.
pub(super) fn all() -> Vec<Case> {
    [launch::cases(), cancel::cases(), remove::cases()].into_iter().flatten().collect()
}

mod launch {
    use super::*;

    cases! { "launch":
        launched_by_two_instances_at_once_it_starts_once [Directory] x 12,
        cancelled_under_way_a_refused_job_has_not_started [Directory] x 12,
        past_its_deadline_under_way_a_refused_job_has_not_started [Directory] x 12,
    }
}

mod cancel {
    use super::*;

    cases! { "cancel":
        racing_a_launch_it_leaves_a_job_that_can_be_cancelled [Directory] x 12,
    }
}

mod remove {
    use super::*;

    cases! { "remove":
        racing_a_launch_what_was_fenced_and_removed_never_starts [Directory] x 12,
    }
}

/// The sides of a race that the call wins that begins or answers first.
const ORDER: [&str; 2] = ["called before launch had answered", "called after launch had answered"];

async fn launched_by_two_instances_at_once_it_starts_once(bench: Arc<Bench>) -> Checked {
    let race = Race { what: "launch against launch", sides: ORDER, rounds: 8 };
    race.run(&bench, |round| two_launches(Arc::clone(&bench), round)).await
}

async fn two_launches(bench: Arc<Bench>, round: Round) -> Checked<Played> {
    let (spec, directory) = bench.job_with_directory(&format!("{COUNT}; exit 4"))?;
    let attempt = bench.attempt(spec);
    let answered = AtomicBool::new(false);
    let (one, two) = (bench.runner().await?, bench.runner().await?);
    let (first_context, second_context) = (bench.context(), bench.context());
    let first = async {
        let answer = bench.try_launch(one.as_ref(), &attempt, &first_context).await;
        answered.store(true, Ordering::SeqCst);
        answer
    };
    let second = async {
        let winner = winner(&answered);
        (winner, bench.try_launch(two.as_ref(), &attempt, &second_context).await)
    };
    let (first, (winner, second)) = round.both(first, second).await?;
    let second = second?;
    let why = format!("the launches say {first:?} and {second:?}");
    let first = bench.started(one, &attempt, first?);
    let second = bench.started(two, &attempt, second?);
    let (first, second) = futures::try_join!(first.finish(), second.finish())?;
    let (first, second) = (first.report.outcome, second.report.outcome);
    same("the second launch's outcome", &second, &first)?;
    same("the first launch's exit code", &first.exit_code(), &4)?;
    Ok(Played { winner, directory, starts: 1..=1, why })
}

fn winner(answered: &AtomicBool) -> Winner {
    if answered.load(Ordering::SeqCst) { Winner::Launch } else { Winner::Rival }
}

const REFUSED: [&str; 2] = ["refused before it started", "started all the same"];

async fn cancelled_under_way_a_refused_job_has_not_started(bench: Arc<Bench>) -> Checked {
    let race = Race { what: "the cancel of a launch", sides: REFUSED, rounds: 8 };
    let refusals = Refusals::default();
    race.run(&bench, |round| {
        let (bench, refusals) = (Arc::clone(&bench), &refusals);
        async move {
            let (attempt, directory) = counted(&bench)?;
            let context = bench.context();
            let runner = bench.runner().await?;
            let launch = bench.try_launch(runner.as_ref(), &attempt, &context);
            let (answer, ()) = round.both(launch, async { context.cancel.cancel() }).await?;
            refusals.judge(&bench, &attempt, answer, directory).await
        }
    })
    .await?;
    refusals.never_started(&bench).await
}

async fn past_its_deadline_under_way_a_refused_job_has_not_started(bench: Arc<Bench>) -> Checked {
    let race = Race { what: "the deadline of a launch", sides: REFUSED, rounds: 8 };
    let refusals = Refusals::default();
    race.run(&bench, |round| {
        let (bench, refusals) = (Arc::clone(&bench), &refusals);
        async move {
            let (attempt, directory) = counted(&bench)?;
            let runner = bench.runner().await?;
            let delay = round.delay();
            let launch = async {
                let context = LaunchContext::new(Instant::now() + delay);
                bench.try_launch(runner.as_ref(), &attempt, &context).await
            };
            // The deadline itself is the rival.
            let (answer, ()) = round.both(launch, std::future::ready(())).await?;
            refusals.judge(&bench, &attempt, answer, directory).await
        }
    })
    .await?;
    refusals.never_started(&bench).await
}

fn counted(bench: &Bench) -> Checked<(Attempt, JobDirectory)> {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    Ok((bench.attempt(spec), directory))
}

/// The attempts that were refused. They are settled after the race: a fence hides a late start.
#[derive(Default)]
struct Refusals(Mutex<Vec<Attempt>>);

impl Refusals {
    async fn judge(
        &self,
        bench: &Bench,
        attempt: &Attempt,
        answer: Result<Started, LaunchError>,
        directory: JobDirectory,
    ) -> Checked<Played> {
        let why = format!("launch says {answer:?}");
        let (winner, starts) = match answer {
            Ok(_) => (Winner::Launch, 1..=1),
            Err(LaunchError::Indeterminate(_)) => (Winner::Nobody, 0..=1),
            Err(LaunchError::Refused(_)) => {
                nothing_stays_of(bench, attempt).await?;
                self.0.lock().push(attempt.clone());
                (Winner::Rival, 0..=0)
            }
        };
        Ok(Played { winner, directory, starts, why })
    }

    async fn never_started(self, bench: &Bench) -> Checked {
        for attempt in self.0.into_inner() {
            never_started(bench, &attempt).await?;
        }
        Ok(())
    }
}

async fn racing_a_launch_it_leaves_a_job_that_can_be_cancelled(bench: Arc<Bench>) -> Checked {
    let race = Race { what: "cancel against launch", sides: ORDER, rounds: 10 };
    race.run(&bench, |round| cancel_early(Arc::clone(&bench), round)).await
}

async fn cancel_early(bench: Arc<Bench>, round: Round) -> Checked<Played> {
    let script = format!("trap 'exit 7' TERM; {COUNT}; while :; do sleep 0.1; done");
    let (spec, directory) = bench.job_with_directory(&script)?;
    let attempt = bench.attempt(spec);
    let (launcher, other) = (bench.runner().await?, bench.runner().await?);
    let (handle, context) = (other.handle(&attempt), bench.context());
    let answered = AtomicBool::new(false);
    let grace = Duration::from_secs(1);
    let launch = async {
        let answer = bench.try_launch(launcher.as_ref(), &attempt, &context).await;
        answered.store(true, Ordering::SeqCst);
        answer
    };
    let cancel = async {
        let winner = winner(&answered);
        let cancelled = bench.wait("cancel to answer", other.cancel(&handle, grace)).await;
        (winner, cancelled)
    };
    let (answer, (winner, cancelled)) = round.both(launch, cancel).await?;
    cancelled??;
    let why = format!("launch says {answer:?}");
    let starts = match answer {
        Ok(started) => {
            // A cancel of what has not started may do nothing. The next one may not.
            bench.wait("cancel to answer", other.cancel(&handle, grace)).await??;
            let outcome = bench.started(launcher, &attempt, started).end().await?.outcome;
            check(matches!(outcome, Outcome::Cancelled { .. }), || format!("the job {outcome}"))?;
            0..=1
        }
        Err(LaunchError::Refused(_)) => 0..=0,
        Err(LaunchError::Indeterminate(_)) => 0..=1,
    };
    Ok(Played { winner, directory, starts, why })
}

async fn racing_a_launch_what_was_fenced_and_removed_never_starts(bench: Arc<Bench>) -> Checked {
    let sides = ["fenced before it started", "started before it was fenced"];
    let race = Race { what: "settle and remove against launch", sides, rounds: 8 };
    race.run(&bench, |round| fence_and_remove(Arc::clone(&bench), round)).await
}

async fn fence_and_remove(bench: Arc<Bench>, round: Round) -> Checked<Played> {
    let (attempt, directory) = counted(&bench)?;
    let (launcher, other) = (bench.runner().await?, bench.runner().await?);
    let (handle, context) = (other.handle(&attempt), bench.context());
    let launch = bench.try_launch(launcher.as_ref(), &attempt, &context);
    let fence = async {
        let settled = bench.settle(other.as_ref(), &handle).await?;
        if settled == Settled::NeverStarted {
            bench.wait("remove to answer", other.remove(&handle)).await??;
        }
        Ok::<_, crate::Failure>(settled)
    };
    let (answer, settled) = round.both(launch, fence).await?;
    let settled = settled?;
    if settled == Settled::NeverStarted {
        refused(bench.try_launch(other.as_ref(), &attempt, &bench.context()).await?)?;
    }
    fenced(&answer, settled, directory)
}

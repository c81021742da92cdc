//! `events`.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use longshore_core::{Event, LogPosition, Outcome};
use tokio::time::Instant;

use crate::Failure;
use crate::bench::{Bench, Run, end_of};
use crate::case::cases;
use crate::failure::{Checked, check, same};
use crate::wait::within;

/// How soon `Started` must arrive where a start takes less.
const PROMPT: Duration = Duration::from_secs(1);

cases! { "events":
    a_running_job_has_started_first_and_promptly,
    an_ended_job_has_started_first_and_promptly,
    the_end_is_told_once_and_as_the_last,
    every_listener_is_told_the_end,
    the_end_of_an_ended_job_is_told_again_in_every_instance,
    a_job_that_was_never_launched_is_lost,
    a_job_that_was_removed_is_lost,
    a_job_removed_under_a_listener_never_ends_as_a_success,
    a_handle_that_cannot_be_read_is_lost_with_the_reason,
    a_stream_that_is_dropped_does_not_end_the_job,
}

async fn a_running_job_has_started_first_and_promptly(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("sleep 600").await?;
    started_promptly(&bench, &run, Then::Running).await?;
    started_promptly(&bench, &run.seen_by(bench.runner().await?), Then::Running).await
}

async fn an_ended_job_has_started_first_and_promptly(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 0").await?;
    run.end().await?;
    started_promptly(&bench, &run, Then::Ended).await?;
    started_promptly(&bench, &run.seen_by(bench.runner().await?), Then::Ended).await
}

/// What must follow `Started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Running,
    Ended,
}

/// Fails unless `Started` arrives soon, and before anything but progress; and then `then`.
async fn started_promptly(bench: &Bench, run: &Run, then: Then) -> Checked {
    let limit = bench.latency()?.longest.max(PROMPT) * bench.load();
    let mut events = run.runner.events(run.handle());
    let started = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Started(at)) => return same_time(bench, at, run.started.started_at),
                Ok(event @ (Event::Running | Event::Ended(_))) => {
                    return Err(Failure::new(format!("before Started came {event:?}")));
                }
                // Progress up to the start, or a hint that the backend did not answer.
                _ => {}
            }
        }
        Err(Failure::new("the events ended without Started"))
    };
    within(limit, "Started of a job that has started", started).await??;
    let next = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Running) => return Ok(Then::Running),
                Ok(Event::Ended(_)) => return Ok(Then::Ended),
                _ => {}
            }
        }
        Err(Failure::new("the events ended after Started"))
    };
    // An end may need more evidence than that the job has ended.
    let limit = if then == Then::Running { limit } else { bench.patience() };
    same("what follows Started", &within(limit, "what follows Started", next).await??, &then)
}

/// Fails unless the two are the time of one start. A backend may have noted it in two places, one after
/// the other, which takes longer on a busy machine.
pub(super) fn same_time(
    bench: &Bench,
    seen: Option<Timestamp>,
    launched: Option<Timestamp>,
) -> Checked {
    let apart = seen.zip(launched).map(|(one, other)| one.duration_since(other).abs());
    let most = SignedDuration::from_secs(bench.load().into());
    let near = apart.is_none_or(|apart| apart <= most);
    check(near && seen.is_some() == launched.is_some(), || {
        format!("the time of the start: launch reported {launched:?}, seen {seen:?}")
    })
}

async fn the_end_is_told_once_and_as_the_last(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("sleep 0.5; exit 9").await?;
    let report = run.end().await?;
    same("the outcome", &report.outcome, &Outcome::Exited { code: 9, signal: None })
}

async fn every_listener_is_told_the_end(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("sleep 1; exit 6").await?;
    let elsewhere = run.seen_by(bench.runner().await?);
    let (one, two, three) = futures::try_join!(run.end(), run.end(), elsewhere.end())?;
    same("the first listener's outcome", &one.outcome.exit_code(), &6)?;
    same("the second listener's report", &two, &one)?;
    same("another instance's outcome", &three.outcome, &one.outcome)
}

async fn the_end_of_an_ended_job_is_told_again_in_every_instance(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 8").await?;
    let first = run.end().await?;
    let again = run.end().await?;
    same("the report told again", &again.outcome, &first.outcome)?;
    let elsewhere = run.seen_by(bench.runner().await?).end().await?;
    same("another instance's outcome", &elsewhere.outcome, &first.outcome)?;
    same("the exit code", &first.outcome.exit_code(), &8)
}

async fn a_job_that_was_never_launched_is_lost(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    let report = end_of(runner.as_ref(), &runner.handle(&attempt), bench.patience()).await?;
    lost(&report.outcome)
}

async fn a_job_that_was_removed_is_lost(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 0").await?;
    run.end().await?;
    bench.wait("remove to answer", run.runner.remove(run.handle())).await??;
    lost(&run.end().await?.outcome)?;
    lost(&run.seen_by(bench.runner().await?).end().await?.outcome)
}

fn lost(outcome: &Outcome) -> Checked {
    check(matches!(outcome, Outcome::Lost { .. }), || format!("expected Lost, seen {outcome:?}"))
}

async fn a_job_removed_under_a_listener_never_ends_as_a_success(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("echo here; sleep 600").await?;
    run.says("here").await?;
    let other = bench.runner().await?;
    let remove = bench.wait("remove to answer", other.remove(run.handle()));
    let (report, removed) = futures::join!(run.end(), remove);
    removed??;
    let outcome = report?.outcome;
    check(!outcome.is_success(), || format!("a job that was removed {outcome}"))
}

async fn a_handle_that_cannot_be_read_is_lost_with_the_reason(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    let mut handle = runner.handle(&attempt);
    handle.version = u32::MAX;
    let deadline = Instant::now() + bench.patience();
    let settled = bench.wait("settle to answer", runner.settle(&handle, deadline)).await?;
    let error = settled.err().ok_or_else(|| Failure::new("settle can read the handle"))?;
    let reading = runner.events(&handle).take(3).collect::<Vec<_>>();
    let events = bench.wait("the events to end", reading).await?;
    match events.as_slice() {
        [Ok(Event::Ended(report))] => {
            let expected = Outcome::Lost { message: error.to_string() };
            same("the outcome", &report.outcome, &expected)?;
        }
        other => return Err(Failure::new(format!("expected only Ended, seen {other:?}"))),
    }
    let reading = runner.logs(&handle, LogPosition::START, true).take(3).collect::<Vec<_>>();
    let logs = bench.wait("the output to end", reading).await?;
    check(matches!(logs.as_slice(), [Err(_)]), || format!("expected only an error, seen {logs:?}"))
}

async fn a_stream_that_is_dropped_does_not_end_the_job(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("echo here; sleep 2; exit 11").await?;
    run.says("here").await?;
    {
        let mut events = run.runner.events(run.handle());
        let first = futures::future::poll_immediate(events.next()).await;
        check(!matches!(first, Some(Some(Ok(Event::Ended(_))))), || {
            format!("the end of a running job was reported: {first:?}")
        })?;
    }
    same("the exit code", &run.end().await?.outcome.exit_code(), &11)
}

//! How jobs end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{Capability, Outcome};

use super::events::same_time;
use crate::Failure;
use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "outcome":
    each_exit_code_is_the_jobs_own x 8,
    a_job_killed_by_term_exits_with_143,
    a_job_killed_by_kill_exits_with_137,
    a_job_that_aborts_or_crashes_is_never_a_success,
    the_start_and_the_end_have_times_in_order,
    the_times_are_those_of_the_clock_and_of_the_launch,
}

async fn each_exit_code_is_the_jobs_own(bench: Arc<Bench>) -> Checked {
    let ends = [0, 1, 2, 42, 124, 125, 126, 127, 128, 137, 143, 255].map(|code| {
        let bench = Arc::clone(&bench);
        async move {
            let finished = bench.run_script(&format!("exit {code}")).await?;
            let expected = Outcome::Exited { code, signal: None };
            same(&format!("the outcome of `exit {code}`"), &finished.report.outcome, &expected)
        }
    });
    // A few at once, as this case is about exit codes and not about load.
    let mut ends = ends.into_iter();
    loop {
        let some: Vec<_> = ends.by_ref().take(3).collect();
        if some.is_empty() {
            return Ok(());
        }
        futures::future::try_join_all(some).await?;
    }
}

async fn a_job_killed_by_term_exits_with_143(bench: Arc<Bench>) -> Checked {
    killed_by(&bench, 15).await
}

async fn a_job_killed_by_kill_exits_with_137(bench: Arc<Bench>) -> Checked {
    killed_by(&bench, 9).await
}

async fn a_job_that_aborts_or_crashes_is_never_a_success(bench: Arc<Bench>) -> Checked {
    // ABRT, SEGV and PIPE.
    for signal in [6, 11, 13] {
        killed_by(&bench, signal).await?;
    }
    Ok(())
}

async fn killed_by(bench: &Bench, signal: i32) -> Checked {
    let code = 128 + signal;
    // The kernel drops the signals that process 1 of a container sends itself
    // (pid_namespaces(7)); the script would then continue, and succeed.
    let finished = bench.run_script(&format!("kill -{signal} $$; exit 0")).await?;
    let evidence = bench.can(Capability::SignalEvidence).then_some(signal);
    let expected = Outcome::Exited { code, signal: evidence };
    same("the outcome", &finished.report.outcome, &expected)
}

async fn the_start_and_the_end_have_times_in_order(bench: Arc<Bench>) -> Checked {
    let report = bench.run_script("exit 0").await?.report;
    let (Some(started), Some(finished)) = (report.started_at, report.finished_at) else {
        return check(false, || format!("a time is missing: {report:?}"));
    };
    check(started <= finished, || format!("it ended before it started: {report:?}"))
}

/// How much the backend's clock may differ from this machine's.
const SKEW: Duration = Duration::from_secs(60);
/// The coarsest resolution of a backend's times. Kubernetes' are in seconds.
const RESOLUTION: Duration = Duration::from_secs(1);

async fn the_times_are_those_of_the_clock_and_of_the_launch(bench: Arc<Bench>) -> Checked {
    let before = Timestamp::now();
    let finished = bench.run_script("sleep 2").await?;
    let after = Timestamp::now();
    let (launched, report) = (finished.started.started_at, finished.report);
    let times = [launched, report.started_at, report.finished_at];
    let [Some(launched), Some(started), Some(ended)] = times else {
        return Err(Failure::new(format!("a time is missing of launch, start, end: {times:?}")));
    };
    for time in [launched, started, ended] {
        check(before - SKEW <= time && time <= after + SKEW, || {
            format!("{time} is not between {before} and {after}, by far")
        })?;
    }
    same_time(&bench, Some(started), Some(launched))?;
    let took = Duration::try_from(ended.duration_since(started))?;
    check(took + RESOLUTION >= Duration::from_secs(2), || {
        format!("a job of 2 seconds took {took:?}: {report:?}")
    })
}

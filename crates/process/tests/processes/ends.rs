//! How jobs end.

use std::time::Duration;

use longshore_core::{Outcome, Runner};

use crate::support::{Bench, brief, line_in, shell};

const fn exited(code: i32) -> Outcome {
    Outcome::Exited { code, signal: None }
}

pub async fn a_job_ends_with_its_own_exit_code() {
    let bench = Bench::new();
    for code in [0, 1, 125, 126, 127, 128, 137, 255] {
        assert_eq!(bench.outcome(&format!("exit {code}")).await, exited(code));
    }
}

pub async fn a_job_ended_by_a_signal_tells_the_signal() {
    let bench = Bench::new();
    for signal in [1, 9, 13, 15] {
        let expected = Outcome::Exited { code: 128 + signal, signal: Some(signal) };
        assert_eq!(bench.outcome(&format!("kill -{signal} $$")).await, expected);
    }
}

pub async fn a_job_past_its_timeout_ends_as_deadline_exceeded() {
    let bench = Bench::new();
    let mut spec = brief("trap '' TERM; while :; do sleep 1; done");
    spec.timeout = Some("200ms".parse().unwrap());
    let handle = bench.start(spec).await;
    let report = bench.end(&handle).await;
    assert_eq!(report.outcome, Outcome::DeadlineExceeded { code: Some(137) });
    let (start, end) = (report.started_at.unwrap(), report.finished_at.unwrap());
    assert!(end.duration_since(start) >= jiff::SignedDuration::from_millis(500));
}

pub async fn a_cancelled_job_ends_as_cancelled() {
    let bench = Bench::new();
    let handle = bench.start(shell("sleep 1000")).await;
    bench.runner.cancel(&handle, Duration::from_secs(30)).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Cancelled { code: Some(143) });
    let at_once = bench.start(shell("sleep 1000")).await;
    bench.runner.cancel(&at_once, Duration::ZERO).await.unwrap();
    assert_eq!(bench.end(&at_once).await.outcome, Outcome::Cancelled { code: Some(137) });
}

pub async fn a_job_that_ignores_term_is_killed_after_the_grace() {
    let bench = Bench::new();
    let ready = bench.folder.path().join("ready");
    let script = format!("trap '' TERM; echo yes > {}; while :; do sleep 1; done", ready.display());
    let handle = bench.start(shell(&script)).await;
    line_in(&ready).await;
    bench.runner.cancel(&handle, Duration::from_millis(300)).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Cancelled { code: Some(137) });
}

pub async fn a_second_cancel_with_a_shorter_grace_shortens_it() {
    let bench = Bench::new();
    let ready = bench.folder.path().join("ready");
    let script = format!("trap '' TERM; echo yes > {}; while :; do sleep 1; done", ready.display());
    let handle = bench.start(shell(&script)).await;
    line_in(&ready).await;
    bench.runner.cancel(&handle, Duration::from_secs(3600)).await.unwrap();
    bench.again().cancel(&handle, Duration::from_millis(50)).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Cancelled { code: Some(137) });
}

pub async fn an_ended_job_keeps_its_outcome_when_it_is_cancelled() {
    let bench = Bench::new();
    let handle = bench.start(shell("exit 3")).await;
    assert_eq!(bench.end(&handle).await.outcome, exited(3));
    bench.runner.cancel(&handle, Duration::ZERO).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, exited(3));
}

pub async fn a_stopped_job_can_be_cancelled() {
    let bench = Bench::new();
    let handle = bench.start(shell("kill -STOP $$; exit 0")).await;
    bench.runner.cancel(&handle, Duration::from_secs(30)).await.unwrap();
    let outcome = bench.end(&handle).await.outcome;
    // TERM arrives before or after the job has stopped itself.
    assert_eq!(outcome, Outcome::Cancelled { code: Some(143) });
}

pub async fn a_removed_attempt_is_gone() {
    let bench = Bench::new();
    let handle = bench.start(shell("sleep 1000")).await;
    let adopted = bench.runner.adopt(&bench.installation).await.unwrap();
    assert_eq!(adopted, std::slice::from_ref(&handle));
    bench.runner.remove(&handle).await.unwrap();
    bench.runner.remove(&handle).await.unwrap();
    bench.runner.cancel(&handle, Duration::ZERO).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome.kind(), "Lost");
    assert!(bench.runner.adopt(&bench.installation).await.unwrap().is_empty());
}

pub async fn a_job_forced_to_the_disk_ends_the_same() {
    let bench = Bench::with(|config| config.fsync = true);
    assert_eq!(bench.outcome("exit 5").await, exited(5));
    let handle = bench.start(shell("sleep 1000")).await;
    bench.runner.cancel(&handle, Duration::ZERO).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Cancelled { code: Some(137) });
    bench.runner.remove(&handle).await.unwrap();
}

//! The fallback table, row by row, and the breaker.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_conformance::simulated::{LaunchStep, ProbeStep, Refusal, Run, Script, What};
use longshore_core::{
    Capabilities, Capability, ErrorKind, ImageReason, JobSpec, NotRunReason, Outcome, RejectReason,
};
use longshore_dispatch::{Dispatcher, FallbackReason, Isolation, Settings};
use tokio::time::Instant;

use crate::support::*;

fn all_reasons() -> Settings {
    use FallbackReason::*;
    let fallback_on = vec![Unsupported, Unavailable, Saturated, ImageUnavailable, Denied];
    let mut settings = Settings::default();
    settings.fallback_on = fallback_on;
    settings
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_on_the_first_runner_that_can_take_it() {
    let scene = scene([Script::default(), Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 0, signal: None });
    assert_eq!(result.runner, Some(name("first")));
    assert!(result.passed_over.is_empty());
    assert!(result.started_at.is_some() && result.finished_at > result.started_at);
    assert_eq!(
        scene.story(),
        [
            "first: LaunchAsked",
            "first: Started",
            "first: Ended(exited with code 0)",
            "first: Removed { running: false }"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_passes_a_runner_over_or_stops_the_search_as_the_table_says() {
    for (kind, by_default, if_named) in [
        (ErrorKind::Unsupported, true, true),
        (ErrorKind::Unavailable, true, true),
        (ErrorKind::Saturated, true, true),
        (ErrorKind::ImageUnavailable(ImageReason::NotFound), false, true),
        (ErrorKind::ImageUnavailable(ImageReason::Unreachable), false, true),
        (ErrorKind::Denied, false, true),
        (ErrorKind::Rejected(RejectReason::CommandNotFound), false, false),
        (ErrorKind::InvalidSpec, false, false),
        (ErrorKind::Internal, false, false),
    ] {
        for (settings, goes_on) in [(Settings::default(), by_default), (all_reasons(), if_named)] {
            let scene = scene_with(settings, [refuses(kind), Script::default()]);
            let result = scene.run(job()).await;
            if goes_on {
                assert_eq!(result.runner, Some(name("second")), "{kind:?}");
                assert_eq!(result.passed_over[0].runner, name("first"), "{kind:?}");
                assert_eq!(result.passed_over[0].kind, kind.name());
                assert!(result.attempt.unwrap().as_str().ends_with("-2"), "{kind:?}");
            } else {
                let refusal = longshore_core::Error::new(kind, format!("simulated: {kind:?}"));
                assert_eq!(result.outcome, Outcome::refused(&refusal));
                assert_eq!(result.runner, Some(name("first")), "{kind:?}");
                assert!(result.passed_over.is_empty(), "{kind:?}");
                assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1, "{kind:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ran_and_failed_never_falls_back() {
    for outcome in [
        Outcome::Exited { code: 1, signal: None },
        Outcome::OutOfMemory { code: 137 },
        Outcome::Evicted { message: "drained".to_owned() },
        Outcome::Lost { message: "deleted".to_owned() },
    ] {
        let mut script = Script::default();
        script.runs.push_back(Run::default().ending_as(outcome.clone()));
        let scene = scene_with(all_reasons(), [script, Script::default()]);
        let result = scene.run(job()).await;
        assert_eq!(result.outcome, outcome);
        assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_out_of_time_never_falls_back() {
    let mut script = Script::default();
    script.runs.push_back(Run::endless());
    let mut settings = all_reasons();
    settings.timeout = Some("30s".parse().unwrap());
    let scene = scene_with(settings, [script, Script::default()]);
    let result = scene.run(job()).await;
    assert!(matches!(result.outcome, Outcome::DeadlineExceeded { .. }), "{:?}", result.outcome);
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_lacks_a_capability_is_passed_over_without_being_asked() {
    let scene = scene([Script::default(), Script::default()]);
    let process = Capabilities::default().with(Capability::Process);
    let limited = scene.runners[0].clone().with_capabilities(process);
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(limited))
        .runner(Arc::new(scene.runners[1].clone()))
        .build()
        .unwrap();
    let mut spec = job();
    spec.resources.limits.pids = Some(3);
    let result = dispatcher.submit(spec).await.unwrap().end().await;
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(result.passed_over[0].kind, "Unsupported");
    assert!(result.passed_over[0].message.contains("resources.limits.pids"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_runner_took_says_why_of_each() {
    let scene = scene([refuses(ErrorKind::Unavailable), refuses(ErrorKind::Saturated)]);
    let result = scene.run(job()).await;
    let Outcome::NotRun { reason: NotRunReason::NoRunner, message } = &result.outcome else {
        panic!("{:?}", result.outcome)
    };
    assert!(message.contains("first: simulated: Unavailable; second: simulated: Saturated"));
    assert_eq!(result.runner, None);
    assert_eq!(result.passed_over.len(), 2);
    assert_eq!(result.outcome.exit_code(), 125);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_the_last_runner_cannot_have_is_the_outcome() {
    let image = ErrorKind::ImageUnavailable(ImageReason::NotFound);
    let scene = scene_with(all_reasons(), [refuses(ErrorKind::Saturated), refuses(image)]);
    let result = scene.run(job()).await;
    assert!(matches!(result.outcome, Outcome::ImageUnavailable { .. }), "{:?}", result.outcome);
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(result.passed_over.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_decides_like_a_launch() {
    for (kind, goes_on) in [
        (ErrorKind::Unavailable, true),
        (ErrorKind::Saturated, true),
        (ErrorKind::Unsupported, true),
        (ErrorKind::Denied, false),
    ] {
        let mut script = Script::default();
        script.probes.push_back(ProbeStep::Fail(Refusal::new(kind)));
        let scene = scene([script, Script::default()]);
        let result = scene.run(job()).await;
        let expected = if goes_on { "second" } else { "first" };
        assert_eq!(result.runner, Some(name(expected)), "{kind:?}");
        assert_eq!(result.outcome.is_success(), goes_on, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_probe_was_taken_for_a_refusal_of_the_job() {
    let image = ErrorKind::ImageUnavailable(ImageReason::NotFound);
    let rejected = ErrorKind::Rejected(RejectReason::ContainerConfig);
    for kind in [ErrorKind::InvalidSpec, ErrorKind::NotFound, ErrorKind::Internal, image, rejected]
    {
        let mut script = Script::default();
        script.probes.push_back(ProbeStep::Fail(Refusal::new(kind)));
        let scene = scene([script, Script::default()]);
        let result = scene.run(job()).await;
        assert_eq!(result.runner, Some(name("second")), "{kind:?}");
        assert_eq!(result.passed_over[0].kind, ErrorKind::Unavailable.name(), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_answers_costs_connect_timeout_once() {
    let mut script = Script::default();
    script.probes.extend([ProbeStep::Hang; 3]);
    let scene = scene([script, Script::default()]);
    let began = Instant::now();
    let first = scene.run(job()).await;
    assert_eq!(began.elapsed(), 6 * SECOND, "5 s connectTimeout and the job's own second");
    assert!(first.passed_over[0].message.contains("no answer within 5s"));
    // Fifty jobs at once: the breaker is half open by now, one of them probes.
    let began = Instant::now();
    let jobs = (0..50).map(|_| scene.run(job()));
    for result in futures::future::join_all(jobs).await {
        assert_eq!(result.runner, Some(name("second")));
    }
    // 50 jobs of a second each, 8 launches at a time; each launch slot is held only during the
    // launch.
    assert!(began.elapsed() <= 7 * SECOND, "{:?}", began.elapsed());
    scene.runners[0].rewrite(|s| assert_eq!(s.probes.len(), 1, "two probes for 51 jobs"));
}

#[tokio::test(start_paused = true)]
async fn the_jobs_that_come_first_share_one_probe() {
    let mut script = Script { latency: SECOND, ..Script::default() };
    script.probes.extend([ProbeStep::Well; 5]);
    let scene = scene([script]);
    futures::future::join_all((0..5).map(|_| scene.run(job()))).await;
    scene.runners[0].rewrite(|s| assert_eq!(s.probes.len(), 4));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_answers_at_once_and_closes_when_the_backend_is_back() {
    let outage = Duration::ZERO..10 * MINUTE;
    let script = Script { outages: vec![outage], ..Script::default() };
    let scene = scene([script, Script::default()]);
    let mut asked = 0;
    while scene.world.ledger().iter().all(|e| e.runner == name("second")) {
        scene.run(job()).await;
        asked += 1;
        assert!(asked < 1000, "it never came back");
    }
    let back = scene.world.ledger().iter().find(|e| e.runner == name("first")).unwrap().at;
    assert!(back >= 10 * MINUTE && back <= 11 * MINUTE + 2 * SECOND, "{back:?}");
}

#[tokio::test(start_paused = true)]
async fn a_runner_named_alone_is_never_replaced() {
    let scene = scene([Script::default(), refuses(ErrorKind::Unavailable)]);
    let mut spec = job();
    spec.runners = Some(vec![name("second")]);
    let result = scene.run(spec).await;
    assert!(matches!(result.outcome, Outcome::NotRun { .. }));
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_may_reorder_the_runners() {
    let scene = scene([Script::default(), Script::default(), Script::default()]);
    let mut spec = job();
    spec.runners = Some(vec![name("third"), name("first")]);
    assert_eq!(scene.run(spec).await.runner, Some(name("third")));
}

#[tokio::test(start_paused = true)]
async fn a_saturated_backend_that_says_when_to_come_back_is_left_alone_until_then() {
    let full = Refusal::new(ErrorKind::Saturated).retry_after(MINUTE);
    let scene = scene([launches([LaunchStep::Refuse(full)]), Script::default()]);
    assert_eq!(scene.run(job()).await.runner, Some(name("second")));
    assert_eq!(scene.run(job()).await.runner, Some(name("second")));
    tokio::time::sleep(MINUTE).await;
    assert_eq!(scene.run(job()).await.runner, Some(name("first")));
    assert_eq!(scene.count(|w| matches!(w, What::Refused(_))), 1);
}

#[tokio::test(start_paused = true)]
async fn no_job_waits_for_a_runner_that_is_known_to_be_away() {
    let hangs = std::iter::repeat_n(ProbeStep::Hang, 100).collect();
    let scene = scene([Script { probes: hangs, ..Script::default() }, Script::default()]);
    assert_eq!(scene.run(job()).await.runner, Some(name("second")));
    for _ in 0..200 {
        tokio::time::sleep(3 * SECOND).await;
        let began = Instant::now();
        let result = scene.run(job()).await;
        assert_eq!(result.runner, Some(name("second")));
        // A job takes one second; an answer that does not arrive takes five.
        assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_is_back_is_found_without_a_job() {
    let outages = vec![Duration::ZERO..10 * MINUTE];
    let scene = scene([Script { outages, ..Script::default() }, Script::default()]);
    assert_eq!(scene.run(job()).await.runner, Some(name("second")));
    // Longer than the longest pause between two probes.
    tokio::time::sleep(12 * MINUTE).await;
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let events: Vec<_> = job.take_events().unwrap().map(|event| word(&event)).collect().await;
    assert!(!events.iter().any(|event| event.starts_with("passed over")), "{events:?}");
    assert_eq!(job.end().await.runner, Some(name("first")));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_must_be_contained_is_never_run_as_a_process() {
    let mut settings = Settings::default();
    settings.min_isolation = Isolation::Container;
    let scene = scene_with(settings, [Script::default(), refuses(ErrorKind::Unavailable)]);
    let process = scene.runners[0].clone();
    let only_process = Capabilities::default().with(Capability::Process);
    let dispatcher = Dispatcher::builder()
        .settings({
            let mut settings = Settings::default();
            settings.min_isolation = Isolation::Container;
            settings
        })
        .runner(Arc::new(process.with_capabilities(only_process)))
        .build()
        .unwrap();
    let result = dispatcher.submit(job()).await.unwrap().end().await;
    let [passed] = result.passed_over.as_slice() else { panic!("{result:?}") };
    assert_eq!(passed.kind, "Unsupported");
    assert!(passed.message.contains("job.minIsolation"), "{}", passed.message);
    let contained = scene.run(job()).await;
    assert_eq!(contained.runner, Some(name("first")), "it can run containers, too");
    let bare = scene.run(JobSpec::process(["true"])).await;
    assert!(matches!(bare.outcome, Outcome::NotRun { .. }), "{bare:?}");
}

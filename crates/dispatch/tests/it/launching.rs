//! The throttle, the launch deadline, and lists of pull policies.

use futures::StreamExt;
use longshore_conformance::simulated::{LaunchStep, Refusal, Script, What};
use longshore_core::{ErrorKind, ImageReason, Outcome, PullPolicy};
use longshore_dispatch::{JobEvent, Settings};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn launches_on_one_runner_are_throttled_and_runs_are_not() {
    let slow = LaunchStep::Start { after: 10 * SECOND };
    let mut settings = Settings::default();
    settings.max_concurrent_launches = 2.try_into().unwrap();
    let scene = scene_with(settings, [launches([slow; 6])]);
    futures::future::join_all((0..6).map(|_| scene.run(job()))).await;
    let starts = scene.world.ledger();
    let mut starts = starts.iter().filter(|e| e.what == What::Started).map(|e| e.at);
    for expected in [10, 10, 20, 20, 30, 30] {
        assert_eq!(starts.next(), Some(expected * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_launch_ends_after_pull_timeout_and_twice_start_timeout_and_the_next_runner_is_tried() {
    let never = LaunchStep::Start { after: 1000 * MINUTE };
    let scene = scene([launches([never]), Script::default()]);
    let began = Instant::now();
    let result = scene.run(job()).await;
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(began.elapsed(), 20 * MINUTE + SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_launch_past_its_deadline_is_cancelled_and_settled() {
    let scene = scene([launches([LaunchStep::Hang { effect: None }]), Script::default()]);
    let began = Instant::now();
    let result = scene.run(job()).await;
    assert_eq!(result.passed_over[0].runner, name("first"));
    assert_eq!(result.passed_over[0].kind, "Unavailable");
    assert_eq!(result.runner, Some(name("second")));
    assert!(began.elapsed() < 21 * MINUTE);
    assert_eq!(scene.story()[..2], ["first: LaunchAsked", "first: Fenced"]);
}

async fn policies_tried(policies: &str, answers: &[ImageReason]) -> (Vec<PullPolicy>, Outcome) {
    let refusals =
        answers.iter().map(|r| LaunchStep::Refuse(Refusal::new(ErrorKind::ImageUnavailable(*r))));
    let scene = scene([launches(refusals)]);
    let mut spec = job();
    spec.image_pull_policy = Some(policies.parse().unwrap());
    let mut job = scene.dispatcher.submit(spec).await.unwrap();
    let events = job.take_events().unwrap();
    let outcome = job.end().await.outcome;
    let tried = events.filter_map(|event| {
        std::future::ready(match event {
            JobEvent::Launching { pull_policy, .. } => Some(pull_policy),
            _ => None,
        })
    });
    (tried.collect().await, outcome)
}

#[tokio::test(start_paused = true)]
async fn a_list_of_pull_policies_moves_on_only_when_the_registry_gave_no_answer() {
    use ImageReason::{Denied, Invalid, NotFound, NotPresent, Unreachable};
    use PullPolicy::{Always, IfNotPresent, Never};
    let (tried, outcome) = policies_tried("Always,IfNotPresent,Never", &[Unreachable]).await;
    assert_eq!(tried, [Always, IfNotPresent]);
    assert!(outcome.is_success());
    for definite in [Denied, NotFound, NotPresent, Invalid] {
        let (tried, outcome) = policies_tried("Always,IfNotPresent", &[definite]).await;
        assert_eq!(tried, [Always]);
        assert!(matches!(outcome, Outcome::ImageUnavailable { reason, .. } if reason == definite));
    }
    let (tried, outcome) = policies_tried("Always,Never", &[Unreachable, NotPresent]).await;
    assert_eq!(tried, [Always, Never]);
    let expected = Unreachable;
    assert!(matches!(outcome, Outcome::ImageUnavailable { reason, .. } if reason == expected));
}

#[tokio::test(start_paused = true)]
async fn each_pull_policy_of_a_list_is_an_attempt_of_its_own() {
    let unreachable = ErrorKind::ImageUnavailable(ImageReason::Unreachable);
    let scene = scene([refuses(unreachable)]);
    let mut spec = job();
    spec.image_pull_policy = Some("Always,IfNotPresent".parse().unwrap());
    let result = scene.run(spec).await;
    assert!(result.attempt.unwrap().as_str().ends_with("-2"));
    assert!(result.passed_over.is_empty());
}

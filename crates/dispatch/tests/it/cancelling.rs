//! Cancels a job at each point of its life.

use longshore_conformance::simulated::{CallStep, LaunchStep, ProbeStep, Run, Script, What};
use longshore_core::Outcome;
use longshore_dispatch::{Job, Settings, Submission};
use tokio::time::{Instant, sleep};

use crate::support::*;

const UNSTARTED: Outcome = Outcome::Cancelled { code: None };

async fn submit_and_cancel_after(scene: &Scene, wait: std::time::Duration) -> Job {
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(wait).await;
    job.cancel();
    job
}

#[tokio::test(start_paused = true)]
async fn a_job_is_cancelled_in_a_probe() {
    let mut script = Script::default();
    script.probes.push_back(ProbeStep::Hang);
    let scene = scene([script]);
    let began = Instant::now();
    let result = submit_and_cancel_after(&scene, SECOND).await.end().await;
    assert_eq!(result.outcome, UNSTARTED);
    assert_eq!(began.elapsed(), SECOND);
    assert!(scene.story().is_empty());
}

/// The refused submission took the running job's canceller away: the cancel never arrived.
#[tokio::test(start_paused = true)]
async fn a_job_whose_id_is_submitted_again_is_cancelled() {
    let mut script = Script::default();
    script.runs.push_back(Run::endless());
    let scene = scene([script]);
    let first = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    let again = Submission::new(job()).with_id(first.id().clone());
    assert!(scene.dispatcher.submit(again).await.is_err());
    assert!(scene.dispatcher.cancel(first.id(), None).await.unwrap());
    assert_eq!(first.end().await.outcome, Outcome::Cancelled { code: Some(143) });
}

#[tokio::test(start_paused = true)]
async fn a_job_is_cancelled_in_the_queue() {
    let slow = LaunchStep::Start { after: MINUTE };
    let mut settings = Settings::default();
    settings.max_concurrent_launches = 1.try_into().unwrap();
    let scene = scene_with(settings, [launches([slow])]);
    let first = scene.dispatcher.submit(job()).await.unwrap();
    sleep(SECOND).await;
    let began = Instant::now();
    let second = submit_and_cancel_after(&scene, SECOND).await;
    assert_eq!(second.end().await.outcome, UNSTARTED);
    assert_eq!(began.elapsed(), SECOND);
    assert!(first.end().await.outcome.is_success());
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_cancelled_in_a_launch_and_no_other_runner_is_tried() {
    let scene = scene([launches([LaunchStep::Start { after: MINUTE }]), Script::default()]);
    let result = submit_and_cancel_after(&scene, SECOND).await.end().await;
    assert_eq!(result.outcome, UNSTARTED);
    assert_eq!(scene.story(), ["first: LaunchAsked", "first: Refused(Cancelled)"]);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_starts_in_spite_of_a_cancel_is_followed_and_ended() {
    let lost = LaunchStep::AnswerLost { effect: Some(2 * SECOND), answer: 5 * SECOND };
    let mut script = launches([lost]);
    script.runs.push_back(Run::endless());
    let scene = scene([script, Script::default()]);
    let result = submit_and_cancel_after(&scene, SECOND).await.end().await;
    assert_eq!(result.outcome, Outcome::Cancelled { code: Some(143) });
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_launch_without_an_answer_is_fenced() {
    let lost = LaunchStep::AnswerLost { effect: Some(MINUTE), answer: 5 * SECOND };
    let scene = scene([launches([lost]), Script::default()]);
    let result = submit_and_cancel_after(&scene, SECOND).await.end().await;
    assert_eq!(result.outcome, UNSTARTED);
    sleep(2 * MINUTE).await;
    assert_eq!(scene.story(), ["first: LaunchAsked", "first: Fenced", "first: StartPrevented"]);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_heeds_neither_deadline_nor_cancel_is_fenced() {
    let scene = scene([launches([LaunchStep::Hang { effect: Some(MINUTE) }]), Script::default()]);
    let result = submit_and_cancel_after(&scene, SECOND).await.end().await;
    assert_eq!(result.outcome, UNSTARTED);
    sleep(2 * MINUTE).await;
    assert_eq!(scene.count(|w| *w == What::Started), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_job_gets_its_own_grace_period() {
    let mut script = Script::default();
    script.runs.push_back(Run::endless().ignoring_term());
    let scene = scene([script]);
    let mut spec = job();
    spec.grace_period = Some("20s".parse().unwrap());
    let job = scene.dispatcher.submit(spec).await.unwrap();
    sleep(MINUTE).await;
    let began = Instant::now();
    job.cancel();
    assert_eq!(job.end().await.outcome, Outcome::Cancelled { code: Some(137) });
    assert_eq!(began.elapsed(), 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_second_cancel_without_grace_kills() {
    let mut script = Script::default();
    script.runs.push_back(Run::endless().ignoring_term());
    let scene = scene([script]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(MINUTE).await;
    let began = Instant::now();
    job.cancel_within(MINUTE);
    sleep(SECOND).await;
    job.kill();
    assert_eq!(job.end().await.outcome, Outcome::Cancelled { code: Some(137) });
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_fails_is_tried_again_until_it_is_heard() {
    let mut script = Script::default();
    script.runs.push_back(Run::endless());
    script.cancels.extend([CallStep::Fail, CallStep::AnswerLost, CallStep::Fail]);
    let scene = scene([script]);
    let result = submit_and_cancel_after(&scene, SECOND).await.end().await;
    assert_eq!(result.outcome, Outcome::Cancelled { code: Some(143) });
}

#[tokio::test(start_paused = true)]
async fn a_cancel_after_the_end_changes_nothing() {
    let scene = scene([Script::default()]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    let known = job.result().await.unwrap();
    job.cancel();
    assert_eq!(job.end().await, known);
    assert!(known.outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_job_is_still_followed_to_its_end_and_removed() {
    let scene = scene([Script::default()]);
    drop(scene.dispatcher.submit(job()).await.unwrap());
    scene.shut_down().await;
    assert_eq!(scene.count(|w| matches!(w, What::Ended { .. })), 1);
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_canceller_outlives_its_job() {
    let mut script = Script::default();
    script.runs.push_back(Run::endless());
    let scene = scene([script]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    let canceller = job.canceller();
    drop(job);
    sleep(SECOND).await;
    canceller.cancel();
    scene.shut_down().await;
    assert_eq!(scene.present(), 0);
}

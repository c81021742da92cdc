//! Jobs whose backend goes away while they run.

use longshore_conformance::simulated::{CallStep, Run, Script, What, Written};
use longshore_core::Outcome;
use tokio::time::{Instant, sleep};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_job_outlives_an_outage_shorter_than_lost_after() {
    let mut script = Script { outages: vec![MINUTE..9 * MINUTE], ..Script::default() };
    script.runs.push_back(Run::exits(4, 5 * MINUTE));
    let scene = scene([script, Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 4, signal: None });
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_out_of_reach_for_lost_after_is_lost_and_not_removed() {
    // The backend returns just in time for a removal, which would kill the job.
    let outage = MINUTE..11 * MINUTE + SECOND / 2;
    let mut script = Script { outages: vec![outage], ..Script::default() };
    script.runs.push_back(Run::exits(4, 60 * MINUTE));
    let scene = scene([script, Script::default()]);
    let began = Instant::now();
    let result = scene.run(job()).await;
    let Outcome::Lost { message } = &result.outcome else { panic!("{:?}", result.outcome) };
    assert!(message.contains("may still run"), "{message}");
    assert_eq!(began.elapsed(), 11 * MINUTE);
    assert_eq!(result.runner, Some(name("first")));
    sleep(MINUTE).await;
    assert_eq!(scene.present(), 1);
}

/// Each successful probe of the backend put `lostAfter` off, and such a job was never lost.
#[tokio::test(start_paused = true)]
async fn a_job_that_its_healthy_backend_cannot_read_is_lost_after_lost_after() {
    let mut script = Script::default();
    script.runs.push_back(Run::exits(4, 60 * MINUTE).unreadable_after(MINUTE));
    let scene = scene([script, Script::default()]);
    let began = Instant::now();
    let result = scene.run(job()).await;
    let Outcome::Lost { message } = &result.outcome else { panic!("{:?}", result.outcome) };
    assert!(message.contains("the attempt cannot be read"), "{message}");
    assert_eq!(began.elapsed(), 11 * MINUTE);
    assert_eq!(scene.present(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_deleted_is_lost_at_once_with_the_output_so_far() {
    let output = (0..120).map(|i| Written::stdout(i * SECOND, "x".into()));
    let mut script = Script::default();
    script
        .runs
        .push_back(Run::exits(0, 2 * MINUTE).writing(output).vanishing(59 * SECOND + SECOND / 2));
    let scene = scene([script, Script::default()]);
    let began = Instant::now();
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let (text, gap) = read(job.take_logs().unwrap()).await;
    assert_eq!((text.len(), gap), (60, true));
    assert!(matches!(job.end().await.outcome, Outcome::Lost { .. }));
    assert!(began.elapsed() < 65 * SECOND, "{:?}", began.elapsed());
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_job_is_not_lost() {
    let mut script = Script { outages: vec![MINUTE..2 * MINUTE], ..Script::default() };
    script.runs.push_back(Run::exits(0, 2000 * MINUTE));
    let scene = scene([script]);
    assert!(scene.run(job()).await.outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_is_tried_again_and_never_masks_the_outcome() {
    let mut script = Script::default();
    script.removals.extend([CallStep::Fail, CallStep::AnswerLost]);
    let scene_back = scene([script]);
    assert!(scene_back.run(job()).await.outcome.is_success());
    assert_eq!(scene_back.present(), 0);
    let mut script = Script::default();
    script.removals.extend([CallStep::Fail; 10]);
    let scene_gone = scene([script]);
    assert!(scene_gone.run(job()).await.outcome.is_success());
    assert_eq!(scene_gone.count(|w| matches!(w, What::Removed { .. })), 0);
}

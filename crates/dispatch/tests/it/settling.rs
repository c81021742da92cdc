//! Launches that give no clear answer.

use longshore_conformance::simulated::{LaunchStep, Run, Script, SettleStep, What};
use longshore_core::Outcome;
use longshore_dispatch::Settings;
use tokio::time::{Instant, sleep};

use crate::support::*;

fn unclear(effect: Option<std::time::Duration>) -> Script {
    launches([LaunchStep::AnswerLost { effect, answer: 10 * SECOND }])
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_provably_never_started_falls_back_as_if_refused() {
    let scene = scene([unclear(Some(MINUTE)), Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(result.passed_over[0].kind, "Unavailable");
    sleep(2 * MINUTE).await;
    assert_eq!(scene.count(|w| *w == What::Started), 1);
    assert_eq!(scene.count(|w| *w == What::StartPrevented), 1);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_may_have_started_is_followed_and_never_replaced() {
    let mut script = unclear(Some(5 * SECOND));
    script.runs.push_back(Run::exits(7, MINUTE));
    let scene = scene([script, Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 7, signal: None });
    assert_eq!(result.runner, Some(name("first")));
    assert!(result.started_at.is_some());
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_settle_that_fails_is_asked_again() {
    for steps in [
        vec![SettleStep::Fail, SettleStep::Fail],
        vec![SettleStep::AnswerLost],
        vec![SettleStep::Hang, SettleStep::Fail],
    ] {
        let mut script = unclear(None);
        script.settles.extend(steps.clone());
        let scene = scene([script, Script::default()]);
        let result = scene.run(job()).await;
        assert_eq!(result.runner, Some(name("second")), "{steps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_followed_though_nobody_can_settle_it() {
    let mut script = unclear(Some(5 * SECOND));
    script.settles.extend([SettleStep::Fail; 100]);
    script.runs.push_back(Run::exits(3, 30 * MINUTE));
    let scene = scene([script, Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 3, signal: None });
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_settle_or_find_is_lost_after_lost_after_and_never_retried() {
    let mut script = unclear(None);
    script.settles.extend([SettleStep::Fail; 1000]);
    let mut settings = Settings::default();
    settings.lost_after = "2m".parse().unwrap();
    let scene = scene_with(settings, [script, Script::default()]);
    let began = Instant::now();
    let job = scene.dispatcher.submit(job()).await.unwrap();
    let result = job.result().await.unwrap();
    assert!(matches!(&result.outcome, Outcome::Lost { message } if message.contains("lostAfter")));
    assert_eq!(began.elapsed(), 10 * SECOND + 2 * MINUTE);
    assert_eq!(job.end().await, result);
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_a_job_that_is_not_settled_yet() {
    let mut script = unclear(Some(5 * SECOND));
    script.settles.push_back(SettleStep::Hang);
    script.runs.push_back(Run::endless());
    let scene = scene([script]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    sleep(15 * SECOND).await;
    job.cancel();
    assert_eq!(job.end().await.outcome, Outcome::Cancelled { code: Some(143) });
    assert_eq!(scene.present(), 0);
}

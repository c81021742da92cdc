//! Building a dispatcher and submitting to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use longshore_conformance::simulated::{LaunchStep, Run, Script, World, Written};
use longshore_core::{ErrorKind, JobSpec, SecretSource};
use longshore_dispatch::{BuildError, Dispatcher, Settings, Submission};
use tokio::time::{sleep, timeout};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_dispatcher_needs_runners_with_names_of_their_own() {
    assert_eq!(Dispatcher::builder().build().unwrap_err(), BuildError::NoRunner);
    let world = World::new();
    let runner = Arc::new(world.runner(name("docker"), Script::default()));
    let twice = Dispatcher::builder().runner(runner.clone()).runner(runner).build().unwrap_err();
    assert_eq!(twice, BuildError::DuplicateRunner(name("docker")));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_job_is_said_before_anything_starts() {
    let scene = scene([Script::default()]);
    let refused = async |spec: JobSpec| {
        let error = scene.dispatcher.submit(spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        error.to_string()
    };
    assert!(refused(JobSpec::default()).await.contains("nothing to run"));
    let mut spec = job();
    spec.runners = Some(vec![name("frist")]);
    assert!(refused(spec).await.contains("did you mean `first`?"));
    let mut spec = job();
    spec.secret_env.insert("T".to_owned(), SecretSource::File("/no/such".into()));
    assert!(refused(spec).await.contains("/no/such"));
    assert!(scene.story().is_empty());
}

#[tokio::test(start_paused = true)]
async fn submit_waits_for_room_and_may_be_given_up() {
    let mut script = Script::default();
    script.runs.push_back(Run::exits(0, MINUTE));
    let mut settings = Settings::default();
    settings.max_jobs = 1.try_into().unwrap();
    let scene = scene_with(settings, [script]);
    let first = scene.dispatcher.submit(job()).await.unwrap();
    assert!(timeout(SECOND, scene.dispatcher.submit(job())).await.is_err());
    assert!(first.end().await.outcome.is_success());
    assert!(scene.run(job()).await.outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_jobs_in_flight_and_takes_no_more() {
    let mut script = Script::default();
    script.runs.push_back(Run::exits(0, MINUTE));
    let scene = scene([script]);
    let job_in_flight = scene.dispatcher.submit(job()).await.unwrap();
    let (dispatcher, again) = (scene.dispatcher.clone(), scene.dispatcher.clone());
    let shutdown = tokio::spawn(async move { dispatcher.shutdown().await });
    sleep(SECOND).await;
    let refused = again.submit(job()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!shutdown.is_finished());
    assert!(job_in_flight.end().await.outcome.is_success());
    timeout(SECOND, shutdown).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_tells_what_happens_to_it_in_order() {
    let scene = scene([refuses(ErrorKind::Saturated), Script::default()]);
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let events = job.take_events().unwrap();
    job.end().await;
    let words: Vec<String> = events.map(|e| word(&e)).collect().await;
    let words: Vec<&str> =
        words.iter().map(String::as_str).filter(|w| !w.starts_with("Runner")).collect();
    assert_eq!(
        words,
        [
            "probing first",
            "launching first",
            "passed over first",
            "probing second",
            "launching second",
            "started second"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_at_once_each_have_their_own_result() {
    let mut script = Script::default();
    script.runs.extend((0..1000).map(|i| Run::exits(i % 100, SECOND / 100)));
    let scene = scene([script]);
    let jobs = (0..1000).map(|_| scene.run(job()));
    let results = timeout(MINUTE, futures::future::join_all(jobs)).await.unwrap();
    let mut codes: Vec<i32> = results.iter().map(|r| r.outcome.exit_code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, (0..1000).map(|i| i / 10).collect::<Vec<_>>());
    assert_eq!(scene.present(), 0);
}

#[test]
fn a_job_whose_runtime_is_shut_down_is_stopped_and_neither_lost_nor_a_success() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let under = build();
    let job = under.block_on(async {
        let scene = scene([Script::default()]);
        scene.dispatcher.submit(job()).await.unwrap()
    });
    drop(under);
    let id = job.id().clone();
    let stopped = build().block_on(job.wait()).unwrap_err();
    assert_eq!(stopped.job, id);
    assert!(stopped.to_string().contains("which may still run"), "{stopped}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_dispatcher_abandons_is_stopped_and_not_lost() {
    let scene = scene([launches([LaunchStep::Start { after: MINUTE }; 2])]);
    let job = scene.dispatcher.submit(job()).await.unwrap();
    let detached = scene.dispatcher.submit_detached(crate::support::job()).await.unwrap();
    scene.dispatcher.abandon();
    scene.shut_down().await;
    assert!(job.result().await.unwrap_err().reason.contains("abandoned its jobs"));
    job.wait().await.unwrap_err();
    detached.left().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_known_is_told_though_the_job_is_abandoned() {
    let lines = [Written::stdout(Duration::ZERO, Bytes::from("unread"))];
    let mut script = Script::default();
    script.runs.push_back(Run::exits(3, SECOND).writing(lines));
    let scene = scene([script]);
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let _unread = job.take_logs();
    assert_eq!(job.result().await.unwrap().outcome.exit_code(), 3);
    scene.dispatcher.abandon();
    scene.shut_down().await;
    assert_eq!(job.wait().await.unwrap().outcome.exit_code(), 3);
}

#[test]
fn settings_are_read_in_camel_case_and_unknown_keys_refused() {
    let json = serde_json::json!({"fallbackOn": ["imageUnavailable"], "connectTimeout": "2s"});
    let settings: Settings = serde_json::from_value(json).unwrap();
    assert_eq!(settings.connect_timeout, "2s".parse().unwrap());
    assert_eq!(settings.lost_after, Settings::default().lost_after);
    assert!(serde_json::from_str::<Settings>(r#"{"conectTimeout": "2s"}"#).is_err());
    assert!(serde_json::from_str::<Settings>(r#"{"maxJobs": 0}"#).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_kept_job_stays_on_its_runner_until_it_is_removed() {
    let scene = scene([Script::default()]);
    let kept = scene.dispatcher.submit(Submission::new(job()).kept()).await.unwrap();
    let id = kept.id().clone();
    assert!(kept.end().await.outcome.is_success());
    scene.run(job()).await;
    assert_eq!(scene.present(), 1, "the other job is removed");
    scene.dispatcher.remove(&id).await.unwrap();
    assert_eq!(scene.present(), 0);
}

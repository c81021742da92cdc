//! The output of recorded jobs, and which jobs need a follower.

use longshore_conformance::simulated::{LaunchStep, Run, Script, Written};
use longshore_core::{Capabilities, Capability, Error, ErrorKind, HumanDuration, LogPosition};
use longshore_dispatch::{Dispatcher, Settings, Submission};
use tokio::time::{Instant, sleep, timeout};

use crate::recovering::{Setup, hangs, kill, lines, text};
use crate::support::*;

const LAUNCHED_AFTER: std::time::Duration = MINUTE;

/// A backend that takes a while to launch a job. The job then writes ten lines.
fn slow() -> Setup {
    let written = (0..10).map(|i| Written::stdout(i * MINUTE, format!("line {i}\n").into()));
    let mut script = launches([LaunchStep::Start { after: LAUNCHED_AFTER }]);
    script.runs.push_back(Run::exits(0, 15 * MINUTE).writing(written));
    Setup::new(script)
}

/// Returns why the output of the job `id` cannot be followed.
async fn refusal(dispatcher: &Dispatcher, id: &longshore_core::JobId, follow: bool) -> Error {
    let asked = dispatcher.logs(id, LogPosition::START, follow);
    let error = timeout(60 * MINUTE, asked).await.unwrap().err().expect("it has output");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    error
}

#[tokio::test(start_paused = true)]
async fn output_that_is_followed_is_waited_for_while_the_job_is_launched() {
    for wait in [std::time::Duration::ZERO, SECOND] {
        let setup = slow();
        let owner = setup.dispatcher();
        let job = owner.submit_detached(job()).await.unwrap();
        sleep(wait).await;
        assert_eq!(text(&setup.dispatcher(), job.id(), true).await, lines(10));
    }
}

#[tokio::test(start_paused = true)]
async fn output_that_is_followed_where_the_job_is_submitted_is_waited_for_too() {
    let setup = slow();
    let owner = setup.dispatcher();
    let job = owner.submit_detached(job()).await.unwrap();
    assert_eq!(text(&owner, job.id(), true).await, lines(10));
}

#[tokio::test(start_paused = true)]
async fn output_of_a_job_that_nobody_takes_is_refused_with_how_it_ended() {
    let setup = Setup::new(Script { probes: [hangs()].into(), ..Script::default() });
    let owner = setup.dispatcher();
    let id = owner.submit(job()).await.unwrap().id().clone();
    let other = setup.dispatcher();
    let began = Instant::now();
    let now = refusal(&other, &id, false).await;
    assert!(now.to_string().contains("has not started"), "{now}");
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    let then = refusal(&other, &id, true).await;
    assert!(then.to_string().contains("no runner took it"), "{then}");
}

#[tokio::test(start_paused = true)]
async fn output_of_a_job_whose_launcher_is_killed_is_refused_once_it_is_fenced() {
    let setup = Setup::new(launches([LaunchStep::Hang { effect: Some(5 * MINUTE) }]));
    let owner = setup.dispatcher();
    let id = owner.submit(job()).await.unwrap().id().clone();
    let other = setup.dispatcher();
    let killed = async {
        sleep(MINUTE).await;
        kill(&owner).await;
    };
    let (error, ()) = tokio::join!(refusal(&other, &id, true), killed);
    assert!(error.to_string().contains("before the job started"), "{error}");
    sleep(20 * MINUTE).await;
    assert_eq!(setup.starts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_submission_of_a_detached_job_that_is_followed_gives_its_output() {
    let setup = slow();
    let submission = || Submission::new(job()).with_key("nightly");
    let first = setup.dispatcher().submit_detached(submission()).await.unwrap();
    let id = first.id().clone();
    first.left().await.unwrap();
    let follower = setup.dispatcher().attach(&id).await.unwrap();
    sleep(SECOND).await;
    let mut second = setup.dispatcher().submit(submission()).await.unwrap();
    let output = read(second.take_logs().unwrap());
    let (output, first, second) = tokio::join!(output, follower.end(), second.end());
    assert_eq!(output, (lines(10), false));
    assert_eq!(first.outcome, second.outcome);
}

#[tokio::test(start_paused = true)]
async fn a_job_needs_a_follower_only_if_its_timeout_is_not_kept_without_one() {
    let minute = Some(HumanDuration::from(MINUTE));
    let able = Capabilities::default().with(Capability::Container);
    let keeps = able.with(Capability::KeepTimeout);
    // The runner's capabilities, the job's own timeout, the configured one, the expected answer.
    let table = [
        (able, None, None, false),
        (able, minute, None, true),
        (able, None, minute, true),
        (keeps, minute, minute, false),
    ];
    for (capabilities, own, configured, expected) in table {
        // Its probe takes a while, in which the job is on no runner.
        let mut script = Script { latency: SECOND, ..Script::default() };
        script.runs.push_back(Run::exits(0, 5 * MINUTE));
        let mut setup = Setup::new(script);
        setup.runner = setup.runner.with_capabilities(capabilities);
        let mut settings = Settings::default();
        settings.timeout = configured;
        let dispatcher = setup.dispatcher_with(settings);
        let mut spec = job();
        spec.timeout = own;
        let detached = dispatcher.submit_detached(spec).await.unwrap();
        let id = detached.id().clone();
        let queued = setup.journal.record(&id).await.unwrap();
        assert!(!dispatcher.needs_follower(&queued), "it is on no runner yet");
        detached.left().await.unwrap();
        let record = setup.journal.record(&id).await.unwrap();
        assert_eq!(dispatcher.needs_follower(&record), expected, "{capabilities:?}");
        dispatcher.attach(&id).await.unwrap().end().await;
        let record = setup.journal.record(&id).await.unwrap();
        assert!(!dispatcher.needs_follower(&record), "it has ended");
    }
}

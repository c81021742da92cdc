//! A service that starts again, with all jobs of the process before.

use futures::StreamExt;
use longshore_conformance::simulated::{LaunchStep, Run, Script, Written};
use longshore_core::{ErrorKind, LogChunk, LogPosition, LogStream};
use longshore_dispatch::{Dispatcher, Submission};
use longshore_journal::{Filter, State};
use tokio::time::{sleep, timeout};

use crate::recovering::{Setup, kill};
use crate::support::*;

fn three_runs() -> Script {
    let mut script = Script::default();
    script.runs.extend((0..3).map(|code| Run::exits(code, MINUTE)));
    script
}

#[tokio::test(start_paused = true)]
async fn every_unfinished_job_of_a_killed_service_is_followed_to_its_end() {
    let setup = Setup::new(three_runs());
    let mut ids = vec![setup.orphan().await, setup.orphan().await];
    let first = setup.dispatcher();
    let ended = first.submit(Submission::new(job()).kept()).await.unwrap().end().await.job;
    kill(&first).await;

    let second = setup.dispatcher();
    let jobs = second.attach_all().await.unwrap();
    let mut followed: Vec<_> = jobs.iter().map(|(id, _)| id.clone()).collect();
    followed.sort();
    ids.sort();
    assert_eq!(followed, ids, "not {ended}, which has ended");
    for (_, job) in jobs {
        assert!(job.unwrap().end().await.outcome.ran_to_its_end());
    }
    assert_eq!(setup.starts(), 3);
    let open = second.records(Filter::default().not_ended()).await.unwrap();
    assert_eq!(open, []);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_followed_does_not_hide_the_others() {
    let setup = Setup::new(three_runs());
    let id = setup.orphan().await;
    let world = longshore_conformance::simulated::World::new();
    let other = world.runner(name("second"), Script::default());
    let without = Dispatcher::builder()
        .runner(std::sync::Arc::new(other))
        .journal(setup.journal.clone())
        .build()
        .unwrap();
    let jobs = without.attach_all().await.unwrap();
    let [(found, Err(error))] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!((found, error.kind()), (&id, ErrorKind::InvalidSpec));
    assert!(error.to_string().contains("first"), "it names the runner: {error}");
}

/// It stayed `Launching` on record until its end, and readers of its output waited as long.
#[tokio::test(start_paused = true)]
async fn a_job_whose_service_was_killed_during_the_launch_is_running_once_it_is_seen_to_run() {
    let effect = Some(SECOND);
    let mut script = launches([LaunchStep::Hang { effect }]);
    script
        .runs
        .push_back(Run::exits(5, 60 * MINUTE).writing([Written::stdout(SECOND, "x".into())]));
    let setup = Setup::new(script);
    let first = setup.dispatcher();
    let id = first.submit(job()).await.unwrap().id().clone();
    sleep(MINUTE).await;
    kill(&first).await;
    assert_eq!(setup.journal.record(&id).await.unwrap().state(), State::Launching);

    let second = setup.dispatcher();
    let job = second.attach(&id).await.unwrap();
    let third = setup.dispatcher();
    let logs = timeout(MINUTE, third.logs(&id, LogPosition::START, true)).await;
    let first = logs.expect("it waits for the end").unwrap().next().await.unwrap().unwrap();
    assert_eq!(first, LogChunk::data(LogStream::Stdout, 0, "x".into()));
    let record = setup.journal.record(&id).await.unwrap();
    assert_eq!(record.state(), State::Running);
    let result = job.end().await;
    assert_eq!((result.outcome.exit_code(), setup.starts()), (5, 1));
    assert!(result.started_at.is_some());
}

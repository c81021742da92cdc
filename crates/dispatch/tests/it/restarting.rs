//! A service that starts again, with all jobs of the process before.

use longshore_conformance::simulated::{Run, Script};
use longshore_core::ErrorKind;
use longshore_dispatch::{Dispatcher, Submission};
use longshore_journal::Filter;

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

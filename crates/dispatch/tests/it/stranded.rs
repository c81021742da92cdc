//! Jobs on a runner that was taken out of the configuration.

use std::sync::Arc;
use std::time::Duration;

use longshore_conformance::simulated::{LaunchStep, Run, Script, World};
use longshore_core::{ErrorKind, LogPosition, Outcome};
use longshore_dispatch::{Dispatcher, Fate};
use longshore_journal::Filter;
use tokio::time::timeout;

use crate::recovering::{Setup, kill};
use crate::support::*;

/// A dispatcher on the journal of `setup`, without its runner.
fn without_the_runner(setup: &Setup) -> Dispatcher {
    Dispatcher::builder()
        .runner(Arc::new(World::new().runner(name("second"), Script::default())))
        .jitter_seed(1)
        .installation("here".parse().unwrap())
        .journal(setup.journal.clone())
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_runner_is_not_configured_fails_at_once_with_what_to_do() {
    let setup = Setup::running(Run::exits(7, 10 * MINUTE));
    let id = setup.orphan().await;
    let dispatcher = without_the_runner(&setup);
    let errors = [
        dispatcher.attach(&id).await.map(drop).unwrap_err(),
        dispatcher.cancel(&id, None).await.map(drop).unwrap_err(),
        dispatcher.logs(&id, LogPosition::START, true).await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        let message = error.to_string();
        assert!(message.contains("on the runner `first`, which is not configured"), "{message}");
        assert!(message.contains("rm --force"), "{message}");
    }
    let record = setup.journal.record(&id).await.unwrap();
    assert_eq!(record.cancel, None, "a cancel that failed has no effect later");
    assert_eq!(dispatcher.stranded_on(&record).await, Some(name("first")));
    let result = setup.dispatcher().attach(&id).await.unwrap().end().await;
    assert_eq!(result.outcome.exit_code(), 7, "once its runner is back, it is finished");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_its_own_process_follows_is_waited_for_and_cancelled_without_its_runner() {
    let setup = Setup::running(Run::endless());
    let owner = setup.dispatcher();
    let job = owner.submit(job()).await.unwrap();
    let dispatcher = without_the_runner(&setup);
    let attached = dispatcher.attach(job.id()).await.unwrap();
    assert!(dispatcher.cancel(job.id(), None).await.unwrap());
    let outcome = attached.end().await.outcome;
    assert!(matches!(outcome, Outcome::Cancelled { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_runner_is_not_configured_is_given_up_and_named() {
    for ended in [false, true] {
        let setup = Setup::running(Run::exits(0, MINUTE));
        let id = setup.orphan().await;
        if ended {
            setup.dispatcher().attach(&id).await.unwrap().end().await;
        }
        let dispatcher = without_the_runner(&setup);
        if ended {
            let error = dispatcher.remove(&id).await.unwrap_err();
            assert!(error.to_string().contains("not configured"), "{error}");
        }
        for dry_run in [true, false] {
            let reaped = dispatcher.gc(Some(Duration::ZERO), dry_run).await.unwrap();
            let [left] = &reaped.leftovers[..] else { panic!("{reaped:?}") };
            assert_eq!((&left.runner, &left.fate), (&name("first"), &Fate::Kept));
            assert!(left.why.contains("its runner is not configured"), "{left:?}");
        }
        let left = dispatcher.give_up(&id).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].attempt.as_str(), format!("{id}-1"));
        assert!(setup.journal.list(Filter::default()).await.unwrap().is_empty());
        assert_eq!(setup.runner.present(), 1, "what is on the runner is left alone");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_job_whose_owner_dies_without_its_runner_is_told_at_once() {
    let setup = Setup::new(launches([LaunchStep::Hang { effect: None }]));
    let first = setup.dispatcher();
    let id = first.submit(job()).await.unwrap().id().clone();
    tokio::time::sleep(SECOND).await;
    let waiting = without_the_runner(&setup).attach(&id).await.unwrap();
    kill(&first).await;
    // It takes the job up, and finds that it cannot follow it.
    let stopped = timeout(MINUTE, waiting.wait()).await.unwrap().unwrap_err();
    assert!(stopped.reason.contains("not configured"), "{stopped}");
    assert_eq!(without_the_runner(&setup).give_up(&id).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_on_a_configured_runner_is_not_given_up() {
    let setup = Setup::running(Run::exits(0, MINUTE));
    let id = setup.orphan().await;
    let error = setup.dispatcher().give_up(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    assert!(setup.journal.record(&id).await.is_ok());
}

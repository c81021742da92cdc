//! Attempts that a third party changes, strips of their marks, deletes or starts again.

use std::sync::Arc;
use std::time::Duration;

use longshore_conformance::simulated::{
    Change, LaunchStep, Meddling, Run, Script, SecondStart, What, World,
};
use longshore_core::Outcome;
use longshore_dispatch::{Dispatcher, Fate, JobEvent};
use longshore_journal::{Filter, Journal};
use tokio::time::sleep;

use crate::recovering::Setup;
use crate::support::*;

const fn stripped(after: Duration) -> Meddling {
    Meddling::StripsMarks { after, labels: true, releases: None }
}

fn meddled(meddling: Meddling, run: Run) -> Script {
    Script { meddling: [meddling].into(), runs: [run].into(), ..Script::default() }
}

/// The reaper recorded it as removed, and it stayed on its backend for ever.
#[tokio::test(start_paused = true)]
async fn an_ended_job_that_lost_its_labels_is_removed_by_the_reaper() {
    let setup = Setup::new(meddled(stripped(MINUTE), Run::exits(0, 2 * MINUTE)));
    setup.orphan().await;
    sleep(20 * MINUTE).await;
    let dispatcher = setup.dispatcher();
    // The first look records the end.
    dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(setup.runner.present(), 0);
    assert!(setup.journal.list(Filter::default()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_job_without_labels_is_kept_by_the_reaper_while_it_runs() {
    let mut script = meddled(stripped(SECOND), Run::exits(0, 60 * MINUTE));
    script.outages.push(MINUTE..20 * MINUTE);
    let setup = Setup::new(script);
    let dispatcher = setup.dispatcher();
    let lost = dispatcher.submit(job()).await.unwrap().end().await;
    assert!(matches!(lost.outcome, Outcome::Lost { .. }), "{lost:?}");
    sleep(20 * MINUTE).await;
    let reaped = dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(reaped.leftovers[0].fate, Fate::Kept, "{reaped:?}");
    assert_eq!(setup.runner.present(), 1);
    sleep(60 * MINUTE).await;
    dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(setup.runner.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_stripped_before_its_commit_is_lost_removed_and_never_replaced() {
    let mut script = meddled(stripped(SECOND), Run::default());
    script.launches.push_back(LaunchStep::Start { after: MINUTE });
    let scene = scene([script, Script::default()]);
    let result = scene.run(job()).await;
    assert!(matches!(result.outcome, Outcome::Lost { .. }), "{result:?}");
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_third_party_released_is_followed_and_never_replaced() {
    let meddling = Meddling::StripsMarks { after: SECOND, labels: false, releases: Some(SECOND) };
    let mut script = meddled(meddling, Run::exits(5, 10 * MINUTE));
    script.launches.push_back(LaunchStep::Start { after: MINUTE });
    let scene = scene([script, Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.outcome, Outcome::Exited { code: 5, signal: None });
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_change_before_the_commit_is_the_reason_why_the_runner_was_passed_over() {
    let changed =
        Meddling::Changes { difference: "label `x` is gone".to_owned(), effect: Change::Refused };
    let scene = scene([meddled(changed, Run::default()), Script::default()]);
    let result = scene.run(job()).await;
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(result.passed_over[0].kind, "Unsupported");
    let message = &result.passed_over[0].message;
    assert!(message.contains("label `x` is gone"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_keeps_a_committed_job_from_starting_is_its_outcome() {
    let difference = "init container `setup` was added".to_owned();
    let changed = Meddling::Changes { difference: difference.clone(), effect: Change::Blocks };
    let scene = scene([meddled(changed, Run::exits(0, MINUTE)), Script::default()]);
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let events = job.take_events().unwrap();
    let result = job.end().await;
    assert!(
        matches!(&result.outcome, Outcome::Rejected { message, .. } if message.contains(&difference)),
        "{result:?}"
    );
    assert_eq!(scene.count(|w| *w == What::LaunchAsked), 1);
    assert_eq!(scene.present(), 0);
    let events: Vec<JobEvent> = futures::StreamExt::collect(events).await;
    assert!(
        events.iter().any(|event| matches!(
            event,
            JobEvent::Settling { message, .. } if message.contains(&difference)
        )),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_start_by_the_backend_is_in_the_result_and_the_first_run_is_the_outcome() {
    for again in [SecondStart::Beside(MINUTE), SecondStart::AfterTheEnd(Duration::ZERO)] {
        let run = Run::exits(3, 2 * MINUTE).starting_again(again);
        let scene = scene([Script { runs: [run].into(), ..Script::default() }, Script::default()]);
        let result = scene.run(job()).await;
        assert_eq!(result.outcome, Outcome::Exited { code: 3, signal: None }, "{again:?}");
        assert_eq!(result.started_again.len(), 1, "{again:?}");
        assert_eq!(scene.present(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_deletion_is_pending_is_followed_to_its_own_end() {
    let run = Run::exits(4, 10 * MINUTE).vanishing(MINUTE).finalized_after(20 * MINUTE);
    let world = World::new();
    let runner = world.runner(name("first"), Script { runs: [run].into(), ..Script::default() });
    let journal = Journal::in_memory().unwrap();
    let builder = Dispatcher::builder().runner(Arc::new(runner.clone())).journal(journal.clone());
    let dispatcher = builder.build().unwrap();
    let result = dispatcher.submit(job()).await.unwrap().end().await;
    assert_eq!(result.outcome, Outcome::Exited { code: 4, signal: None });
    assert_eq!(runner.present(), 1, "the finalizer keeps it");
    sleep(20 * MINUTE).await;
    assert_eq!(runner.present(), 0);
    dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert!(journal.list(Filter::default()).await.unwrap().is_empty());
}

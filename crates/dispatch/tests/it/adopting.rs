//! Jobs whose journal was lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use longshore_conformance::simulated::{Run, Script, SimulatedRunner};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{Handle, InstallationId, LogPosition, Runner, Settled};
use longshore_dispatch::{Dispatcher, Fate, Leftover, Reaped};
use longshore_journal::{Filter, Journal, State};
use tokio::time::{Instant, sleep};

use crate::recovering::{Setup, attached, exited};
use crate::support::*;

/// The reaper removed the job that had ended, with its output, which nobody had seen. The other one
/// stayed without a record.
#[tokio::test(start_paused = true)]
async fn jobs_of_a_lost_journal_are_adopted_with_their_output() {
    let mut script = Script::default();
    script.runs.extend([Run::exits(3, MINUTE), Run::exits(0, 600 * MINUTE)]);
    let mut setup = Setup::new(script);
    let (over, runs) = (setup.orphan().await, setup.orphan().await);
    sleep(20 * MINUTE).await;
    setup.journal = Journal::in_memory().unwrap();
    let dispatcher = setup.dispatcher();
    let fates = |leftovers: &[Leftover]| {
        let fates = leftovers.iter().map(|left| (left.attempt.clone(), left.fate.clone()));
        fates.collect::<HashMap<_, _>>()
    };
    let dry = dispatcher.gc(Some(Duration::ZERO), true).await.unwrap();
    let kept = [(over.attempt(1), Fate::Kept), (runs.attempt(1), Fate::Kept)];
    assert_eq!(fates(&dry.leftovers), kept.into());
    assert!(setup.journal.list(Filter::default()).await.unwrap().is_empty());

    let reaped = dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    let adopted = [(over.attempt(1), Fate::Adopted), (runs.attempt(1), Fate::Adopted)];
    assert_eq!(fates(&reaped.leftovers), adopted.into());
    assert_eq!(setup.runner.present(), 2);
    let record = setup.journal.record(&over).await.unwrap();
    assert!(record.is_adopted());
    assert_eq!(record.result.unwrap().outcome, exited(3));
    let output = dispatcher.logs(&over, LogPosition::default(), false).await.unwrap();
    assert!(output.collect::<Vec<_>>().await.iter().all(Result::is_ok));
    assert_eq!(setup.journal.record(&runs).await.unwrap().state(), State::Running);
    assert_eq!(attached(&dispatcher, &runs).await, exited(0));

    let reaped = dispatcher.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(reaped.leftovers.len(), 2, "{reaped:?}");
    assert_eq!(setup.runner.present(), 0);
}

/// A runner on which no attempt has started.
#[derive(Debug)]
struct Unstarted(SimulatedRunner);

#[async_trait]
impl Forward for Unstarted {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn settle(&self, _: &Handle, _: Instant) -> longshore_core::Result<Settled> {
        Ok(Settled::NeverStarted)
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_of_a_lost_journal_that_never_started_is_removed_and_not_adopted() {
    let setup = Setup::running(Run::exits(0, MINUTE));
    let job = setup.orphan().await;
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(Forwarding(Unstarted(setup.runner.clone()))))
        .installation("here".parse().unwrap())
        .build()
        .unwrap();
    let adopted = dispatcher.adopt().await.unwrap();
    assert_eq!(adopted.leftovers.len(), 1, "{adopted:?}");
    assert_eq!(adopted.leftovers[0].fate, Fate::Removed);
    assert!(dispatcher.record(job.as_str()).await.is_err());
    assert_eq!(setup.runner.present(), 0);
}

/// A runner that ties its attempts to another process, which has ended.
#[derive(Debug)]
struct Abandoned(SimulatedRunner);

#[async_trait]
impl Forward for Abandoned {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn adopt(&self, _: &InstallationId) -> longshore_core::Result<Vec<Handle>> {
        Ok(Vec::new())
    }

    async fn abandoned(
        &self,
        installation: &InstallationId,
    ) -> longshore_core::Result<Vec<(Handle, String)>> {
        let all = self.0.adopt(installation).await?;
        Ok(all.into_iter().map(|handle| (handle, "its process has ended".to_owned())).collect())
    }
}

/// The process's journal was in its Pod, and nothing else knew of the job.
#[tokio::test(start_paused = true)]
async fn a_job_whose_process_and_journal_are_lost_is_ended_and_removed_by_the_next_one() {
    let setup = Setup::running(Run::exits(0, 600 * MINUTE));
    let job = setup.orphan().await;
    let dispatcher = |journal| {
        Dispatcher::builder()
            .runner(Arc::new(Forwarding(Abandoned(setup.runner.clone()))))
            .installation("here".parse().unwrap())
            .journal(journal)
            .build()
            .unwrap()
    };
    let fates = |reaped: &Reaped| {
        let fates = reaped.leftovers.iter().map(|left| (left.attempt.clone(), left.fate.clone()));
        fates.collect::<Vec<_>>()
    };
    let recorded = dispatcher(setup.journal.clone()).remove_abandoned().await.unwrap();
    assert_eq!(fates(&recorded), [], "the record decides");
    let other = dispatcher(Journal::in_memory().unwrap());
    let dry = other.gc(None, true).await.unwrap();
    assert_eq!(fates(&dry), [(job.attempt(1), Fate::Remove)]);
    assert_eq!(setup.runner.present(), 1);
    let reaped = other.remove_abandoned().await.unwrap();
    assert_eq!(fates(&reaped), [(job.attempt(1), Fate::Removed)]);
    assert_eq!(setup.runner.present(), 0);
}

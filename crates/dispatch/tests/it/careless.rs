//! Runners that make a dispatcher careless in one way: the runner hides a fact, and the dispatcher
//! acts as if the fact were not true.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_conformance::simulated::SimulatedRunner;
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{
    Attempt, Error, ErrorKind, Event, EventSink, Handle, InstallationId, LaunchContext,
    LaunchError, LogChunk, LogPosition, Outcome, Report, Result, Runner, Settled, Started,
};
use tokio::time::Instant;

/// A simulated runner that hides the fact named by `FAULT`.
#[derive(Debug)]
struct Careless<const FAULT: u8>(SimulatedRunner);

pub const FALLS_BACK_AFTER_INDETERMINATE: u8 = 0;
pub const LOOKS_INSTEAD_OF_FENCING: u8 = 1;
pub const NEVER_REMOVES: u8 = 2;
pub const TAKES_ANY_END_FOR_SUCCESS: u8 = 3;
pub const REMOVES_BEFORE_THE_END: u8 = 4;
pub const DROPS_THE_END: u8 = 5;
pub const READS_WHAT_IS_THERE: u8 = 6;
pub const FORGETS_A_CANCEL: u8 = 7;
pub const REFUSES_WHAT_IS_THERE: u8 = 8;
pub const TAKES_LOST_MARKS_FOR_A_PROOF: u8 = 9;
pub const FOLLOWS_BY_LABELS: u8 = 10;
pub const REMOVES_BY_LABELS: u8 = 11;
pub const REFUSES_WHAT_WAS_CHANGED: u8 = 12;
pub const HIDES_CHANGES: u8 = 13;
pub const HIDES_SECOND_STARTS: u8 = 14;
pub const EXCUSES_ITS_OWN_SECOND_START: u8 = 15;
pub const TAKES_THE_LAST_RUN_FOR_THE_JOB: u8 = 16;
pub const TAKES_A_PENDING_DELETION_FOR_THE_END: u8 = 17;

/// Whether `runner` finds the attempt by its labels.
pub async fn is_listed(runner: &SimulatedRunner, handle: &Handle) -> Result<bool> {
    let present = runner.adopt(&InstallationId::random()).await?;
    Ok(present.iter().any(|other| other.attempt == handle.attempt))
}

impl<const FAULT: u8> Careless<FAULT> {
    /// Returns `report` as this runner reports it.
    async fn distort(runner: &SimulatedRunner, handle: &Handle, mut report: Report) -> Report {
        let is_gone = match FAULT {
            FOLLOWS_BY_LABELS => is_listed(runner, handle).await.is_ok_and(|listed| !listed),
            TAKES_A_PENDING_DELETION_FOR_THE_END => runner.is_being_deleted(&handle.attempt),
            _ => false,
        };
        if is_gone {
            report.outcome = Outcome::Lost { message: "it is gone".to_owned() };
        }
        let is_success = match FAULT {
            TAKES_ANY_END_FOR_SUCCESS => true,
            TAKES_THE_LAST_RUN_FOR_THE_JOB => !report.started_again.is_empty(),
            _ => false,
        };
        if is_success {
            report.outcome = Outcome::Exited { code: 0, signal: None };
        }
        match FAULT {
            HIDES_SECOND_STARTS => report.started_again.clear(),
            EXCUSES_ITS_OWN_SECOND_START => report.started_again.push("another".to_owned()),
            _ => {}
        }
        report
    }
}

#[async_trait]
impl<const FAULT: u8> Forward for Careless<FAULT> {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        let mut context = context.clone();
        if FAULT == HIDES_CHANGES {
            context.events = EventSink::default();
        }
        match self.0.launch(attempt, &context).await {
            Err(LaunchError::Indeterminate(error))
                if matches!(
                    FAULT,
                    FALLS_BACK_AFTER_INDETERMINATE | EXCUSES_ITS_OWN_SECOND_START
                ) =>
            {
                Err(LaunchError::Refused(error))
            }
            Err(LaunchError::Indeterminate(error))
                if FAULT == REFUSES_WHAT_WAS_CHANGED && error.kind() == ErrorKind::Unsupported =>
            {
                Err(LaunchError::Refused(error))
            }
            Err(LaunchError::Indeterminate(error)) if FAULT == HIDES_CHANGES => {
                Err(LaunchError::Indeterminate(Error::new(error.kind(), "it may have started")))
            }
            Err(LaunchError::Indeterminate(error)) if FAULT == REFUSES_WHAT_IS_THERE => {
                // On a second launch, a backend that has the attempt answers 409, and the runner
                // adopts it.
                match self.0.launch(attempt, &context).await {
                    Ok(_) => Err(LaunchError::Refused(error)),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        if FAULT == LOOKS_INSTEAD_OF_FENCING {
            let is_there = is_listed(&self.0, handle).await?;
            return Ok(if is_there { Settled::MayHaveStarted } else { Settled::NeverStarted });
        }
        let settled = self.0.settle(handle, deadline).await?;
        if FAULT == TAKES_LOST_MARKS_FOR_A_PROOF
            && let Some(Ok(Event::Ended(Report { outcome: Outcome::Lost { .. }, .. }))) =
                self.0.events(handle).next().await
        {
            return Ok(Settled::NeverStarted);
        }
        Ok(settled)
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        let (runner, handle) = (self.0.clone(), handle.clone());
        let events = self.0.events(&handle).filter(|item| {
            let is_hidden = FAULT == HIDES_CHANGES && matches!(item, Ok(Event::Waiting(_)));
            std::future::ready(!is_hidden)
        });
        Box::pin(events.then(move |item| {
            let (runner, handle) = (runner.clone(), handle.clone());
            async move {
                if FAULT == REMOVES_BEFORE_THE_END && matches!(item, Ok(Event::Started(_))) {
                    let _ = runner.remove(&handle).await;
                }
                match item {
                    Ok(Event::Ended(_)) if FAULT == DROPS_THE_END => std::future::pending().await,
                    Ok(Event::Ended(report)) => {
                        Ok(Event::Ended(Self::distort(&runner, &handle, report).await))
                    }
                    other => other,
                }
            }
        }))
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        self.0.logs(handle, since, follow && FAULT != READS_WHAT_IS_THERE)
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        if FAULT == FORGETS_A_CANCEL { Ok(()) } else { self.0.cancel(handle, grace).await }
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let is_overlooked = match FAULT {
            NEVER_REMOVES => true,
            REMOVES_BY_LABELS => !is_listed(&self.0, handle).await?,
            _ => false,
        };
        if is_overlooked { Ok(()) } else { self.0.remove(handle).await }
    }
}

pub fn careless<const FAULT: u8>(runner: SimulatedRunner) -> Arc<dyn Runner> {
    Arc::new(Forwarding(Careless::<FAULT>(runner)))
}

//! Runners that make a dispatcher careless in one way: the runner hides a fact, and the dispatcher
//! acts as if the fact were not true.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_conformance::simulated::SimulatedRunner;
use longshore_core::{
    Attempt, Capabilities, Event, Handle, Health, InstallationId, LaunchContext, LaunchError,
    LogChunk, LogPosition, Outcome, Plan, Result, Runner, RunnerName, Settled, Started,
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

#[async_trait]
impl<const FAULT: u8> Runner for Careless<FAULT> {
    fn name(&self) -> &RunnerName {
        self.0.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn probe(&self) -> Result<Health> {
        self.0.probe().await
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        self.0.plan(attempt)
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        self.0.handle(attempt)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        match self.0.launch(attempt, context).await {
            Err(LaunchError::Indeterminate(error)) if FAULT == FALLS_BACK_AFTER_INDETERMINATE => {
                Err(LaunchError::Refused(error))
            }
            Err(LaunchError::Indeterminate(error)) if FAULT == REFUSES_WHAT_IS_THERE => {
                // On a second launch, a backend that has the attempt answers 409, and the runner
                // adopts it.
                match self.0.launch(attempt, context).await {
                    Ok(_) => Err(LaunchError::Refused(error)),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        if FAULT == LOOKS_INSTEAD_OF_FENCING {
            let present = self.0.adopt(&InstallationId::random()).await?;
            let is_there = present.iter().any(|h| h.attempt == handle.attempt);
            return Ok(if is_there { Settled::MayHaveStarted } else { Settled::NeverStarted });
        }
        self.0.settle(handle, deadline).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        self.0.adopt(installation).await
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        let (runner, handle) = (self.0.clone(), handle.clone());
        let events = self.0.events(&handle);
        Box::pin(events.then(move |item| {
            let (runner, handle) = (runner.clone(), handle.clone());
            async move {
                if FAULT == REMOVES_BEFORE_THE_END && matches!(item, Ok(Event::Started(_))) {
                    let _ = runner.remove(&handle).await;
                }
                match item {
                    Ok(Event::Ended(_)) if FAULT == DROPS_THE_END => std::future::pending().await,
                    Ok(Event::Ended(mut report)) if FAULT == TAKES_ANY_END_FOR_SUCCESS => {
                        report.outcome = Outcome::Exited { code: 0, signal: None };
                        Ok(Event::Ended(report))
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
        if FAULT == NEVER_REMOVES { Ok(()) } else { self.0.remove(handle).await }
    }
}

pub fn careless<const FAULT: u8>(runner: SimulatedRunner) -> Arc<dyn Runner> {
    Arc::new(Careless::<FAULT>(runner))
}

//! The simulated runner: the view of the backend through its faults.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{
    Attempt, AttemptId, Capabilities, Capability, Error, ErrorKind, Event, Handle, Health,
    InstallationId, LaunchContext, LaunchError, LogChunk, LogPosition, Plan, PlanFormat, Result,
    Runner, RunnerName, Settled, Started,
};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::backend::Backend;
use super::ledger::{Entry, Ledger, What};
use super::script::{CallStep, ProbeStep, Script, SettleStep};
use super::streams;

/// Simulated backends with one clock and one ledger. Must be created within a tokio runtime.
#[derive(Clone, Debug)]
pub struct World {
    ledger: Ledger,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Returns a world that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { ledger: Ledger::new() }
    }

    /// Adds a backend that follows `script`, and returns its runner, which has every capability.
    #[must_use]
    pub fn runner(&self, name: RunnerName, script: Script) -> SimulatedRunner {
        let everything =
            Capability::ALL.iter().fold(Capabilities::default(), |all, one| all.with(*one));
        SimulatedRunner {
            capabilities: everything,
            backend: Arc::new(Backend::new(name, self.ledger.clone())),
            script: Arc::new(Mutex::new(script)),
        }
    }

    /// Returns what truly happened, in order.
    #[must_use]
    pub fn ledger(&self) -> Vec<Entry> {
        self.ledger.entries()
    }
}

/// A runner whose backend is in memory. A clone is another instance on the same backend.
#[derive(Clone, Debug)]
pub struct SimulatedRunner {
    capabilities: Capabilities,
    pub(super) backend: Arc<Backend>,
    script: Arc<Mutex<Script>>,
}

impl SimulatedRunner {
    /// Sets the capabilities.
    #[must_use]
    pub const fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Changes the rest of the script.
    pub fn rewrite(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script());
    }

    /// Returns how many attempts are on the backend and not removed.
    #[must_use]
    pub fn present(&self) -> usize {
        self.backend.present()
    }

    /// Returns whether the deletion of `attempt` was accepted and is not done.
    #[must_use]
    pub fn is_being_deleted(&self, attempt: &AttemptId) -> bool {
        self.backend.find(attempt).is_some_and(|live| live.is_being_deleted())
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock()
    }

    pub(super) fn next<T>(&self, queue: impl FnOnce(&mut Script) -> &mut VecDeque<T>) -> Option<T> {
        queue(&mut self.script()).pop_front()
    }

    /// Returns when the current outage ends, if the backend is unreachable now.
    pub(super) fn away(&self) -> Option<Instant> {
        let now = self.backend.ledger.epoch().elapsed();
        let script = self.script();
        let outage = script.outages.iter().find(|o| o.contains(&now));
        outage.map(|o| self.backend.ledger.epoch() + o.end)
    }

    /// Returns when the next outage begins.
    pub(super) fn next_outage(&self) -> Option<Instant> {
        let now = self.backend.ledger.epoch().elapsed();
        let script = self.script();
        let next = script.outages.iter().map(|o| o.start).filter(|start| *start > now).min();
        next.map(|start| self.backend.ledger.epoch() + start)
    }

    pub(super) fn out_of_reach(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "simulated: out of reach").on(&self.backend.name)
    }

    pub(super) fn lost(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "simulated: the answer was lost").on(&self.backend.name)
    }

    fn handle_of(&self, attempt: AttemptId, target: Option<Value>) -> Handle {
        Handle::new(self.backend.name.clone(), 1, attempt, target.unwrap_or_default())
    }

    /// Fails if `target`, the one of an attempt, is not that of this backend.
    pub(super) fn find_target(&self, target: &Value) -> Result<()> {
        let here = self.script().target.clone();
        match target.as_str() {
            Some(target) if Some(target) != here.as_deref() => {
                let error = Error::new(ErrorKind::Unavailable, "simulated: on another target");
                Err(error.with("target", target).on(&self.backend.name))
            }
            _ => Ok(()),
        }
    }

    /// Waits for the latency of a call, and fails if the backend is unreachable.
    async fn call(&self) -> Result<()> {
        let latency = self.script().latency;
        sleep(latency).await;
        if self.away().is_some() { Err(self.out_of_reach()) } else { Ok(()) }
    }

    /// Performs a call whose effect is `effect`.
    async fn call_to(&self, step: Option<CallStep>, effect: impl FnOnce()) -> Result<()> {
        self.call().await?;
        match step.unwrap_or(CallStep::Answer) {
            CallStep::Answer => {
                effect();
                Ok(())
            }
            CallStep::Fail => Err(self.out_of_reach()),
            CallStep::AnswerLost => {
                effect();
                Err(self.lost())
            }
        }
    }
}

/// Records in the ledger that a launch was dropped before it answered. A launch that answers
/// forgets this guard.
struct Unanswered<'a> {
    backend: &'a Backend,
    attempt: &'a AttemptId,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.backend.note(self.attempt, What::LaunchDropped);
    }
}

#[async_trait]
impl Runner for SimulatedRunner {
    fn name(&self) -> &RunnerName {
        &self.backend.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self) -> Result<Health> {
        let step = self.next(|s| &mut s.probes).unwrap_or(ProbeStep::Well);
        self.call().await?;
        match step {
            ProbeStep::Well => Ok(Health::default()),
            ProbeStep::Fail(refusal) => Err(refusal.error(&self.backend.name)),
            ProbeStep::Hang => std::future::pending().await,
        }
    }

    async fn server(&self) -> Option<String> {
        self.script().server.clone()
    }

    async fn access(&self) -> Option<String> {
        self.script().access.clone()
    }

    async fn target(&self) -> Option<Value> {
        self.script().target.clone().map(Value::String)
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        self.find_target(&handle.opaque)
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        Ok(Plan::new(PlanFormat::Argv, format!("simulate {}", attempt.id)))
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        self.handle_of(attempt.id.clone(), attempt.target.clone())
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        self.backend.note(&attempt.id, What::LaunchAsked);
        let unanswered = Unanswered { backend: &self.backend, attempt: &attempt.id };
        let answer = self.play_launch(attempt, context).await;
        std::mem::forget(unanswered);
        answer
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        self.call().await?;
        self.find_target(&handle.opaque)?;
        match self.next(|s| &mut s.settles).unwrap_or(SettleStep::Answer) {
            SettleStep::Answer => Ok(self.backend.fence(&handle.attempt)),
            SettleStep::Fail => Err(self.out_of_reach()),
            SettleStep::AnswerLost => {
                self.backend.fence(&handle.attempt);
                Err(self.lost())
            }
            SettleStep::Hang => {
                sleep_until(deadline).await;
                Err(self.out_of_reach())
            }
        }
    }

    async fn adopt(&self, _installation: &InstallationId) -> Result<Vec<Handle>> {
        self.call().await?;
        let target = self.target().await;
        let handle = |id| self.handle_of(id, target.clone());
        Ok(self.backend.labelled().into_iter().map(handle).collect())
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        streams::events(self.clone(), handle.clone()).boxed()
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        streams::logs(self.clone(), handle.attempt.clone(), since, follow).boxed()
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        let step = self.next(|s| &mut s.cancels);
        self.find_target(&handle.opaque)?;
        self.call_to(step, || self.backend.cancel(&handle.attempt, grace)).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let step = self.next(|s| &mut s.removals);
        self.find_target(&handle.opaque)?;
        self.call_to(step, || self.backend.remove(&handle.attempt)).await
    }
}

//! A runner during one of whose calls the dispatcher dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_conformance::Forward;
use longshore_conformance::simulated::{Dice, SimulatedRunner};
use longshore_core::{
    Attempt, Event, Handle, Health, InstallationId, LaunchContext, LaunchError, Result, Runner,
    Settled, Started, Target,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::careless::is_listed;

/// How and when a dispatcher dies.
#[derive(Debug)]
pub struct Fate {
    calls: AtomicU64,
    dies: Option<(u64, Side)>,
    /// Cancelled when the dispatcher dies.
    pub death: CancellationToken,
}

/// On which side of a call's effect the dispatcher dies.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The request was never sent.
    Before,
    /// The request is on its way, and takes effect at any later time.
    During,
    /// The request has taken effect; its answer is not received.
    After,
}

impl Fate {
    /// Creates the fate of a dispatcher that dies at some call, chosen by `dice`.
    pub fn mortal(dice: &mut Dice) -> Arc<Self> {
        let side = *dice.one_of(&[Side::Before, Side::During, Side::After]);
        Self::new(Some((dice.below(24), side)))
    }

    /// Creates the fate of a dispatcher that survives.
    pub fn immortal() -> Arc<Self> {
        Self::new(None)
    }

    fn new(dies: Option<(u64, Side)>) -> Arc<Self> {
        Arc::new(Self { calls: AtomicU64::new(0), dies, death: CancellationToken::new() })
    }

    async fn call<T>(&self, work: impl Future<Output = T> + Send + 'static) -> T
    where
        T: Send + 'static,
    {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let side = self.dies.filter(|(at, _)| *at == number).map(|(_, side)| side);
        match side {
            None => return work.await,
            Some(Side::Before) => drop(work),
            Some(Side::During) => drop(tokio::spawn(work)),
            Some(Side::After) => drop(work.await),
        }
        self.death.cancel();
        std::future::pending().await
    }
}

/// A simulated runner, as a dispatcher with `fate` calls it.
#[derive(Debug)]
pub struct Mortal {
    pub runner: SimulatedRunner,
    pub fate: Arc<Fate>,
    pub flaw: Flaw,
}

/// One way in which a runner misleads the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// It reports that an attempt that has not started never will, without ensuring it.
    LooksOnly,
    /// It removes only what it finds by its labels.
    RemovesByLabels,
    /// Its reports do not show that the backend started the job again.
    HidesSecondStarts,
    /// It asks its backend about attempts of other backends too.
    IgnoresTargets,
}

impl Mortal {
    /// Returns `handle`, or what a runner that ignores targets would take it for.
    fn heeded(&self, handle: &Handle) -> Handle {
        let mut handle = handle.clone();
        if self.flaw == Flaw::IgnoresTargets {
            handle.opaque = Target::Null;
        }
        handle
    }
}

#[async_trait]
impl Forward for Mortal {
    fn inner(&self) -> &dyn Runner {
        &self.runner
    }

    async fn probe(&self) -> Result<Health> {
        let runner = self.runner.clone();
        self.fate.call(async move { runner.probe().await }).await
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        self.runner.reach(&self.heeded(handle)).await
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        let (runner, attempt, context) = (self.runner.clone(), attempt.clone(), context.clone());
        self.fate.call(async move { runner.launch(&attempt, &context).await }).await
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        let (runner, handle) = (self.runner.clone(), self.heeded(handle));
        if self.flaw == Flaw::LooksOnly {
            let there = is_listed(&runner, &handle).await?;
            return Ok(if there { Settled::MayHaveStarted } else { Settled::NeverStarted });
        }
        self.fate.call(async move { runner.settle(&handle, deadline).await }).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        let (runner, installation) = (self.runner.clone(), installation.clone());
        self.fate.call(async move { runner.adopt(&installation).await }).await
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        let hides = self.flaw == Flaw::HidesSecondStarts;
        let events = self.runner.events(&self.heeded(handle)).map(move |item| match item {
            Ok(Event::Ended(mut report)) if hides => {
                report.started_again.clear();
                Ok(Event::Ended(report))
            }
            other => other,
        });
        events.boxed()
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        let (runner, handle) = (self.runner.clone(), self.heeded(handle));
        self.fate.call(async move { runner.cancel(&handle, grace).await }).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let (runner, handle) = (self.runner.clone(), handle.clone());
        if self.flaw == Flaw::RemovesByLabels && !is_listed(&runner, &handle).await? {
            return Ok(());
        }
        self.fate.call(async move { runner.remove(&handle).await }).await
    }
}

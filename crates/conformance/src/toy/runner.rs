//! The toy as a [`Runner`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{
    Attempt, AttemptId, Capabilities, Capability, Error, ErrorKind, Event, Exec, ExecSpec, Finding,
    Handle, Health, InstallationId, JobDirectoryView, JobStdin, LaunchContext, LaunchError,
    LogChunk, LogPosition, Plan, PlanFormat, Result, Runner, RunnerName, Settled, Signal, Started,
    TimedChunk, unreadable_events, unreadable_logs,
};
use tokio::time::{Instant, sleep_until};

use super::Flaw::{self, *};
use super::backend::{Answer, Backend, Entry};
use super::exec;
use super::job::{self, Stop};
use super::streams::{self, decided};

/// One instance of the runner.
pub(super) struct Toy {
    backend: Arc<Backend>,
    instance: u64,
    name: RunnerName,
    capabilities: Capabilities,
}

impl Toy {
    pub(super) fn new(backend: Arc<Backend>) -> Self {
        let instance = backend.new_instance();
        let mut capabilities = Capabilities::default()
            .with(Capability::Process)
            .with(Capability::JobDirectory)
            .with(Capability::Stdin)
            .with(Capability::Signals)
            .with(Capability::Exec)
            .with(Capability::SeparateStreams)
            .with(Capability::SignalEvidence)
            .with(Capability::KeepAllLogs)
            .with(Capability::LogTimes)
            .with(Capability::KeepTimeout);
        if instance % 2 == 1 || !backend.has(ChangesItsCapabilities) {
            capabilities = capabilities.with(Capability::ShortenGrace);
        }
        Self { backend, instance, name: RunnerName::process(), capabilities }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.backend.has(flaw)
    }

    /// Returns what this instance finds of an attempt.
    fn entry(&self, handle: &Handle) -> Option<Entry> {
        let entry = self.backend.entry(&handle.attempt)?;
        match &entry {
            Entry::Started(job)
                if self.has(KnowsOnlyItsOwnJobs) && job.instance != self.instance =>
            {
                None
            }
            _ => Some(entry),
        }
    }

    fn handle_of(&self, attempt: AttemptId) -> Handle {
        let own = self.has(NeedsItsOwnHandle).then_some(self.instance);
        Handle::new(self.name.clone(), 1, attempt, serde_json::json!({ "instance": own }))
    }

    fn failed_twice(&self, flaw: Flaw) -> Result<()> {
        if self.has(flaw) {
            return Err(Error::new(ErrorKind::NotFound, "no such job"));
        }
        Ok(())
    }
}

impl fmt::Debug for Toy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Toy")
    }
}

#[async_trait]
impl Runner for Toy {
    fn name(&self) -> &RunnerName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self) -> Result<Health> {
        let mut health = Health::default();
        if !self.has(ProbeHasNoVersion) {
            health.version = "toy 1".to_owned();
        }
        Ok(health)
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        let Some(process) = &attempt.spec.process else {
            return Err(Error::new(ErrorKind::Unsupported, "the job names no local process"));
        };
        if self.has(PlanStartsTheJob) {
            self.backend.submit(attempt, self.instance)?;
        }
        let view = JobDirectoryView::in_process(&attempt.spec);
        let mut text = format!("{:?} {process:?}", view.env(&attempt.spec));
        for (name, value) in &attempt.secret_env {
            let value = if self.has(ShowsSecrets) { value.expose() } else { "***" };
            text = format!("{name}={value} {text}");
        }
        Ok(Plan::new(PlanFormat::Argv, text))
    }

    async fn check(&self, attempt: &Attempt) -> Result<Vec<Finding>> {
        if self.has(CheckStartsTheJob) {
            self.backend.submit(attempt, self.instance)?;
        }
        Ok(Vec::new())
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        self.handle_of(attempt.id.clone())
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        let refuse = |kind, why: &str| Err(LaunchError::Refused(Error::new(kind, why.to_owned())));
        let cancelled = || refuse(ErrorKind::Cancelled, "cancelled");
        let late = || refuse(ErrorKind::Unavailable, "failed to start before the deadline");
        if attempt.spec.process.is_none() && !self.has(RunsWhatItCannot) {
            return refuse(ErrorKind::Unsupported, "the job names no local process");
        }
        if context.cancel.is_cancelled() && !self.has(StartsThoughCancelled) {
            return cancelled();
        }
        if context.deadline <= Instant::now() && !self.has(StartsThoughLate) {
            return late();
        }
        let decision = self.backend.submit(attempt, self.instance).map_err(LaunchError::Refused)?;
        if self.has(ReturnsBeforeTheStart) {
            return Ok(Started::new(self.handle(attempt), job::now(self.backend.flaw), None));
        }
        let withdraw = || self.backend.withdraw(&attempt.id);
        let answer = tokio::select! {
            biased;
            answer = decided(decision.clone()) => answer,
            () = context.cancel.cancelled(), if !self.has(StartsThoughCancelled) => match self.has(StartsAfterACancel) || withdraw() {
                true => return cancelled(),
                false => decided(decision).await,
            },
            () = sleep_until(context.deadline), if !self.has(StartsThoughLate) => match self.has(StartsAfterItsDeadline) || withdraw() {
                true => return late(),
                false => decided(decision).await,
            },
        };
        match answer {
            Answer::Started(job) => {
                if self.has(WaitsForTheEnd) {
                    job.end().await;
                }
                Ok(Started::new(self.handle(attempt), job.started_at, None))
            }
            Answer::Withdrawn => refuse(ErrorKind::Internal, "the attempt was withdrawn"),
            Answer::Failed(kind, why) => refuse(kind, &why),
        }
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        read(handle)?;
        match self.backend.entry(&handle.attempt) {
            Some(Entry::Started(job))
                if !self.has(OpensTheStdinOfItsOwnJobsOnly) || job.instance == self.instance =>
            {
                job.stdin.open(job.has_ended())
            }
            _ => Err(Error::new(ErrorKind::NotFound, "no such job")),
        }
    }

    async fn settle(&self, handle: &Handle, _: Instant) -> Result<Settled> {
        read(handle)?;
        Ok(self.backend.settle(&handle.attempt, self.instance))
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        let found = self.backend.adopt(installation, self.instance);
        Ok(found.into_iter().map(|attempt| self.handle_of(attempt)).collect())
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        if let Err(error) = read(handle)
            && !self.has(HidesWhyAHandleIsBad)
        {
            return unreadable_events(&error);
        }
        let backend = Arc::clone(&self.backend);
        streams::events(backend, &handle.attempt, self.entry(handle), self.instance).boxed()
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        if let Err(error) = read(handle) {
            return unreadable_logs(error);
        }
        let backend = Arc::clone(&self.backend);
        streams::logs(backend, self.entry(handle), since, follow).boxed()
    }

    fn timed_logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        let times = match self.entry(handle) {
            Some(Entry::Started(job)) => Some(Arc::clone(&job.times)),
            _ => None,
        };
        let split = move |chunk| match &times {
            Some(times) => times.split(chunk),
            None => vec![TimedChunk::new(None, chunk)],
        };
        let split = move |item: Result<LogChunk>| match item {
            Ok(chunk) => split(chunk).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        let chunks = self.logs(handle, since, follow);
        chunks.flat_map(move |item| futures::stream::iter(split(item))).boxed()
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        if self.has(LosesACancelUnderWay) && self.backend.cancelled_early(&handle.attempt) {
            return Ok(());
        }
        let Some(Entry::Started(job)) = self.entry(handle) else {
            return self.failed_twice(FailsToCancelWhatIsGone);
        };
        if job.is_cancelled() {
            self.failed_twice(FailsToCancelTwice)?;
        }
        job.cancelled_by.store(self.instance, Ordering::SeqCst);
        job.stop(Stop::Cancelled(Instant::now() + grace));
        if self.has(CancelWaitsForTheEnd) {
            job.end().await;
        }
        Ok(())
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<()> {
        let none = || Error::new(ErrorKind::NotFound, "no such job runs");
        let Some(Entry::Started(job)) = self.entry(handle) else { return Err(none()) };
        let signal = rustix::process::Signal::from_named_raw(signal.number()).ok_or_else(none)?;
        if job.signal(signal) { Ok(()) } else { Err(none()) }
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        match self.entry(handle) {
            Some(Entry::Started(job)) => exec::exec(&job, spec),
            _ => Err(Error::new(ErrorKind::NotFound, "no such job runs")),
        }
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        if self.has(CallsEveryRemovalDone) {
            return Ok(());
        }
        let Some(job) = self.backend.remove(&handle.attempt) else {
            return if self.backend.was_removed(&handle.attempt) {
                self.failed_twice(FailsToRemoveTwice)
            } else {
                Ok(())
            };
        };
        if !self.has(LeavesProcessesWhenRemoved) {
            job.stop(Stop::Removed);
            job.end().await;
        }
        job.discard();
        Ok(())
    }
}

/// Checks that a toy wrote `handle`.
fn read(handle: &Handle) -> Result<()> {
    if handle.version == 1 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "the handle is of an unknown version"))
}

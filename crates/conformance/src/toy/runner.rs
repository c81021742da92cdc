//! The toy as a [`Runner`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{
    Attempt, AttemptId, Capabilities, Capability, Error, ErrorKind, Event, Handle, Health,
    InstallationId, JobDirectoryView, LaunchContext, LaunchError, LogChunk, LogPosition, LogStream,
    Outcome, Plan, PlanFormat, Report, Result, Runner, RunnerName, Settled, Started,
};
use tokio::time::{Instant, sleep};

use super::Flaw;
use super::job::{self, Job, Stop};

/// What the toy's instances share: what an engine or a cluster is to a real runner.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) flaw: Option<Flaw>,
    pub(super) folder: tempfile::TempDir,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<AttemptId, Arc<Job>>,
    fenced: HashSet<AttemptId>,
    /// All that ever was, removed or not.
    started: HashSet<AttemptId>,
}

/// Whatever is wrong with the toy, nothing of its jobs outlives it.
impl Drop for Backend {
    fn drop(&mut self) {
        self.state().started.iter().for_each(job::kill);
    }
}

impl Backend {
    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { flaw, folder, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn job(&self, handle: &Handle) -> Option<Arc<Job>> {
        self.state().jobs.get(&handle.attempt).cloned()
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Starts the attempt unless it is there or fenced.
    fn start(&self, attempt: &Attempt) -> Result<Arc<Job>> {
        let mut state = self.state();
        if state.fenced.contains(&attempt.id) && !self.has(Flaw::ForgetsItsFence) {
            return Err(Error::new(ErrorKind::Internal, "the attempt is fenced"));
        }
        if let Some(job) = state.jobs.get(&attempt.id).filter(|_| !self.has(Flaw::StartsTwice)) {
            return Ok(Arc::clone(job));
        }
        state.started.insert(attempt.id.clone());
        let files = self.folder.path().join(attempt.id.as_str());
        let job = Arc::new(Job::start(attempt, files, self.flaw)?);
        state.jobs.insert(attempt.id.clone(), Arc::clone(&job));
        Ok(job)
    }
}

pub(super) struct Toy {
    pub(super) backend: Arc<Backend>,
    name: RunnerName,
    capabilities: Capabilities,
}

impl Toy {
    pub(super) fn new(backend: Arc<Backend>) -> Self {
        let capabilities = Capabilities::default()
            .with(Capability::Process)
            .with(Capability::JobDirectory)
            .with(Capability::SeparateStreams)
            .with(Capability::SignalEvidence)
            .with(Capability::ShortenGrace)
            .with(Capability::KeepAllLogs)
            .with(Capability::KeepTimeout);
        Self { backend, name: RunnerName::process(), capabilities }
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
        health.version = "toy 1".to_owned();
        Ok(health)
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        let Some(process) = &attempt.spec.process else {
            return Err(Error::new(ErrorKind::Unsupported, "the job names no local process"));
        };
        let mut text = format!(
            "{:?} {:?}",
            JobDirectoryView::in_process(&attempt.spec).env(&attempt.spec),
            process
        );
        for (name, value) in &attempt.secret_env {
            let value = if self.backend.has(Flaw::ShowsSecrets) { value.expose() } else { "***" };
            text = format!("{name}={value} {text}");
        }
        Ok(Plan::new(PlanFormat::Argv, text))
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        Handle::new(self.name.clone(), 1, attempt.id.clone(), serde_json::Value::Null)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        let refuse = |kind, why| Err(LaunchError::Refused(Error::new(kind, why)));
        if context.cancel.is_cancelled() {
            return refuse(ErrorKind::Internal, "cancelled");
        }
        if context.deadline <= Instant::now() {
            return refuse(ErrorKind::Unavailable, "failed to start before the deadline");
        }
        let job = self.backend.start(attempt).map_err(LaunchError::Refused)?;
        if self.backend.has(Flaw::WaitsForTheEnd) {
            job.end().await;
        }
        Ok(Started::new(self.handle(attempt), Some(job.started_at), None))
    }

    async fn settle(&self, handle: &Handle, _: Instant) -> Result<Settled> {
        let mut state = self.backend.state();
        if state.jobs.contains_key(&handle.attempt) {
            return Ok(Settled::MayHaveStarted);
        }
        state.fenced.insert(handle.attempt.clone());
        Ok(Settled::NeverStarted)
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        let all = self.backend.has(Flaw::MixesInstallations);
        let state = self.backend.state();
        let ours = |job: &&Arc<Job>| all || job.attempt.installation == *installation;
        Ok(state.jobs.values().filter(ours).map(|job| self.handle(&job.attempt)).collect())
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        let (job, backend) = (self.backend.job(handle), Arc::clone(&self.backend));
        async_stream::stream! {
            let report = match job {
                Some(job) => {
                    yield Ok(Event::Started(Some(job.started_at)));
                    job.end().await
                }
                None if backend.has(Flaw::CallsALostJobASuccess) => {
                    Report::new(Outcome::Exited { code: 0, signal: None })
                }
                None => Report::new(Outcome::Lost { message: "it is not here".to_owned() }),
            };
            if backend.has(Flaw::EndsTwice) {
                yield Ok(Event::Ended(report.clone()));
            }
            yield Ok(Event::Ended(report));
        }
        .boxed()
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        let Some(job) = self.backend.job(handle) else { return futures::stream::empty().boxed() };
        let backend = Arc::clone(&self.backend);
        async_stream::stream! {
            let mut position = since;
            if backend.has(Flaw::IgnoresPositions) {
                position = LogPosition::START;
            }
            loop {
                let over = !follow || job.ended.borrow().is_some();
                let mut more = false;
                for stream in [LogStream::Stdout, LogStream::Stderr] {
                    let bytes = read(&job.file(stream), position.of(stream));
                    if !bytes.is_empty() {
                        more = true;
                        let chunk = LogChunk::data(stream, position.of(stream), bytes);
                        position.advance(&chunk);
                        yield Ok(chunk);
                    }
                }
                if over && (!more || backend.has(Flaw::StopsReadingEarly)) {
                    break;
                }
                if !more {
                    sleep(Duration::from_millis(10)).await;
                }
            }
            if backend.has(Flaw::AddsAFinalNewline) {
                yield Ok(LogChunk::data(LogStream::Stdout, position.stdout, Bytes::from_static(b"\n")));
            }
        }
        .boxed()
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        if let Some(job) = self.backend.job(handle) {
            job.stop(Stop::Cancelled(Instant::now() + grace));
        }
        Ok(())
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        if self.backend.has(Flaw::CallsEveryRemovalDone) {
            return Ok(());
        }
        let removed = self.backend.state().jobs.remove(&handle.attempt);
        if let Some(job) = removed {
            job.stop(Stop::Removed);
            job.end().await;
            job.discard();
        }
        Ok(())
    }
}

/// Up to 64 KiB of a file from `offset` on.
fn read(path: &Path, offset: u64) -> Bytes {
    let mut bytes = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.seek(SeekFrom::Start(offset));
        let _ = file.take(65_536).read_to_end(&mut bytes);
    }
    bytes.into()
}

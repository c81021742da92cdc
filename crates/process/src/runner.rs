//! The [`Runner`] for local processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{
    AttachSpec, Attachment, Attempt, Capabilities, Capability, Error, ErrorKind, Event, Exec,
    ExecSpec, Handle, Health, InstallationId, JobStdin, LaunchContext, LaunchError, LogChunk,
    LogPosition, Plan, Result, Runner, RunnerName, Settled, Signal, Started, TerminalSize,
    TimedChunk, unreadable_events, unreadable_logs,
};
use tokio::time::Instant;

use crate::cgroup::Support;
use crate::config::ProcessConfig;
use crate::follow::{AttemptState, Follower};
use crate::launch::{Launch, on_disk};
use crate::linux::find_supervisor;
use crate::location::Location;
use crate::overdue::Overdue;
use crate::pool::Pool;
use crate::record::{Record, Starting};
use crate::store::{self, Committed, is_lack};
use crate::translate::{self, Submission};
use crate::watch::{Kind, Watcher};
use crate::wire::{StartRequest, encode_request};
use crate::{exec, limits, pool, probe, signal, stdin, terminal};

/// How long a running job that is removed may take to vanish. Longer than a supervisor tries to
/// kill.
const REMOVE_LIMIT: Duration = Duration::from_secs(40);

/// How often to look whether a supervisor still has an attempt.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The capabilities of a local process whose kept output has a bound.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities::default()
        .with(Capability::Process)
        .with(Capability::JobDirectory)
        .with(Capability::Stdin)
        .with(Capability::Tty)
        .with(Capability::SeparateStreams)
        .with(Capability::SignalEvidence)
        .with(Capability::ShortenGrace)
        .with(Capability::Signals)
        .with(Capability::Exec)
        .with(Capability::LogTimes)
        .with(Capability::KeepTimeout)
}

/// Runs jobs as local processes of this user.
///
/// The program that contains it must have called [`init`](crate::init). Cheap to clone.
#[derive(Clone, Debug)]
pub struct ProcessRunner {
    name: RunnerName,
    capabilities: Capabilities,
    support: Arc<Support>,
    config: ProcessConfig,
    state_directory: std::result::Result<PathBuf, String>,
    pool: Arc<Pool>,
    watcher: Watcher,
}

impl ProcessRunner {
    /// Creates a runner called `name`. Reads which cgroups it may use, and does no other I/O: errors in
    /// `config` are reported by [`probe`](Runner::probe).
    #[must_use]
    pub fn new(name: RunnerName, config: ProcessConfig) -> Self {
        if let Some(error) = pool::obstacle() {
            tracing::warn!(runner = %name, %error, "local processes are unavailable");
        }
        let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let is_root = rustix::process::geteuid().is_root();
        let state_directory =
            config.resolve_state_directory(env, is_root).map_err(|error| error.to_string());
        let pool = Pool::new(config.slots, config.idle_timeout.get());
        let capabilities = match config.log_max_bytes() {
            Some(_) => capabilities(),
            None => capabilities().with(Capability::KeepAllLogs),
        };
        let support = Arc::new(Support::detect());
        let capabilities = support.extend(capabilities);
        let watcher = Watcher::default();
        Self { name, capabilities, support, config, state_directory, pool, watcher }
    }

    fn state_directory(&self) -> Result<&Path> {
        self.state_directory
            .as_deref()
            .map_err(|message| Error::new(ErrorKind::Unavailable, message.clone()))
    }

    fn follower(&self, location: Location) -> Follower {
        Follower::new(location, self.watcher.clone(), Kind::Record)
    }

    /// Returns the encoded request for `attempt`. It contains the secrets.
    fn request(&self, attempt: &Attempt, terminal_size: Option<TerminalSize>) -> Result<Vec<u8>> {
        let state_directory = self.state_directory()?.to_owned();
        let host = std::env::vars_os();
        let (capabilities, support) = (&self.capabilities, &self.support);
        let submission = translate::submission(attempt, capabilities, support, &self.config, host)?;
        let Submission { argv, working_dir, job_directory, environment, cgroups } = submission;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let request = StartRequest {
            attempt: attempt.id.clone(),
            job: attempt.job.clone(),
            installation: attempt.installation.clone(),
            runner: self.name.clone(),
            state_directory,
            argv,
            working_dir,
            job_directory,
            timeout_ms: attempt.spec.timeout.map(|timeout| millis(timeout.get())),
            grace_ms: millis(attempt.spec.effective_grace_period().get()),
            fsync: self.config.fsync,
            log_max_bytes: self.config.log_max_bytes(),
            limits: limits::of_jobs(),
            cgroups,
            stdin: attempt.spec.stdin,
            tty: attempt.spec.tty,
            terminal_size,
        };
        encode_request(&request, &environment).map_err(|error| {
            Error::new(ErrorKind::InvalidSpec, "failed to encode the job").caused_by(error)
        })
    }

    async fn wait_for_end(&self, location: &Location) -> Result<()> {
        let mut follower = self.follower(location.clone());
        while let AttemptState::Running(_) = follower.state().await? {
            follower.changed().await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Runner for ProcessRunner {
    fn name(&self) -> &RunnerName {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        self.support.remedy(capability)
    }

    async fn probe(&self) -> Result<Health> {
        if let Some(error) = pool::obstacle() {
            return Err(error);
        }
        let state_directory = self.state_directory()?.to_owned();
        let (slots, limits) = (self.config.slots, self.support.words());
        on_disk(&Location::at(state_directory), move |location| {
            probe::probe(location.directory(), slots, limits)
        })
        .await?
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        translate::plan(attempt, &self.capabilities, &self.support, &self.config)
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        // Without a state directory, nothing is ever launched, and the handle names no location.
        let location = match &self.state_directory {
            Ok(directory) => Location::new(directory, &attempt.id),
            Err(_) => Location::at(PathBuf::new()),
        };
        location.handle(&self.name, attempt.id.clone())
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        let request = self.request(attempt, context.terminal_size).map_err(LaunchError::Refused)?;
        let handle = self.handle(attempt);
        let location = Location::read(&handle).map_err(LaunchError::Refused)?;
        let launch = Launch {
            handle,
            location,
            fsync: self.config.fsync,
            pool: &self.pool,
            watcher: &self.watcher,
            context,
        };
        launch.run(&request).await
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        stdin::writer(on_disk(&Location::read(handle)?, stdin::open).await?)
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        let location = Location::read(handle)?;
        let fsync = self.config.fsync;
        let settling = on_disk(&location, move |location| match location.fence(fsync)? {
            Committed::Won => Ok(Settled::NeverStarted),
            Committed::Taken => Ok(match location.read_record()? {
                Some(record) if record.is_fenced() || record.refused.is_some() => {
                    Settled::NeverStarted
                }
                _ => Settled::MayHaveStarted,
            }),
        });
        let late =
            |_| Err(Error::new(ErrorKind::Unavailable, "failed to settle the attempt in time"));
        tokio::time::timeout_at(deadline, settling).await.unwrap_or_else(late)
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        let state_directory = self.state_directory()?.to_owned();
        let found = on_disk(&Location::at(state_directory), |location| {
            let directory = location.directory();
            store::collect_garbage(directory)?;
            let locations = store::list(directory)?;
            let mut found = Vec::new();
            for location in locations {
                match location.read_record() {
                    Ok(record) => found.extend(record.map(|record| (record, location))),
                    Err(error) if is_lack(&error) => return Err(error),
                    // A directory that cannot be read is not ours, or is not an attempt. One with a
                    // damaged record is ours, since the state directory is.
                    Err(_) => {}
                }
            }
            Ok(found)
        })
        .await?;
        let mine = found.into_iter().filter_map(|(record, location)| {
            let is_mine = |starting: &Starting| {
                starting.installation == *installation && starting.runner == self.name
            };
            let attempt = match record.starting {
                Some(starting) => is_mine(&starting).then_some(starting.attempt)?,
                None if record.damaged => location.attempt()?,
                None => return None,
            };
            record.refused.is_none().then(|| location.handle(&self.name, attempt))
        });
        Ok(mine.collect())
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        match Location::read(handle) {
            Ok(location) => follow_events(self.follower(location)),
            Err(error) => unreadable_events(&error),
        }
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        match Location::read(handle) {
            Ok(location) => crate::logs::logs(location, self.watcher.clone(), since, follow),
            Err(error) => unreadable_logs(error),
        }
    }

    fn timed_logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        match Location::read(handle) {
            Ok(location) => crate::logs::timed_logs(location, self.watcher.clone(), since, follow),
            Err(error) => unreadable_logs(error),
        }
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        let fsync = self.config.fsync;
        on_disk(&Location::read(handle)?, move |location| {
            let record = match location.read_record() {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(()),
                // What cannot be read does not keep the job from ending.
                Err(_) => Record::parse(b""),
            };
            let over = record.ended.is_some() || record.refused.is_some();
            if over || record.is_fenced() {
                return Ok(());
            }
            location.request_cancel(grace, fsync)?;
            let supervisor = match record.starting {
                Some(starting) => Some(starting.supervisor),
                None => find_supervisor(location.directory())?,
            };
            supervisor.map_or(Ok(()), |supervisor| supervisor.nudge())
        })
        .await
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<()> {
        signal::send(Location::read(handle)?, &self.watcher, signal).await
    }

    async fn attach(&self, handle: &Handle, spec: &AttachSpec) -> Result<Attachment> {
        terminal::attach(Location::read(handle)?, &self.watcher, *spec).await
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        exec::exec(Location::read(handle)?, &self.watcher, spec).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let location = Location::read(handle)?;
        let late = |_| Err(Error::new(ErrorKind::Unavailable, "failed to kill the job in time"));
        match self.follower(location.clone()).state().await {
            Ok(AttemptState::Running(_)) => {
                self.cancel(handle, Duration::ZERO).await?;
                let ending = self.wait_for_end(&location);
                tokio::time::timeout(REMOVE_LIMIT, ending).await.unwrap_or_else(late)?;
            }
            Ok(_) => {}
            Err(error) => {
                // If the record itself can never be read, a supervisor may still have the job.
                let is_unreadable = |location: &Location| {
                    Ok(location.read_record().is_err_and(|error| !is_lack(&error)))
                };
                if !on_disk(&location, is_unreadable).await? {
                    return Err(error);
                }
                self.cancel(handle, Duration::ZERO).await?;
                let leaving = wait_for_no_supervisor(&location);
                tokio::time::timeout(REMOVE_LIMIT, leaving).await.unwrap_or_else(late)?;
            }
        }
        on_disk(&location, Location::remove).await
    }
}

/// Returns once no supervisor has files of the attempt at `location` open.
async fn wait_for_no_supervisor(location: &Location) -> Result<()> {
    while on_disk(location, |it| find_supervisor(it.directory())).await?.is_some() {
        // Without a record that can be read, nothing reports the end.
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Returns the events of an attempt until its end.
fn follow_events(mut follower: Follower) -> BoxStream<'static, Result<Event>> {
    let mut overdue = Overdue::new(follower.location().clone());
    stream! {
        let (mut start_reported, mut running_reported) = (false, false);
        loop {
            let state = follower.state().await;
            if let Ok(AttemptState::Running(Some(begin)) | AttemptState::Ended(Some(begin), _)) = &state
                && !start_reported
            {
                start_reported = true;
                yield Ok(Event::Started(Some(begin.at)));
            }
            if let Ok(AttemptState::Running(Some(_))) = &state && !running_reported {
                match follower.is_supervised() {
                    Ok(true) => {
                        running_reported = true;
                        yield Ok(Event::Running);
                    }
                    Ok(false) => {}
                    Err(error) => yield Err(error),
                }
            }
            let next = match state {
                Ok(state) => match state.report() {
                    Some(report) => {
                        yield Ok(Event::Ended(report));
                        return;
                    }
                    None => tokio::select! {
                        changed = follower.changed() => changed,
                        never = overdue.see_to_the_end() => match never {},
                    },
                },
                Err(error) => Err(error),
            };
            if let Err(error) = next {
                yield Err(error);
                follower.pause().await;
            }
        }
    }
    .boxed()
}

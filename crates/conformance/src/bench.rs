//! What a case works with: it launches jobs, observes them, and cleans up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use longshore_core::{
    Attempt, Capabilities, Capability, Event, Handle, InstallationId, JobId, JobSpec,
    LaunchContext, LaunchError, LogPosition, Outcome, Report, Runner, Settled, Started, Target,
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::failure::{Checked, check};
use crate::output::{Output, Reader};
use crate::pace::{self, Latency};
use crate::wait::within;
use crate::{Failure, Fixture, Pushed};

/// The state that all cases share.
pub(crate) struct World {
    fixture: Box<dyn Fixture>,
    installations: Mutex<Vec<InstallationId>>,
    installation: InstallationId,
    /// Where the runner launches jobs, as the dispatcher records it.
    target: Option<Target>,
    latency: OnceCell<Checked<Latency>>,
    /// The largest factor that the load of the machine has on the patience.
    most_load: u32,
}

impl World {
    pub(crate) fn new(fixture: Box<dyn Fixture>, installation: InstallationId) -> Self {
        let installations = Mutex::new(vec![installation.clone()]);
        let latency = OnceCell::new();
        let (target, most_load) = (None, pace::MOST_LOAD);
        Self { fixture, installations, installation, target, latency, most_load }
    }

    /// Records attempts as launched on `target`.
    pub(crate) fn at(mut self, target: Option<Target>) -> Self {
        self.target = target;
        self
    }

    /// Does not wait longer on a busy machine. For a runner that is broken on purpose, where
    /// patience only delays the failure.
    #[cfg(test)]
    pub(crate) fn without_patience_for_load(mut self) -> Self {
        self.most_load = 1;
        self
    }

    /// Returns the backend's start latency. The first call measures it.
    pub(crate) async fn measure(self: &Arc<Self>, capabilities: Capabilities) -> &Checked<Latency> {
        let measure = || async { pace::measure(&Bench::new(Arc::clone(self), capabilities)).await };
        self.latency.get_or_init(measure).await
    }

    pub(crate) fn fixture(&self) -> &dyn Fixture {
        self.fixture.as_ref()
    }

    /// Returns every installation for which a case launched jobs.
    pub(crate) fn installations(&self) -> Vec<InstallationId> {
        self.installations.lock().clone()
    }
}

/// What one case works with.
pub(crate) struct Bench {
    world: Arc<World>,
    capabilities: Capabilities,
    attempts: Mutex<Vec<Attempt>>,
    directories: Mutex<Vec<TempDir>>,
    images: Mutex<Vec<Pushed>>,
    step: Mutex<String>,
}

impl Bench {
    pub(crate) fn new(world: Arc<World>, capabilities: Capabilities) -> Self {
        Self {
            world,
            capabilities,
            attempts: Mutex::default(),
            directories: Mutex::default(),
            images: Mutex::default(),
            step: Mutex::new("it did nothing yet".to_owned()),
        }
    }

    pub(crate) const fn world(&self) -> &Arc<World> {
        &self.world
    }

    pub(crate) fn fixture(&self) -> &dyn Fixture {
        self.world.fixture()
    }

    /// Returns how long to wait for one step.
    pub(crate) fn patience(&self) -> Duration {
        pace::patience(self.fixture().patience(), self.latency().ok(), self.load())
    }

    /// Returns how many times longer a step may take than on an idle machine.
    pub(crate) fn load(&self) -> u32 {
        pace::load().min(self.world.most_load)
    }

    /// Returns the backend's start latency.
    pub(crate) fn latency(&self) -> Checked<Latency> {
        let unknown = || Err(Failure::new("the start latency was not measured"));
        self.world.latency.get().cloned().unwrap_or_else(unknown)
    }

    pub(crate) const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    pub(crate) const fn can(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }

    pub(crate) fn installation(&self) -> &InstallationId {
        &self.world.installation
    }

    /// Returns a second installation that only this case uses.
    pub(crate) fn other_installation(&self) -> InstallationId {
        let other = InstallationId::random();
        self.world.installations.lock().push(other.clone());
        other
    }

    /// Returns the last step of the case, for the message of a case that timed out.
    pub(crate) fn last_step(&self) -> String {
        self.step.lock().clone()
    }

    /// Records the step that the case does now.
    pub(crate) fn note(&self, step: String) {
        *self.step.lock() = step;
    }

    /// Awaits one step of the runner for at most the suite's patience.
    pub(crate) async fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> Checked<T> {
        self.note(format!("it waited for {what}"));
        within(self.patience(), what, future).await
    }

    /// Returns a new instance of the runner.
    pub(crate) async fn runner(&self) -> Checked<Arc<dyn Runner>> {
        self.fixture().runner().await.map_err(|e| e.while_doing("failed to make a runner"))
    }

    /// Returns an attempt at a new job. The attempt is removed after the case.
    pub(crate) fn attempt(&self, spec: JobSpec) -> Attempt {
        self.attempt_of(self.installation().clone(), spec)
    }

    pub(crate) fn attempt_of(&self, installation: InstallationId, spec: JobSpec) -> Attempt {
        let mut attempt = Attempt::new(installation, JobId::random(), 1, spec);
        attempt.target = self.world.target.clone();
        self.track(&attempt);
        attempt
    }

    /// Registers an attempt, which is removed after the case.
    pub(crate) fn track(&self, attempt: &Attempt) {
        self.attempts.lock().push(attempt.clone());
    }

    /// Registers an image, which is removed from the backend and the registry after the case.
    pub(crate) fn track_image(&self, image: Pushed) {
        self.images.lock().push(image);
    }

    /// Returns a launch context with the suite's patience as its deadline.
    pub(crate) fn context(&self) -> LaunchContext {
        self.context_within(self.patience())
    }

    /// Returns the context of a launch whose output is read, as the dispatcher's are.
    fn context_within(&self, limit: Duration) -> LaunchContext {
        let mut context = LaunchContext::new(Instant::now() + limit);
        context.read_output = true;
        context
    }

    /// Launches `attempt`; the answer must come soon after the deadline.
    pub(crate) async fn try_launch(
        &self,
        runner: &dyn Runner,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> Checked<Result<Started, LaunchError>> {
        self.note(format!("it launched {}", attempt.id));
        let left = context.deadline.saturating_duration_since(Instant::now());
        within(left + self.patience(), "launch to answer", runner.launch(attempt, context)).await
    }

    /// Launches `attempt` on a new instance of the runner. It must start.
    pub(crate) async fn launch(&self, attempt: &Attempt) -> Checked<Run> {
        self.launch_patiently(attempt, 1).await
    }

    /// Launches like [`launch`](Self::launch), with `times` the patience for each step.
    pub(crate) async fn launch_patiently(&self, attempt: &Attempt, times: u32) -> Checked<Run> {
        let runner = self.runner().await?;
        let context = self.context_within(self.patience() * times);
        let started = self
            .try_launch(runner.as_ref(), attempt, &context)
            .await?
            .map_err(|e| Failure::from(e).while_doing("launch did not start the job"))?;
        let patience = self.patience() * times;
        Ok(Run { patience, ..self.started(runner, attempt, started) })
    }

    /// Returns the job that `runner` launched.
    pub(crate) fn started(
        &self,
        runner: Arc<dyn Runner>,
        attempt: &Attempt,
        started: Started,
    ) -> Run {
        Run {
            runner,
            attempt: attempt.clone(),
            started,
            patience: self.patience(),
            separate: self.can(Capability::SeparateStreams),
            hides_last_newlines: self.fixture().hides_last_newlines(),
        }
    }

    /// Starts a new job.
    pub(crate) async fn start(&self, spec: JobSpec) -> Checked<Run> {
        self.launch(&self.attempt(spec)).await
    }

    /// Starts a new job that runs `script`.
    pub(crate) async fn start_script(&self, script: &str) -> Checked<Run> {
        self.start(self.fixture().job(script)).await
    }

    /// Runs a new job to its end.
    pub(crate) async fn run(&self, spec: JobSpec) -> Checked<Finished> {
        self.start(spec).await?.finish().await
    }

    /// Runs a new job with `script` to its end.
    pub(crate) async fn run_script(&self, script: &str) -> Checked<Finished> {
        self.run(self.fixture().job(script)).await
    }

    /// Settles an attempt, with the suite's patience as the deadline.
    pub(crate) async fn settle(&self, runner: &dyn Runner, handle: &Handle) -> Checked<Settled> {
        let deadline = Instant::now() + self.patience();
        let settled = self.wait("settle to answer", runner.settle(handle, deadline)).await?;
        settled.map_err(|e| Failure::from(e).while_doing("failed to settle"))
    }

    /// Creates a job directory.
    pub(crate) fn directory(&self) -> Checked<Directory> {
        let root = self
            .fixture()
            .job_directory_root()
            .ok_or_else(|| Failure::new("the fixture has no job_directory_root"))?;
        let folder = tempfile::Builder::new().prefix("conformance-").tempdir_in(root)?;
        let path = folder.path().to_owned();
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        // The job may run as a different user.
        open(&path, 0o755)?;
        for (name, mode) in [("input", 0o755), ("output", 0o777)] {
            fs::create_dir(path.join(name))?;
            open(&path.join(name), mode)?;
        }
        self.directories.lock().push(folder);
        Ok(Directory(path))
    }

    /// Returns a job with a new job directory.
    pub(crate) fn job_with_directory(&self, script: &str) -> Checked<(JobSpec, Directory)> {
        let directory = self.directory()?;
        let mut spec = self.fixture().job(script);
        spec.job_directory = Some(directory.0.clone());
        Ok((spec, directory))
    }

    /// Removes every attempt of this case and then every image.
    pub(crate) async fn clean_up(&self) -> Checked {
        let attempts = std::mem::take(&mut *self.attempts.lock());
        if !attempts.is_empty() {
            let runner = self.runner().await?;
            let results: Vec<Checked> = stream::iter(&attempts)
                .map(|attempt| self.remove(runner.as_ref(), attempt))
                .buffer_unordered(8)
                .collect()
                .await;
            results.into_iter().collect::<Checked>()?;
        }
        let images = std::mem::take(&mut *self.images.lock());
        for image in &images {
            self.forget(image).await?;
        }
        Ok(())
    }

    async fn forget(&self, pushed: &Pushed) -> Checked {
        let Some(hand) = self.fixture().images() else { return Ok(()) };
        for image in [&pushed.image, &pushed.by_digest()?] {
            let what = "the fixture to forget an image";
            within(self.patience(), what, hand.forget(image)).await??;
        }
        hand.registry().delete(pushed).await
    }

    async fn remove(&self, runner: &dyn Runner, attempt: &Attempt) -> Checked {
        let handle = runner.handle(attempt);
        within(self.patience() * 2, "remove to answer", runner.remove(&handle))
            .await?
            .map_err(|e| Failure::from(e).while_doing("failed to remove an attempt after the case"))
    }
}

/// A job directory as this process sees it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn give(&self, name: &str, bytes: &[u8]) -> Checked {
        let path = self.0.join("input").join(name);
        fs::write(&path, bytes)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o644))?)
    }

    /// Returns the content of `output/NAME`, or `None` if the file does not exist.
    pub(crate) fn output(&self, name: &str) -> Checked<Option<Vec<u8>>> {
        match fs::read(self.0.join("output").join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::from(error).while_doing(format!("failed to read {name}"))),
        }
    }

    /// Returns the number of lines in `output/NAME`.
    pub(crate) fn lines(&self, name: &str) -> Checked<usize> {
        let bytes = self.output(name)?.unwrap_or_default();
        Ok(bytes.iter().filter(|byte| **byte == b'\n').count())
    }
}

/// A job that started.
pub(crate) struct Run {
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) attempt: Attempt,
    pub(crate) started: Started,
    patience: Duration,
    separate: bool,
    hides_last_newlines: bool,
}

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) report: Report,
    pub(crate) output: Output,
    pub(crate) started: Started,
}

impl Run {
    pub(crate) const fn handle(&self) -> &Handle {
        &self.started.handle
    }

    /// Returns the same job as seen by `runner`.
    pub(crate) fn seen_by(&self, runner: Arc<dyn Runner>) -> Self {
        Self {
            runner,
            attempt: self.attempt.clone(),
            started: self.started.clone(),
            patience: self.patience,
            separate: self.separate,
            hides_last_newlines: self.hides_last_newlines,
        }
    }

    /// Returns the same job with a `handle` that was found in another way.
    pub(crate) fn found_as(mut self, handle: Handle) -> Self {
        self.started = Started::new(handle, None, None);
        self
    }

    /// Follows the events to the end.
    pub(crate) async fn end(&self) -> Checked<Report> {
        end_of(self.runner.as_ref(), self.handle(), self.patience).await
    }

    pub(crate) fn reader(
        &self,
        since: LogPosition,
        follow: bool,
    ) -> Reader<
        impl futures::Stream<Item = longshore_core::Result<longshore_core::LogChunk>> + Unpin + use<>,
    > {
        let chunks = self.runner.logs(self.handle(), since, follow);
        Reader::new(chunks, since, self.separate, self.hides_last_newlines, self.patience)
    }

    /// Reads the output from its beginning to its end.
    pub(crate) async fn output(&self) -> Checked<Output> {
        self.reader(LogPosition::START, true).rest().await
    }

    /// Follows events and output concurrently to the end.
    pub(crate) async fn finish(&self) -> Checked<Finished> {
        let (report, output) = futures::try_join!(self.end(), self.output())?;
        Ok(Finished { report, output, started: self.started.clone() })
    }

    /// Waits until the job has written `text` to its standard output.
    pub(crate) async fn says(&self, text: &str) -> Checked {
        let mut reader = self.reader(LogPosition::START, true);
        let mut output = Output::default();
        while let Some((stream, bytes)) = reader.next().await? {
            output.take(stream, &bytes);
            if output.text().contains(text) {
                return Ok(());
            }
        }
        Err(Failure::new(format!("the job never wrote `{text}` but `{}`", output.text())))
    }
}

/// Follows `handle`'s events to the end. `Ended` must be the last event, and a job that exited must
/// have started once before.
pub(crate) async fn end_of(
    runner: &dyn Runner,
    handle: &Handle,
    patience: Duration,
) -> Checked<Report> {
    let mut events = runner.events(handle);
    let (mut seen, mut starts) = (Vec::new(), 0);
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let what = format!("the job's end; seen so far: {seen:?}");
        match within(left, &what, events.next()).await? {
            Some(Ok(Event::Ended(report))) => {
                let more = within(patience, "the events to end after Ended", events.next()).await?;
                check(more.is_none(), || format!("Ended was followed by {more:?}"))?;
                let ran = matches!(report.outcome, Outcome::Exited { .. });
                check(starts == 1 || !ran && starts == 0, || {
                    format!("{starts} times Started before {report:?}")
                })?;
                return Ok(report);
            }
            Some(Ok(event)) => {
                starts += usize::from(matches!(event, Event::Started(_)));
                seen.push(format!("{event:?}"));
            }
            Some(Err(hint)) => seen.push(format!("error: {hint}")),
            None => {
                return Err(Failure::new(format!("the events ended without Ended: {seen:?}")));
            }
        }
        // A pull may report its progress very often.
        if seen.len() > 20 {
            seen.remove(0);
        }
    }
}

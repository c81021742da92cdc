//! The trait, in terms of the parts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use longshore_core::{
    AttachSpec, Attachment, Attempt, Capabilities, Capability, Event, Exec, ExecSpec, Handle,
    Health, ImageRef, ImageReport, InstallationId, JobStdin, LaunchContext, LaunchError,
    LocalImage, LogChunk, LogPosition, Plan, PlanFormat, RequestCounter, Result, Runner,
    RunnerName, Settled, Signal, Started, TimedChunk, unreadable_events, unreadable_logs,
};
use tokio::time::Instant;

use crate::backend::Backend;
use crate::client::Engine;
use crate::labels::Facts;
use crate::locate::once_there;
use crate::location::Location;
use crate::translate::{Base, Secrets, container, create_body};
use crate::{DockerConfig, exec, follow, image, inventory, logs, probe, terminal};

/// Runs jobs on a Docker engine.
///
/// The constructor does no I/O. The runner connects at the first request; a problem with the engine
/// or the configuration is reported then. Once an engine has answered, the runner stays with that one,
/// whatever `DOCKER_HOST`, the current context or a symbolic link to the socket name later.
#[derive(Debug)]
pub struct DockerRunner {
    backend: Arc<Backend>,
    capabilities: Capabilities,
}

impl DockerRunner {
    /// A runner called `name` on the engine that `config` names.
    #[must_use]
    pub fn new(name: RunnerName, config: DockerConfig) -> Self {
        use Capability::{
            Container, Exec, Gpus, JobDirectory, KeepAllLogs, LimitCpu, LimitMemory, LimitPids,
            LinuxCapabilities, LogTimes, NetworkNone, NoPrivilegeEscalation,
            ReadOnlyRootFilesystem, RestrictedProfile, RunAsNonRoot, RunAsUser, SeccompProfile,
            SeparateStreams, ShortenGrace, Signals, Stdin, SupplementalGroups, Tty, Volumes,
        };
        let capabilities = Capabilities::default()
            .with(Container)
            .with(JobDirectory)
            .with(LimitCpu)
            .with(LimitMemory)
            .with(LimitPids)
            .with(NetworkNone)
            .with(RunAsUser)
            .with(ReadOnlyRootFilesystem)
            .with(NoPrivilegeEscalation)
            .with(SupplementalGroups)
            .with(LinuxCapabilities)
            .with(SeccompProfile)
            .with(RunAsNonRoot)
            .with(RestrictedProfile)
            .with(Stdin)
            .with(Tty)
            .with(SeparateStreams)
            .with(ShortenGrace)
            .with(KeepAllLogs)
            .with(LogTimes)
            .with(Signals)
            .with(Volumes)
            .with(Gpus)
            .with(Exec);
        let engine = Engine::new(config, RequestCounter::new(&name));
        Self { backend: Arc::new(Backend::new(name, engine)), capabilities }
    }
}

#[async_trait]
impl Runner for DockerRunner {
    fn name(&self) -> &RunnerName {
        &self.backend.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn probe(&self) -> Result<Health> {
        probe::probe(&self.backend).await
    }

    async fn ready(&self) -> Result<()> {
        probe::ready(&self.backend).await
    }

    async fn server(&self) -> Option<String> {
        Some(self.backend.engine.endpoint().ok()?.address.to_string())
    }

    async fn target(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.backend.engine.target().ok()?).ok()
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        self.backend.engine.ensure_is_at(Location::read(handle)?.target.as_ref())
    }

    async fn local_image(&self, image: &ImageRef) -> Result<LocalImage> {
        image::local(&self.backend.engine, image).await
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        plan(&self.backend, attempt)
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        Location::of(attempt).handle(&self.backend.name)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        self.backend.launch(attempt, context).await
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        let location = self.backend.locate(handle).await?;
        self.backend.stdin(&location).await
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        let location = self.backend.locate(handle).await?;
        self.backend.settle(&location, deadline).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        inventory::adopt(&self.backend, installation).await
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        match Location::read(handle) {
            Ok(location) => once_there(&self.backend, location, follow::follow),
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
            Ok(location) => once_there(&self.backend, location, move |backend, location| {
                logs::read(backend, location, since, follow)
            }),
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
            Ok(location) => once_there(&self.backend, location, move |backend, location| {
                logs::read_timed(backend, location, since, follow)
            }),
            Err(error) => unreadable_logs(error),
        }
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        let location = self.backend.locate(handle).await?;
        self.backend.cancel(&location, grace).await
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<()> {
        let location = self.backend.locate(handle).await?;
        self.backend.signal(&location, signal).await
    }

    async fn attach(&self, handle: &Handle, spec: &AttachSpec) -> Result<Attachment> {
        let location = self.backend.locate(handle).await?;
        terminal::attach(Arc::clone(&self.backend), location, *spec).await
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        let location = self.backend.locate(handle).await?;
        exec::exec(Arc::clone(&self.backend), location, spec).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let location = self.backend.locate(handle).await?;
        inventory::remove(&self.backend, &location).await
    }
}

fn plan(backend: &Backend, attempt: &Attempt) -> Result<Plan> {
    let wanted = &container(&attempt.spec)?.image;
    backend.check_directory(attempt)?;
    let base = Base { image: wanted.canonical(), ..Base::default() };
    let facts = Facts::new(attempt, ImageReport::new(wanted.as_str(), attempt.pull_policy));
    let body = create_body(attempt, &base, &facts, backend.engine.config(), Secrets::Masked)?;
    // The keys of a `Value` are sorted.
    let text = serde_json::to_value(&body).and_then(|body| serde_json::to_string_pretty(&body));
    let text = text.map_err(|error| {
        longshore_core::Error::new(longshore_core::ErrorKind::Internal, "failed to write the plan")
            .caused_by(error)
    })?;
    let mut plan = Plan::new(PlanFormat::Json, text);
    plan.notes = notes(attempt);
    Ok(plan)
}

fn notes(attempt: &Attempt) -> Vec<String> {
    let mut notes = vec![
        "Image: at launch the image's id replaces the reference, and the labels \
         longshore.dev/image-digest and image-pulled are added."
            .to_owned(),
    ];
    if !attempt.spec.secret_env.is_empty() {
        notes.push(
            "Env: every user who may inspect containers on this engine can read secret values."
                .to_owned(),
        );
    }
    let security = &attempt.spec.security_context;
    if security.run_as_group.is_some() && security.run_as_user.is_none() {
        notes.push("User: the image's own user is known only at launch.".to_owned());
    }
    notes
}

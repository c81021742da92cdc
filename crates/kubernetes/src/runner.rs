//! The runner for Kubernetes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use longshore_core::{
    AttachSpec, Attachment, Attempt, Capabilities, Capability, Event, Exec, ExecSpec, Finding,
    Handle, Health, InstallationId, JobStdin, LaunchContext, LaunchError, LogChunk, LogPosition,
    Plan, Result, Runner, RunnerName, Settled, Started, Target, TimedChunk, unreadable_events,
    unreadable_logs,
};
use tokio::time::Instant;

use crate::backend::Backend;
use crate::config::KubernetesConfig;
use crate::location::Location;
use crate::names::Ending;
use crate::{
    adopt, check, exec, follow, launch, logs, plan, probe, settle, stdin, terminal, termination,
    translate,
};

/// Runs jobs on a Kubernetes cluster, each as a `batch/v1` Job.
///
/// Creating a runner has no effect: it reads the kubeconfig at the first use, and again after a
/// failure.
#[derive(Debug)]
pub struct KubernetesRunner {
    backend: Arc<Backend>,
}

impl KubernetesRunner {
    /// Creates a runner called `name` with the configuration `config`. Reads no file and sends no
    /// request; [`probe`](Runner::probe) reports errors in the configuration.
    #[must_use]
    pub fn new(name: RunnerName, config: KubernetesConfig) -> Self {
        Self { backend: Arc::new(Backend::new(name, config)) }
    }
}

#[async_trait]
impl Runner for KubernetesRunner {
    fn name(&self) -> &RunnerName {
        &self.backend.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.backend.capabilities
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        translate::remedy(capability, &self.backend.config)
    }

    async fn probe(&self) -> Result<Health> {
        probe::probe(&self.backend).await
    }

    async fn ready(&self) -> Result<()> {
        probe::ready(&self.backend).await
    }

    async fn server(&self) -> Option<String> {
        let cluster = self.backend.connection.cluster().await.ok()?;
        Some(match &cluster.proxy {
            Some(proxy) => format!("{} through {proxy}", cluster.server),
            None => cluster.server.clone(),
        })
    }

    async fn access(&self) -> Option<String> {
        let cluster = self.backend.connection.cluster().await.ok()?;
        let namespace = self.backend.config.namespace.as_deref().unwrap_or(&cluster.namespace);
        let proxy = cluster.proxy.as_deref().unwrap_or("no proxy");
        Some(format!("{} of {} through {proxy} as {}", namespace, cluster.server, cluster.identity))
    }

    async fn target(&self) -> Option<Target> {
        let target = self.backend.connection.target().await.ok()?;
        serde_json::to_value(target).ok()
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        match Location::read(handle).ok().and_then(|location| location.cluster) {
            Some(cluster) => self.backend.connection.reach(&cluster).await,
            None => Ok(()),
        }
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        plan::plan(attempt, &self.backend.config)
    }

    async fn check(&self, attempt: &Attempt) -> Result<Vec<Finding>> {
        check::check(&self.backend, attempt).await
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        Location::of(attempt, self.backend.config.namespace.as_deref())
            .handle_of(&self.backend.name, &attempt.id)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        launch::launch(&self.backend, attempt, context).await
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        stdin::open(&self.backend, &Location::read(handle)?).await
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        let location = Location::read(handle)?;
        settle::settle(&self.backend, &location, deadline).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        adopt::adopt(&self.backend, installation).await
    }

    async fn abandoned(&self, installation: &InstallationId) -> Result<Vec<(Handle, String)>> {
        adopt::abandoned(&self.backend, installation).await
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        match Location::read(handle) {
            Ok(location) => follow::events(self.backend.clone(), location).boxed(),
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
            Ok(location) => logs::logs(self.backend.clone(), location, since, follow).boxed(),
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
            Ok(location) => logs::timed_logs(self.backend.clone(), location, since, follow).boxed(),
            Err(error) => unreadable_logs(error),
        }
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        let location = Location::read(handle)?;
        let cluster = self.backend.cluster_of(&location).await?;
        termination::terminate(&cluster, &location, Ending::Cancelled, Some(grace)).await
    }

    async fn attach(&self, handle: &Handle, spec: &AttachSpec) -> Result<Attachment> {
        terminal::attach(Arc::clone(&self.backend), Location::read(handle)?, *spec).await
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        exec::exec(self.backend.clone(), Location::read(handle)?, spec).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let location = Location::read(handle)?;
        settle::remove(&self.backend, &location).await?;
        self.backend.forget_commit(&location);
        self.backend.informer.record_removal(&location);
        Ok(())
    }
}

//! The runner for Kubernetes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use kube::ResourceExt;
use longshore_core::{
    Attempt, Capabilities, Capability, Event, Handle, Health, InstallationId, LaunchContext,
    LaunchError, LogChunk, LogPosition, Plan, Result, Runner, RunnerName, Settled, Started,
    unreadable_events, unreadable_logs,
};
use tokio::time::Instant;

use crate::config::KubernetesConfig;
use crate::inner::Inner;
use crate::names::{self, Ending};
use crate::place::Place;
use crate::view::{JobView, object_name};
use crate::{ending, follow, launch, logs, plan, probe, settle, translate};

/// Runs jobs on a Kubernetes cluster, each as a `batch/v1` Job.
///
/// Creating a runner has no effect: it reads the kubeconfig at the first use, and again after a
/// failure.
#[derive(Debug)]
pub struct KubernetesRunner {
    inner: Arc<Inner>,
}

impl KubernetesRunner {
    /// Creates a runner called `name` with the configuration `config`. Reads no file and sends no
    /// request; [`probe`](Runner::probe) reports errors in the configuration.
    #[must_use]
    pub fn new(name: RunnerName, config: KubernetesConfig) -> Self {
        Self { inner: Arc::new(Inner::new(name, config)) }
    }
}

#[async_trait]
impl Runner for KubernetesRunner {
    fn name(&self) -> &RunnerName {
        &self.inner.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        translate::remedy(capability, &self.inner.config)
    }

    async fn probe(&self) -> Result<Health> {
        probe::probe(&self.inner).await
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        plan::plan(attempt, &self.inner.config)
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        Place::of(attempt, self.inner.config.namespace.as_deref())
            .handle_of(&self.inner.name, &attempt.id)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        launch::launch(&self.inner, attempt, context).await
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        let place = Place::read(handle)?;
        settle::settle(&self.inner, &place, deadline).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        let anywhere = Place {
            namespace: self.inner.config.namespace.clone(),
            job: String::new(),
            attempt: String::new(),
            installation: installation.clone(),
        };
        let cluster = self.inner.connection.cluster().await?;
        let mut attempts = BTreeSet::new();
        for job in cluster.jobs_of(&anywhere).await? {
            let view = JobView::from(&job);
            let attempt = view.attempt.filter(|_| !view.tombstone && !view.deleting);
            // Labels alone prove nothing, because any client can write them.
            attempts.extend(attempt.filter(|it| job.metadata.name == Some(object_name(it))));
        }
        // A client that deletes a Job with `--cascade=orphan` leaves its Pod behind.
        for pod in cluster.orphans_of(&anywhere).await? {
            attempts.extend(pod.labels().get(names::ATTEMPT).cloned());
        }
        let places = attempts.into_iter().map(|attempt| Place {
            job: object_name(&attempt),
            attempt,
            ..anywhere.clone()
        });
        places.map(|place| place.handle(&self.inner.name)).collect()
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        match Place::read(handle) {
            Ok(place) => follow::events(self.inner.clone(), place).boxed(),
            Err(error) => unreadable_events(&error),
        }
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        match Place::read(handle) {
            Ok(place) => logs::logs(self.inner.clone(), place, since, follow).boxed(),
            Err(error) => unreadable_logs(error),
        }
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        let place = Place::read(handle)?;
        let cluster = self.inner.connection.cluster().await?;
        ending::end(&cluster, &place, Ending::Cancelled, Some(grace)).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        let place = Place::read(handle)?;
        settle::remove(&self.inner, &place).await?;
        self.inner.forget_commit(&place);
        self.inner.hub.removed(&place);
        Ok(())
    }
}

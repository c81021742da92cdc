//! What other clients do to a Docker engine.

use std::collections::HashMap;
use std::future::Future;

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::query_parameters::ListContainersOptionsBuilder;
use tokio::runtime::Runtime;

use super::stage::Stage;
use crate::bench::runtime;

type Asked<T> = std::result::Result<T, bollard::errors::Error>;

/// A connection to the engine, and the job's container.
pub(super) struct Engine {
    runtime: Runtime,
    pub(super) docker: Docker,
    /// The id of the job's container.
    pub(super) id: String,
}

impl Engine {
    /// Connects to the engine, without a container.
    pub(super) fn connect(stage: &Stage) -> Result<Self> {
        let host = stage.bench.lab.docker_host.clone().context("no engine")?;
        let runtime = runtime()?;
        let docker = runtime
            .block_on(async { Docker::connect_with_host(&host)?.negotiate_version().await })?;
        Ok(Self { runtime, docker, id: String::new() })
    }

    /// Finds the container of the stage's job.
    pub(super) fn of(stage: &Stage) -> Result<Self> {
        let mut engine = Self::connect(stage)?;
        let label = vec![format!("accident={}", stage.mark)];
        let filters = HashMap::from([("label".to_owned(), label)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found =
            engine.ask(|docker, _| async move { docker.list_containers(Some(options)).await })?;
        ensure!(found.len() == 1, "{} containers", found.len());
        engine.id = found.into_iter().find_map(|it| it.id).context("the container has no id")?;
        Ok(engine)
    }

    /// Sends a request about the container.
    pub(super) fn ask<T, F: Future<Output = Asked<T>>>(
        &self,
        request: impl FnOnce(Docker, String) -> F,
    ) -> Result<T> {
        let request = request(self.docker.clone(), self.id.clone());
        self.runtime.block_on(request).context("the engine refused")
    }
}

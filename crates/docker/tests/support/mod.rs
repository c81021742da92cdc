//! The engine that the tests run against.

use std::collections::HashMap;
use std::env;

use bollard::query_parameters::ListContainersOptionsBuilder;
use longshore_core::{ImageRef, InstallationId, JobSpec, RunnerName};
use longshore_docker::{DockerConfig, DockerRunner};

/// A real engine, and an image on it.
pub(crate) struct Lab {
    pub(crate) docker: bollard::Docker,
    pub(crate) image: ImageRef,
    /// The configuration of each runner.
    pub(crate) config: DockerConfig,
}

impl Lab {
    /// The engine that the environment names.
    pub(crate) async fn find() -> Result<Self, String> {
        if env::var_os("DOCKER_HOST").is_none() {
            return Err("set DOCKER_HOST to the address of a Docker engine".to_owned());
        }
        let image = env::var("LONGSHORE_LAB_IMAGE")
            .map_err(|_| "set LONGSHORE_LAB_IMAGE to an image with a busybox".to_owned())?;
        let image = image.parse().map_err(|e| format!("LONGSHORE_LAB_IMAGE: {e}"))?;
        let docker = bollard::Docker::connect_with_defaults().map_err(|e| e.to_string())?;
        let docker = docker.negotiate_version().await.map_err(|e| e.to_string())?;
        Ok(Self { docker, image, config: DockerConfig::default() })
    }

    pub(crate) fn runner(&self) -> DockerRunner {
        DockerRunner::new(RunnerName::docker(), self.config.clone())
    }

    /// A job that runs `sh -c SCRIPT`.
    pub(crate) fn job(&self, script: &str) -> JobSpec {
        let mut job = JobSpec::container(self.image.clone());
        if let Some(container) = &mut job.container {
            container.command = vec!["sh".to_owned(), "-c".to_owned()];
            container.args = vec![script.to_owned()];
        }
        job
    }

    /// The containers of `installations`, marks among them. A fence stays for ten minutes.
    pub(crate) async fn leftovers(
        &self,
        installations: &[InstallationId],
    ) -> Result<Vec<String>, bollard::errors::Error> {
        let mut left = Vec::new();
        for installation in installations {
            let label = vec![format!("longshore.dev/installation={installation}")];
            let filters = HashMap::from([("label".to_owned(), label)]);
            let options =
                ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
            for container in self.docker.list_containers(Some(options)).await? {
                if is_fence(&container) {
                    continue;
                }
                left.push(format!("container {:?}: {:?}", container.names, container.status));
            }
        }
        Ok(left)
    }
}

/// Whether `container` is a mark that has the name of an attempt's container.
fn is_fence(container: &bollard::models::ContainerSummary) -> bool {
    let marked = container.labels.as_ref().and_then(|l| l.get("longshore.dev/marked-attempt"));
    let name = marked.map(|attempt| format!("/longshore-{attempt}"));
    name.is_some_and(|name| container.names.iter().flatten().any(|it| *it == name))
}

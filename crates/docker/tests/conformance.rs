//! The behaviour suite against a real Docker engine.
//!
//! Reads `DOCKER_HOST` (the engine), `LONGSHORE_LAB_IMAGE` (an image with a busybox, in a
//! registry that takes pushes by plain HTTP and that the engine can pull from), and
//! `LONGSHORE_DOCKER_NAME` (what the counts call the engine; `docker` if not set).

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::RemoveImageOptionsBuilder;
use longshore_conformance::{Failure, Fixture, Images, TestRegistry, Unsupported};
use longshore_core::{HumanDuration, ImageRef, InstallationId, JobSpec, Runner};
use support::Lab;

/// How long the engine may take for one answer. The machine's disk may stall for longer than the
/// default of 30 seconds; the fault tests check what a late answer means.
const ANSWER: HumanDuration = HumanDuration::from_secs(180);

struct Docker {
    lab: Lab,
    registry: TestRegistry,
    folder: tempfile::TempDir,
}

#[async_trait]
impl Fixture for Docker {
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure> {
        Ok(Arc::new(self.lab.runner()))
    }

    fn job(&self, script: &str) -> JobSpec {
        self.lab.job(script)
    }

    async fn leftovers(&self, installations: &[InstallationId]) -> Result<Vec<String>, Failure> {
        Ok(self.lab.leftovers(installations).await?)
    }

    fn hides_last_newlines(&self) -> bool {
        // As 20.10 does. Docker 25 (API 1.44) does not.
        let version = self.lab.docker.client_version();
        (version.major_version, version.minor_version) < (1, 44)
    }

    fn job_directory_root(&self) -> Option<PathBuf> {
        Some(self.folder.path().to_owned())
    }

    fn patience(&self) -> Duration {
        // The engine sends a log record by record, and a record is a line: a hundred mebibytes
        // of short lines take minutes.
        Duration::from_secs(60)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }
}

#[async_trait]
impl Images for Docker {
    fn registry(&self) -> &TestRegistry {
        &self.registry
    }

    async fn forget(&self, image: &ImageRef) -> Result<(), Failure> {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        match self.lab.docker.remove_image(image.as_str(), Some(options), None).await {
            Ok(_)
            | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn main() -> ExitCode {
    let name = std::env::var("LONGSHORE_DOCKER_NAME").unwrap_or_else(|_| "docker".to_owned());
    longshore_conformance::main(&name, || async {
        let mut lab = Lab::find().await.map_err(Unsupported::new)?;
        lab.config.request_timeout = ANSWER;
        let registry = TestRegistry::from_env()?;
        let folder = tempfile::tempdir().map_err(|e| Unsupported::new(e.to_string()))?;
        Ok(Docker { lab, registry, folder })
    })
}

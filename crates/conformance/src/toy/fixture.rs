//! The toy as a backend to test.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::{InstallationId, JobSpec, Runner};

use super::Flaw::{self, *};
use super::backend::Backend;
use super::runner::Toy;
use crate::{Failure, Fixture};

/// How long a fast backend takes to start a job.
pub(super) const FAST: Duration = Duration::from_millis(50);
/// How long a slow backend takes, such as a batch system.
pub(super) const SLOW: Duration = Duration::from_secs(2);

pub(super) struct Mine {
    backend: Arc<Backend>,
    patience: Duration,
}

impl Mine {
    pub(super) fn new(flaw: Option<Flaw>, start_delay: Duration, patience: Duration) -> Self {
        Self { backend: Arc::new(Backend::new(flaw, start_delay)), patience }
    }
}

#[async_trait]
impl Fixture for Mine {
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure> {
        Ok(Arc::new(Toy::new(Arc::clone(&self.backend))))
    }

    fn job(&self, script: &str) -> JobSpec {
        JobSpec::process(["sh", "-c", script])
    }

    async fn leftovers(&self, _: &[InstallationId]) -> Result<Vec<String>, Failure> {
        let entries = std::fs::read_dir(self.backend.folder.path())?;
        Ok(entries.flatten().map(|entry| entry.path().display().to_string()).collect())
    }

    fn job_directory_root(&self) -> Option<PathBuf> {
        Some(std::env::temp_dir())
    }

    fn input_is_read_only(&self) -> bool {
        self.backend.has(ClaimsReadOnlyInput)
    }

    fn patience(&self) -> Duration {
        self.patience
    }
}

//! The toy as a backend to be tested.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::{InstallationId, JobSpec, Runner};

use super::Flaw;
use super::runner::{Backend, Toy};
use crate::{Failure, Fixture};

pub(super) struct Mine(Arc<Backend>, Duration);

impl Mine {
    pub(super) fn new(flaw: Option<Flaw>, patience: Duration) -> Self {
        Self(Arc::new(Backend::new(flaw)), patience)
    }
}

#[async_trait]
impl Fixture for Mine {
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure> {
        Ok(Arc::new(Toy::new(Arc::clone(&self.0))))
    }

    fn job(&self, script: &str) -> JobSpec {
        JobSpec::process(["sh", "-c", script])
    }

    async fn leftovers(&self, _: &[InstallationId]) -> Result<Vec<String>, Failure> {
        let entries = std::fs::read_dir(self.0.folder.path())?;
        Ok(entries.flatten().map(|entry| entry.path().display().to_string()).collect())
    }

    fn job_directory_root(&self) -> Option<PathBuf> {
        Some(std::env::temp_dir())
    }

    fn input_is_read_only(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        self.1
    }
}

//! Runs the behaviour suite against real processes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use longshore_conformance::{Failure, Fixture, Unsupported};
use longshore_core::{InstallationId, JobSpec, Memory, Runner, RunnerName};
use longshore_process::{ProcessConfig, ProcessRunner};
use tempfile::TempDir;

struct Processes {
    state: TempDir,
    jobs: TempDir,
}

#[async_trait]
impl Fixture for Processes {
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure> {
        let state_directory = Some(self.state.path().to_owned());
        // Without a bound, the cases of much output run too.
        let log_max_size = Memory::from_bytes(0);
        let mut config = ProcessConfig::default();
        config.state_directory = state_directory;
        config.log_max_size = log_max_size;
        Ok(Arc::new(ProcessRunner::new(RunnerName::process(), config)))
    }

    fn job(&self, script: &str) -> JobSpec {
        JobSpec::process(["sh", "-c", script])
    }

    /// Returns what is left in the state directory, which belongs to this suite alone, except
    /// fences. Fences stay for a day, to stop a launch that is still under way.
    async fn leftovers(&self, _: &[InstallationId]) -> Result<Vec<String>, Failure> {
        let Ok(entries) = std::fs::read_dir(self.state.path().join("attempts")) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let record = std::fs::read_to_string(path.join("record.jsonl")).unwrap_or_default();
            if record.trim_start().starts_with("{\"fenced\"") {
                continue;
            }
            found.push(format!("{}: {}", path.display(), record.replace('\n', " ")));
        }
        Ok(found)
    }

    fn job_directory_root(&self) -> Option<PathBuf> {
        Some(self.jobs.path().to_owned())
    }

    fn input_is_read_only(&self) -> bool {
        false
    }
}

fn main() -> ExitCode {
    longshore_process::init();
    longshore_conformance::main("process", || async {
        let folder = || tempfile::tempdir().map_err(|error| Unsupported::new(error.to_string()));
        Ok(Processes { state: folder()?, jobs: folder()? })
    })
}

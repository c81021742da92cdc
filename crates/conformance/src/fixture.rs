//! What a backend gives the suite.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::{ImageRef, InstallationId, JobSpec, Runner};

use crate::{Failure, TestRegistry};

/// Why a suite cannot run here, in words that tell a person what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(String);

impl Unsupported {
    /// Unsupported for `reason`, such as `set DOCKER_HOST to the address of an engine`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A backend to be tested: the real thing, and what only its author knows of it.
///
/// Everything is called on a tokio runtime with several threads, from several cases at once.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// A new instance of the runner, configured as all the others and sharing nothing with them
    /// in memory, as another process would have it. Two instances must find each other's jobs.
    ///
    /// # Errors
    /// Whatever kept it from being made; the case fails.
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure>;

    /// A job that runs `sh -c SCRIPT` in this runner's way: `process.command`, or
    /// `container.command` with an image that has a busybox or the like. Nothing else is set.
    ///
    /// The scripts use POSIX `sh` and these tools: `cat`, `env`, `grep`, `head`, `id`, `sed`,
    /// `seq`, `setsid`, `sleep` (with fractions of a second), `tr`.
    fn job(&self, script: &str) -> JobSpec;

    /// What is still on the backend of these installations, one line each: objects, processes,
    /// files. Asked at the end, when the suite has removed every attempt; anything is a failure.
    ///
    /// # Errors
    /// Whatever kept the fixture from looking; the case fails.
    async fn leftovers(&self, installations: &[InstallationId]) -> Result<Vec<String>, Failure>;

    /// A folder under which the suite makes job directories: the runner can give what is in it to
    /// a job, and this process can read and write there. None: the cases with a job directory are
    /// unsupported.
    fn job_directory_root(&self) -> Option<PathBuf> {
        None
    }

    /// Whether the backend keeps a job from writing to `input/`. A local process of the same
    /// user cannot be kept from it.
    fn input_is_read_only(&self) -> bool {
        true
    }

    /// What the cases about images need. None: they are unsupported.
    fn images(&self) -> Option<&dyn Images> {
        None
    }

    /// How long the suite waits for one thing: a launch without a pull, an end that is due, an
    /// answer. Several times what it takes on a busy machine. Default 30 seconds.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// How many cases run at once, where `--test-threads` does not say it. Default 6.
    fn concurrency(&self) -> usize {
        6
    }
}

/// What the cases about images need: a registry, and a hand on the backend's own images.
#[async_trait]
pub trait Images: Send + Sync {
    /// A registry that the backend can pull from and the suite can push to.
    fn registry(&self) -> &TestRegistry;

    /// Removes an image from where the runner's backend keeps it, by this reference, so that the
    /// next `IfNotPresent` must pull. It is `Ok` if it was not there. Called after a case for
    /// every image that it pushed, by tag and by digest.
    ///
    /// # Errors
    /// Whatever kept it from being removed; the case fails.
    async fn forget(&self, image: &ImageRef) -> Result<(), Failure>;

    /// An image in a registry that refuses connections. By default on port 9 of 127.0.0.1
    /// (discard), where nothing listens.
    fn refused(&self) -> &str {
        "127.0.0.1:9/longshore/refused:1"
    }
}

//! What a backend's author provides to the suite.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_core::{ImageRef, InstallationId, JobSpec, Runner};

use crate::{Failure, TestRegistry};

/// A real backend to test, and what only its author knows about it.
///
/// The suite calls all methods on a multi-threaded tokio runtime, from several cases at once.
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// Creates an instance of the runner. All instances have the same configuration and share no
    /// memory, like the instances of different processes. Each instance must find the jobs of all
    /// others.
    ///
    /// # Errors
    /// The runner cannot be created; the case fails.
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure>;

    /// Returns a job that runs `sh -c SCRIPT` in this runner's way: `process.command`, or
    /// `container.command` with an image that has busybox or similar tools. Sets nothing else.
    ///
    /// The scripts use POSIX `sh` and these tools: `cat`, `env`, `grep`, `head`, `id`, `sed`,
    /// `seq`, `setsid`, `sleep` (with fractions of a second), `tr`.
    fn job(&self, script: &str) -> JobSpec;

    /// Returns what the backend still has of these installations, one line each: objects,
    /// processes, files. The suite calls this after it has removed every attempt. Any line is a
    /// failure.
    ///
    /// # Errors
    /// The backend cannot be queried; the case fails.
    async fn leftovers(&self, installations: &[InstallationId]) -> Result<Vec<String>, Failure>;

    /// Returns a folder in which the suite creates job directories. The runner can make its
    /// content available to a job, and this process can read and write it. With `None` the cases
    /// with a job directory are unsupported.
    fn job_directory_root(&self) -> Option<PathBuf> {
        None
    }

    /// Returns whether the backend prevents a job from writing to `input/`. It cannot for a local
    /// process of the same user.
    fn input_is_read_only(&self) -> bool {
        true
    }

    /// Returns whether the backend may lose the newline at the end of a job's output. The runner then
    /// ends the output with a gap of unknown length where it cannot know, as Docker 20.10 requires.
    fn hides_last_newlines(&self) -> bool {
        false
    }

    /// Returns what the cases about images need. With `None` they are unsupported.
    fn images(&self) -> Option<&dyn Images> {
        None
    }

    /// Returns how long the suite waits for one step: a launch without a pull, an end that is due,
    /// an answer. Choose several times what a step takes on a busy machine. Default 30 seconds.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// Returns how many cases run at once unless `--test-threads` is given. Default 6.
    fn concurrency(&self) -> usize {
        6
    }
}

/// What the cases about images need: a registry, and access to the backend's own images.
#[async_trait]
pub trait Images: Send + Sync {
    /// Returns a registry from which the backend can pull and to which the suite can push.
    fn registry(&self) -> &TestRegistry;

    /// Removes the image with this reference from the backend, so that the next `IfNotPresent`
    /// must pull. Returns `Ok` if the backend does not have it. The suite calls this after a case
    /// for every image that the case pushed, by tag and by digest.
    ///
    /// # Errors
    /// The image cannot be removed; the case fails.
    async fn forget(&self, image: &ImageRef) -> Result<(), Failure>;

    /// Returns an image in a registry that refuses connections. The default is port 9 of 127.0.0.1
    /// (discard), where nothing listens.
    fn refused(&self) -> &str {
        "127.0.0.1:9/longshore/refused:1"
    }
}

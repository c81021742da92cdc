//! The errors of a configuration as a whole.

use longshore_core::RunnerName;
use longshore_dispatch::BuildError;
use longshore_registry::InvalidLogin;

/// Why no dispatcher can be built from a well-formed configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssemblyError {
    /// A Cortex key that would change how jobs run.
    #[error("{key} is not supported: use a job's `resources` and `securityContext` instead")]
    CortexKey {
        /// The key.
        key: String,
    },
    /// Cortex's `dockerDirectory` differs from `directory`.
    #[error(
        "job.dockerDirectory is not supported if it differs from job.directory: mount the folder at the same path"
    )]
    DockerDirectory,
    /// A login that is invalid.
    #[error("{0}")]
    Login(#[from] InvalidLogin),
    /// Cortex's login is incomplete.
    #[error(
        "{key} is missing: set docker.registry.user and docker.registry.password, or preferably \
         use job.registries, which keeps the password elsewhere"
    )]
    CortexLogin {
        /// The key that is missing.
        key: &'static str,
    },
    /// `job.runners` names a runner that this program was built without.
    #[error(
        "job.runners: this program was built without the feature `{name}`, so it has no such runner"
    )]
    NotBuiltIn {
        /// The runner, and the feature of the same name.
        name: RunnerName,
    },
    /// The dispatcher cannot be built with these runners.
    #[error("job.runners: {0}")]
    Runners(#[from] BuildError),
    /// The folder for the persistent state cannot be prepared.
    #[error("job.stateDirectory: failed to prepare the folder: {0}")]
    State(#[source] std::io::Error),
}

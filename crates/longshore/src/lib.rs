//! A pluggable multi-backend job runner.
//!
//! A job runs on the first runner that can take it: Kubernetes, Docker or a local process, in the
//! configured order. It falls back only while it is proven that nothing has started.
//!
//! ```no_run
//! use longshore::{Config, Dispatcher, JobSpec};
//!
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! let dispatcher = longshore::dispatcher(&Config::default())?;
//! let spec = JobSpec::container("busybox:1.37".parse()?).or_process(["echo", "hello"]);
//! let result = dispatcher.submit(spec).await?.wait().await?;
//! println!("{} on {:?}", result.outcome, result.runner);
//! # Ok(())
//! # }
//! ```
//!
//! A program that may run local processes calls [`init`] at the start of `main`.
//!
//! # Features
//! - `kubernetes`, `docker` and `process`, all on by default: the backends that are built in.
//! - `metrics`, off by default: an observer that reports to the crate `metrics`.
//!
//! With `kubernetes`, the application chooses the oldest version of Kubernetes that it supports, by
//! a feature of the crate `k8s-openapi`, such as `cargo add k8s-openapi --features v1_33`. A library
//! must not, because a program can have only one.

mod assembly_error;
mod build;
mod cortex;
mod cortex_registry;
mod doctor_report;
mod installation;
mod logins;
mod pull_policies;
mod settings;

pub use assembly_error::AssemblyError;
pub use build::{builder, dispatcher, state_directory, warnings};
pub use doctor_report::{DoctorError, DoctorImage, DoctorPullPolicy, DoctorReport, DoctorRunner};
pub use longshore_core::*;
pub use longshore_dispatch::*;
pub use longshore_journal::{
    AttemptRecord, AttemptState, CancelRequest, Cause as JournalErrorCause, Cursor, CursorError,
    Filter, Journal, JournalError, Options as JournalOptions, Record, Relaunch, State as JobState,
};
pub use longshore_registry::Keyring;
pub use pull_policies::pull_policy_key;
pub use settings::{Config, JobConfig, RunnerConfig};

/// Reads configuration and documents: defaults < files < environment < flags.
pub mod config {
    pub use longshore_config::*;
}

#[cfg(feature = "docker")]
pub use longshore_docker::{DockerConfig, DockerRunner};
#[cfg(feature = "kubernetes")]
pub use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
#[cfg(feature = "process")]
pub use longshore_process::{ProcessConfig, ProcessRunner, command_apart, raise_limits};

/// Prepares a program that may run local processes. Call it at the start of `main`, before any
/// thread starts.
///
/// Returns at once, unless this process was started as the supervisor of a local job. In that case,
/// it supervises the job and never returns. In a process that `command_apart` started, it detaches
/// the process from its parent and returns. Without the feature `process`, it does nothing.
pub fn init() {
    #[cfg(feature = "process")]
    longshore_process::init();
}

/// Checks that the README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Checks that the guide's code compiles. Its last part needs `metrics`.
#[cfg(all(doctest, feature = "metrics", feature = "process"))]
#[doc = include_str!("../../../docs/library.md")]
struct Library;

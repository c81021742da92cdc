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
//! # Modules
//! The root has what a program starts with. A module has everything about one subject, and repeats
//! the items of the root that belong to it.
//!
//! | module | contents |
//! |---|---|
//! | [`job`] | what to run, the job while it runs, its events and output, and how it ended |
//! | [`image`] | names of images, pull policies, and logins for registries |
//! | [`runner`] | the runners, and everything that an implementation of [`runner::Runner`] needs |
//! | [`dispatch`] | the dispatcher, its builder, observers, and policies for specs from strangers |
//! | [`journal`] | the record of jobs, and how to search it |
//! | [`config`] | the settings, and how they are read from files, the environment and flags |
//! | [`doctor`] | whether each runner would take a job now |
//!
//! # Features
//! All features but `metrics` are on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `kubernetes`, `docker`, `process` | a backend each |
//! | `sqlite` | the record of jobs in the state directory; without it, it is in memory |
//! | `config` | reading the [`Config`] from TOML and JSON, the environment and flags, and job files |
//! | `hocon`, `yaml` | a format of files each; they include `config` |
//! | `schema` | JSON schemas of the settings, jobs and results; `config` includes it |
//! | `metrics` | an observer that reports to the crate `metrics` |
//!
//! No field depends on a feature: [`Config`] keeps the sections of backends that are not built in.
//! docs/library.md counts the crates that each feature brings; without any, there are fewer than 60.
//!
//! With `kubernetes`, the application chooses the oldest version of Kubernetes that it supports, by
//! a feature of the crate `k8s-openapi`, such as `cargo add k8s-openapi --features v1_33`. A library
//! must not, because a program can have only one.

pub mod config;
pub mod dispatch;
pub mod doctor;
pub mod image;
pub mod job;
pub mod journal;
pub mod runner;

mod assembly_error;
mod backends;
mod build;
mod cortex;
mod cortex_registry;
mod doctor_report;
mod installation;
mod logins;
#[cfg(not(all(feature = "docker", feature = "kubernetes", feature = "process")))]
mod not_built_in;
mod pull_policies;
mod settings;

pub use config::Config;
pub use dispatch::{Dispatcher, builder, dispatcher};
pub use job::{Job, JobId, JobResult, JobSpec, Outcome, Submission};
#[cfg(feature = "process")]
pub use longshore_process::{command_apart, raise_limits};
pub use runner::{Error, ErrorKind, Result};

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

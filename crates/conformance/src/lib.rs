//! The behaviour suite that every runner passes, a simulated runner, and a wrapper for runners.
//!
//! The docs of [`Runner`](longshore_core::Runner) state each method's behaviour as a list. Each
//! line of those lists is a case, and the name of the case says the line. A backend's author
//! runs the whole suite with one call, from a test target with `harness = false`:
//!
//! ```no_run
//! use std::path::PathBuf;
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use longshore_conformance::{Failure, Fixture, Unsupported};
//! use longshore_core::{InstallationId, JobSpec, Runner};
//!
//! struct Mine {
//!     folder: tempfile::TempDir,
//! }
//!
//! #[async_trait::async_trait]
//! impl Fixture for Mine {
//!     async fn runner(&self) -> Result<Arc<dyn Runner>, Failure> {
//!         Err(Failure::new("make a new instance of the runner here"))
//!     }
//!
//!     fn job(&self, script: &str) -> JobSpec {
//!         JobSpec::process(["sh", "-c", script])
//!     }
//!
//!     fn job_directory_root(&self) -> Option<PathBuf> {
//!         Some(self.folder.path().to_owned())
//!     }
//!
//!     async fn leftovers(&self, _: &[InstallationId]) -> Result<Vec<String>, Failure> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     longshore_conformance::main("mine", || async {
//!         if std::env::var_os("MINE_HOST").is_none() {
//!             return Err(Unsupported::new("set MINE_HOST to the address of an engine"));
//!         }
//!         let folder = tempfile::tempdir().map_err(|e| Unsupported::new(e.to_string()))?;
//!         Ok(Mine { folder })
//!     })
//! }
//! ```
//!
//! # What runs
//! A case declares which [`Capability`](longshore_core::Capability) and which part of the
//! [`Fixture`] it needs. If the runner or the fixture lacks it, the suite lists the case as ignored
//! with the reason, `unsupported: …`, and does not count it as passed. A suite that executes no
//! case fails.
//!
//! Filters and flags are those of `cargo test`: `cargo test --test conformance -- cancel::`.
//!
//! # What the suite reads from the environment
//! - `LONGSHORE_REQUIRE`: runners separated by commas, or `all`. If a listed runner has no backend
//!   to test against, the suite fails. An unlisted one reports the reason and exits with 0.
//! - `LONGSHORE_TEST_REPORT`: a folder in which the suite writes the counts as
//!   `conformance-RUNNER.json`.
//! - `LONGSHORE_LAB_REGISTRY`, `LONGSHORE_LAB_IMAGE`: see [`TestRegistry`].

mod bench;
mod case;
mod cases;
pub mod endless;
mod failure;
mod fixture;
#[cfg(test)]
mod forward_tests;
mod late;
mod output;
mod pace;
mod race;
mod registry;
mod registry_http;
mod report;
pub mod simulated;
mod suite;
#[cfg(test)]
mod toy;
mod unsupported;
mod wait;

pub use failure::Failure;
pub use fixture::{Fixture, Images};
pub use longshore_core::{Forward, Forwarding};
pub use pace::load;
pub use registry::{Pushed, TestRegistry};
pub use report::{Counts, Ledger};
pub use suite::main;
pub use unsupported::Unsupported;

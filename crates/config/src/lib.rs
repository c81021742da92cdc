//! Longshore's configuration: built-in defaults, then files, then the environment, then flags. Later
//! layers win.
//!
//! This crate knows no backend. A caller composes one type from the `Config` types of the parts. This
//! type has a default for each key that may be missing, and its JSON schema has the known keys.
//!
//! ```
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
//! struct Config {
//!     job: Job,
//! }
//! #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
//! struct Job {
//!     runners: Vec<String>,
//! }
//!
//! let loaded = longshore_config::Loader::<Config>::new()
//!     .environment([("JOB_RUNNERS".to_owned(), "docker,process".to_owned())])
//!     .load()?;
//! assert_eq!(loaded.value.job.runners, ["docker", "process"]);
//! # Ok::<(), longshore_config::ConfigError>(())
//! ```

// Everything here reads what other people wrote: no input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

mod blame;
mod check;
mod coerce;
mod document;
mod error;
mod file;
mod format;
#[cfg(feature = "hocon")]
mod java;
mod json_schema;
mod keys;
mod loader;
mod nearest;
mod node;
mod origin;
mod paths;
mod reference;
mod schema;
mod settings;
mod typed;

pub use document::{parse_document, read_document};
pub use error::{ConfigError, Problem, Warning};
pub use format::Format;
pub use loader::{Loaded, Loader};
pub use longshore_hocon::Location;
pub use origin::{Origin, Setting};
pub use reference::{
    environment_names, keys_with_choices, loader_schema_source, render_reference, schema_json,
};
pub use schema::{Schema, SchemaEntry, ValueKinds};

//! Configuration: the settings, and how they are read.
//!
//! A [`Loader`] merges defaults, files, environment variables and flags into a [`Config`], in this
//! order. [`read_document`] reads a document without layers, such as a job file.

#[cfg(feature = "config")]
pub use longshore_config::{
    ConfigError, Format, Loaded, Loader, Location, Origin, Problem, Schema, SchemaEntry, Setting,
    ValueKinds, Warning, environment_names, keys_with_choices, loader_schema_source,
    parse_document, read_document, render_reference, schema_json,
};
pub use longshore_dispatch::{FallbackReason, Isolation, Settings};
#[cfg(feature = "kubernetes")]
pub use longshore_kubernetes::{
    Affinity, Amounts, DefaultResources, DnsPolicy, HostAlias, OwnerPod, PodDNSConfig, PodTemplate,
    Toleration, TopologySpreadConstraint,
};

pub use crate::backends::{DockerConfig, KubernetesConfig, ProcessConfig};
pub use crate::build::{state_directory, warnings};
pub use crate::cortex::CortexDocker;
pub use crate::cortex_registry::CortexRegistry;
#[cfg(not(all(feature = "docker", feature = "kubernetes", feature = "process")))]
pub use crate::not_built_in::NotBuiltIn;
pub use crate::settings::{Config, JobConfig, RunnerConfig};

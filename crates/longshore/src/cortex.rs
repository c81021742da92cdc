//! Cortex's top-level `docker` keys.

use std::path::PathBuf;

use longshore_core::PullPolicy;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cortex_registry::CortexRegistry;

/// Cortex's keys for its Docker runner. Longshore adopts keys for which it has an equivalent. A key
/// without an equivalent is refused if it would change how a job runs, and otherwise reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CortexDocker {
    /// The engine's address. `job.docker.host` takes precedence.
    pub uri: Option<String>,
    /// The same, in later versions of Cortex.
    pub host: Option<String>,
    /// Whether to pull the image at each launch: true is `job.docker.imagePullPolicy = Always`,
    /// false is `IfNotPresent`. That key takes precedence.
    pub auto_update: Option<bool>,
    /// The folder with the certificates for TLS. `job.docker.certPath` takes precedence.
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub cert_path: Option<PathBuf>,
    /// The registry that images come from, and the login for it. `job.registries` and Docker's
    /// `config.json` take precedence.
    pub registry: CortexRegistry,
    /// Options of the container. Longshore supports none of them: see `resources` and
    /// `securityContext` of a job.
    pub container: Option<serde_json::Map<String, Value>>,
    /// The version of the API. Longshore negotiates it.
    pub version: Option<String>,
    /// The size of the connection pool. Longshore needs none.
    pub connection_pool_size: Option<u32>,
    /// The connection timeout, in milliseconds. See `job.connectTimeout`.
    pub connect_timeout_millis: Option<u64>,
    /// The read timeout, in milliseconds. Longshore has its own.
    pub read_timeout_millis: Option<u64>,
    /// Whether to use a proxy. Longshore never does.
    pub use_proxy: Option<bool>,
}

impl CortexDocker {
    /// The engine's address.
    #[cfg(feature = "docker")]
    pub(crate) fn address(&self) -> Option<&String> {
        self.host.as_ref().or(self.uri.as_ref())
    }

    /// The pull policy that `autoUpdate` corresponds to.
    pub(crate) fn pull_policy(&self) -> Option<PullPolicy> {
        self.auto_update
            .map(|always| if always { PullPolicy::Always } else { PullPolicy::IfNotPresent })
    }

    /// Returns the first key that would change how a job runs and that Longshore does not support.
    pub(crate) fn refused(&self) -> Option<String> {
        let container = self.container.as_ref()?;
        container.keys().next().map(|key| format!("docker.container.{key}"))
    }

    /// Returns the keys that are set and have no effect.
    pub(crate) fn without_effect(&self) -> Vec<&'static str> {
        let given = [
            ("docker.version", self.version.is_some()),
            ("docker.connectionPoolSize", self.connection_pool_size.is_some()),
            ("docker.connectTimeoutMillis", self.connect_timeout_millis.is_some()),
            ("docker.readTimeoutMillis", self.read_timeout_millis.is_some()),
            ("docker.useProxy", self.use_proxy.is_some()),
            ("docker.registry.email", self.registry.email.is_some()),
        ];
        given.into_iter().filter_map(|(key, given)| given.then_some(key)).collect()
    }
}

//! The settings of a Docker runner.

use std::path::PathBuf;

use longshore_core::{HumanDuration, Memory};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to reach a Docker engine, and how its jobs are set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DockerConfig {
    /// The engine's address: `unix:///path`, `tcp://host:port` or `http://host:port`. Without it:
    /// `DOCKER_HOST`, else the current context of the docker command, else the first socket that
    /// exists: `/var/run/docker.sock`, or rootless Docker's `$XDG_RUNTIME_DIR/docker.sock`.
    pub host: Option<String>,
    /// Whether to use TLS for a TCP address. Without it: whether `DOCKER_TLS_VERIFY` is set and not
    /// empty.
    pub tls_verify: Option<bool>,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem` for TLS. Without it: `DOCKER_CERT_PATH`,
    /// else `~/.docker`.
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub cert_path: Option<PathBuf>,
    /// The time limit for the first contact with the engine.
    pub connect_timeout: HumanDuration,
    /// The time limit for one request to the engine, except pulls and requests that last as long as
    /// a job.
    pub request_timeout: HumanDuration,
    /// A pull that makes no progress for this long fails as unreachable.
    pub pull_stall_timeout: HumanDuration,
    /// The Docker network for jobs that do not set `network`. Without it: the engine's default.
    pub network: Option<String>,
    /// The size at which the engine starts a new log file for a job's output.
    pub log_max_size: Memory,
    /// How many log files the engine keeps for a job, at least 2. Output beyond `logMaxSize` times
    /// this number is lost to a reader that starts later.
    pub log_max_files: u32,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            host: None,
            tls_verify: None,
            cert_path: None,
            connect_timeout: HumanDuration::from_secs(5),
            request_timeout: HumanDuration::from_secs(30),
            pull_stall_timeout: HumanDuration::from_secs(60),
            network: None,
            log_max_size: Memory::from_bytes(512 << 20),
            log_max_files: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_read_in_camel_case_and_unknown_keys_are_refused() {
        let read = |text: &str| serde_json::from_str::<DockerConfig>(text);
        let config =
            read(r#"{"host": "tcp://d:2375", "requestTimeout": "3s", "logMaxSize": "1Mi"}"#);
        let config = config.unwrap();
        assert_eq!(config.host.as_deref(), Some("tcp://d:2375"));
        assert_eq!(config.request_timeout, HumanDuration::from_secs(3));
        assert!(read(r#"{"hots": "x"}"#).unwrap_err().to_string().contains("hots"));
    }
}

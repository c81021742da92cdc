//! A configuration like the real one, composed in the same way as in the facade.

use std::collections::BTreeMap;

use longshore_config::{ConfigError, Format, Loaded, Loader};
use longshore_core::{HumanDuration, Memory, PullPolicies, RunnerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// How jobs are run.
    pub job: Job,
    /// Cortex's own section.
    pub docker: CortexDocker,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Job {
    /// The runners in the order in which they are tried.
    pub runners: Vec<RunnerName>,
    /// Where job directories are created.
    #[schemars(extend("x-path" = true))]
    pub directory: String,
    /// How long a job may run.
    pub timeout: HumanDuration,
    /// When images are pulled.
    pub image_pull_policy: PullPolicies,
    pub max_jobs: u16,
    pub rules: Vec<Rule>,
    pub kubernetes: Kubernetes,
    pub docker: Docker,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            runners: vec![RunnerName::kubernetes(), RunnerName::docker()],
            directory: "/tmp".to_owned(),
            timeout: HumanDuration::from_secs(1800),
            image_pull_policy: PullPolicies::default(),
            max_jobs: 50,
            rules: Vec::new(),
            kubernetes: Kubernetes::default(),
            docker: Docker::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    pub image: String,
    pub image_pull_policy: PullPolicies,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    pub image_pull_policy: Option<PullPolicies>,
    pub namespace: Option<String>,
    pub persistent_volume_claim_name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub dns: Dns,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Dns {
    /// The cluster's DNS.
    #[default]
    Cluster,
    /// The node's DNS.
    Node,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Docker {
    pub image_pull_policy: Option<PullPolicies>,
    pub auto_remove: bool,
    pub memory: Option<Memory>,
    #[schemars(extend("writeOnly" = true))]
    pub password: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CortexDocker {
    pub host: Option<String>,
    pub auto_update: Option<bool>,
}

pub fn load(format: Format, text: &str) -> Result<Loaded<Config>, ConfigError> {
    let name = match format {
        Format::Toml => "x.toml",
        Format::Yaml => "x.yaml",
        Format::Json => "x.json",
        _ => "x.conf",
    };
    Loader::new().text(name, format, text).load()
}

/// Returns the error's lines, or what was loaded.
pub fn said(result: Result<Loaded<Config>, ConfigError>) -> String {
    match result {
        Ok(loaded) => format!("accepted: {:?}", loaded.value),
        Err(error) => error.to_string(),
    }
}

pub fn env<'a>(variables: &[(&'a str, &'a str)]) -> Vec<(String, String)> {
    variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

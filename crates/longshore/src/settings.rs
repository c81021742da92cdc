//! The whole configuration, composed of its parts.

use std::path::PathBuf;

use longshore_core::{InstallationId, PullPolicies, RegistryLogin, RunnerName};
use longshore_dispatch::Settings;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backends::{DockerConfig, KubernetesConfig, ProcessConfig, is_built_in};
use crate::cortex::CortexDocker;

/// The whole configuration.
///
/// The structure is that of Cortex, so that Cortex's `application.conf` loads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// How jobs are run.
    pub job: JobConfig,
    /// Cortex's keys for its Docker runner. Keys under `job.docker` take precedence.
    pub docker: CortexDocker,
}

/// How jobs are run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct JobConfig {
    /// The runners, in the order in which they are tried: kubernetes, docker, process.
    pub runners: Vec<RunnerName>,
    /// The folder that contains the job directories. For Kubernetes, it is the root of the volume
    /// that `job.kubernetes.persistentVolumeClaimName` names.
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub directory: Option<PathBuf>,
    /// The folder for state that must outlive the command. None: `$XDG_STATE_HOME/longshore`, else
    /// `~/.local/state/longshore`.
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub state_directory: Option<PathBuf>,
    /// The identity of this installation. None: that of the state directory. Commands with state
    /// directories of their own, such as in Pods, may share one: `run` and `gc` then end and remove
    /// the jobs of those that have ended. This needs a runner that knows which command a job belongs
    /// to, as Kubernetes does with `job.kubernetes.ownerPod`. On any other runner, `gc` takes the
    /// jobs of all these commands for its own, so do not share an identity there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installation: Option<InstallationId>,
    /// Logins for image registries: a list of `server` with `username` and one of `passwordFile`
    /// and `passwordEnv`, or with a `credentialHelper`. The login for the longest part of an
    /// image's name applies. A job's own logins take precedence over these, and these over Docker's
    /// `config.json`.
    pub registries: Vec<RegistryLogin>,
    /// The folder that contains Docker's `config.json`, which `docker login` writes. None:
    /// `$DOCKER_CONFIG`, else `~/.docker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub docker_config: Option<PathBuf>,
    /// How jobs are dispatched.
    #[serde(flatten)]
    pub dispatch: Settings,
    /// The Kubernetes runner.
    pub kubernetes: RunnerConfig<KubernetesConfig>,
    /// The Docker runner.
    pub docker: RunnerConfig<DockerConfig>,
    /// The runner for local processes.
    pub process: ProcessConfig,
    /// Cortex's key for `directory` as the Docker engine sees it. Only the same path is supported.
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub docker_directory: Option<PathBuf>,
    /// Cortex's switch for keeping job directories. Longshore never removes them.
    pub keep_job_folder: Option<bool>,
}

impl Default for JobConfig {
    fn default() -> Self {
        let all = [RunnerName::kubernetes(), RunnerName::docker(), RunnerName::process()];
        Self {
            runners: all.into_iter().filter(|name| is_built_in(name.as_str())).collect(),
            directory: None,
            state_directory: None,
            installation: None,
            registries: Vec::new(),
            docker_config: None,
            dispatch: Settings::default(),
            kubernetes: RunnerConfig::default(),
            docker: RunnerConfig::default(),
            process: ProcessConfig::default(),
            docker_directory: None,
            keep_job_folder: None,
        }
    }
}

/// The settings of a runner for containers: its own, and those that the dispatcher reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RunnerConfig<T: Default> {
    /// When images are pulled on this runner. Takes precedence over `job.imagePullPolicy`.
    pub image_pull_policy: Option<PullPolicies>,
    /// The runner's own settings.
    #[serde(flatten)]
    pub backend: T,
}

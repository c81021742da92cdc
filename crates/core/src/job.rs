//! What to run.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Cpu, Error, ErrorKind, HumanDuration, ImageRef, Memory, PullPolicies, RegistryLogin, Result,
    RunnerName, SecurityContext, SecurityProfile, Volume,
};

/// What to run: in a container, as a local process, or either way.
///
/// A runner supports the job only if the job names the runner's way of running it: an author
/// allows a job outside a container by naming `process`. A job file is TOML, YAML or JSON with
/// these keys in camelCase. Keys have Kubernetes' names wherever Kubernetes has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct JobSpec {
    /// A name for people, of at most 255 characters. It need not be unique.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How to run the job in a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// How to run the job as a local process, outside any container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Labels for the backend's objects. Kubernetes' rules for keys and values apply on every
    /// runner. The prefix `longshore.dev/` is reserved.
    pub labels: BTreeMap<String, String>,
    /// Environment variables. Values are taken literally on every runner: no `$(X)` is expanded.
    pub env: BTreeMap<String, String>,
    /// Environment variables whose values are never shown.
    pub secret_env: BTreeMap<String, SecretSource>,
    /// Whether the job receives what its submitter gives as stdin, once, and then end of file. If
    /// false, or if the submitter gives none, the job's stdin is empty.
    #[serde(skip_serializing_if = "is_no")]
    pub stdin: bool,
    /// Whether the job has a terminal. Its output is then one stream, stdout. With `stdin`, the
    /// terminal takes input from each process that attaches to the job, one after the other, and has
    /// no end of file.
    #[serde(skip_serializing_if = "is_no")]
    pub tty: bool,
    /// The absolute path of a directory with `input/` (read-only to the job) and `output/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_directory: Option<PathBuf>,
    /// Files and folders of the machine that runs the job, for the job's container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Limits on what the job may use.
    pub resources: Resources,
    /// How long the job may run, counted from its start. Default: the configured `job.timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// Time between TERM and KILL when the job is ended early. Default 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<HumanDuration>,
    /// How far the job's container is confined: `privileged`, `baseline` or `restricted`. Default:
    /// the configured `job.securityProfile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_profile: Option<SecurityProfile>,
    /// The identity and privileges of the job's container, within its security profile.
    pub security_context: SecurityContext,
    /// The job's network.
    pub network: Network,
    /// When the image is pulled. Default: what is configured for the runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicies>,
    /// How to log in to the image's registry. These entries precede the configured
    /// `job.registries`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistryLogin>,
    /// Narrows or reorders the configured runners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runners: Option<Vec<RunnerName>>,
}

impl JobSpec {
    /// Creates a job that runs in a container of `image`, with the image's own entry point and
    /// arguments.
    #[must_use]
    pub fn container(image: ImageRef) -> Self {
        Self { container: Some(Container::new(image)), ..Self::default() }
    }

    /// Creates a job that runs `command` as a local process.
    #[must_use]
    pub fn process<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self::default().or_process(command)
    }

    /// Also allows the job to run as a local process with `command`.
    #[must_use]
    pub fn or_process<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.process = Some(Process::new(command));
        self
    }

    /// Returns the time between TERM and KILL, with the default filled in.
    #[must_use]
    pub fn effective_grace_period(&self) -> HumanDuration {
        self.grace_period.unwrap_or(HumanDuration::from_secs(10))
    }

    /// Returns the job's security context, with what the job's security profile sets for what the
    /// job leaves open. A job that names no profile has the default one.
    ///
    /// # Errors
    /// `InvalidSpec` if the job sets something beyond its profile.
    pub fn effective_security_context(&self) -> Result<SecurityContext> {
        let profile = self.security_profile.unwrap_or_default();
        let context = &self.security_context;
        let Some(beyond) = context.beyond(profile) else {
            return Ok(context.clone().completed(profile));
        };
        let wider = SecurityProfile::ALL.into_iter().find(|it| context.beyond(*it).is_none());
        Err(Error::new(
            ErrorKind::InvalidSpec,
            format!(
                "`securityContext.{beyond}` is beyond the security profile {profile}: the job must \
                 set `securityProfile: {}`",
                wider.unwrap_or(SecurityProfile::Privileged)
            ),
        ))
    }
}

/// How to run a job in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Container {
    /// The image to run.
    pub image: ImageRef,
    /// Replaces the image's entry point (Kubernetes' `command`, Docker's `Entrypoint`). The
    /// image's own arguments are then ignored too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments (Kubernetes' `args`, Docker's `Cmd`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The working directory. Default: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Whether an init is process 1 of the container. Default: true.
    ///
    /// The kernel delivers process 1 no signal that it does not handle, not even its own `KILL`
    /// (<https://man7.org/linux/man-pages/man7/pid_namespaces.7.html>). With an init the job is an
    /// ordinary process, so a signal ends it on every runner. Set this to false for an image whose
    /// own init must be process 1, such as s6.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub init: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_no(value: &bool) -> bool {
    !*value
}

impl Container {
    /// Creates a container of `image`, with the image's own entry point and arguments.
    #[must_use]
    pub const fn new(image: ImageRef) -> Self {
        Self { image, command: Vec::new(), args: Vec::new(), working_dir: None, init: true }
    }
}

/// How to run a job as a local process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Process {
    /// The program and its first arguments. The program is looked up in the job's `PATH`. No
    /// shell is involved.
    pub command: Vec<String>,
    /// Further arguments, after those in `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The working directory. Default: the job directory if there is one, else `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
}

impl Process {
    /// Creates a process that runs `command`.
    #[must_use]
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        let command = command.into_iter().map(Into::into).collect();
        Self { command, args: Vec::new(), working_dir: None }
    }
}

/// Where the value of a secret environment variable comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("x-no-echo" = true)))]
#[non_exhaustive]
pub enum SecretSource {
    /// The content of a file, with one final newline removed.
    File(PathBuf),
    /// A variable of the caller's environment.
    Env(String),
    /// A key of a Secret in the job's namespace. Only the Kubernetes runner supports this.
    SecretKeyRef {
        /// The Secret's name.
        name: String,
        /// The key within it.
        key: String,
    },
}

/// The resources that a job may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Resources {
    /// Hard limits.
    pub limits: ResourceList,
}

/// Amounts of resources. A resource left out has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ResourceList {
    /// CPU time, such as `500m` or `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory, such as `64Mi`. A job that needs more ends as `OutOfMemory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The number of processes and threads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// The number of GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
}

/// A job's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Network {
    /// The backend's default network.
    #[default]
    Default,
    /// No network except loopback.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_in_camel_case() {
        let job: JobSpec = serde_json::from_value(serde_json::json!({
            "name": "extract",
            "container": {"image": "busybox:1", "command": ["sh", "-c"], "args": ["true"]},
            "process": {"command": ["true"]},
            "resources": {"limits": {"memory": "64Mi", "cpu": 0.5, "pids": 100}},
            "timeout": "5m",
            "imagePullPolicy": ["Always", "IfNotPresent"],
            "secretEnv": {"TOKEN": {"env": "MY_TOKEN"}},
            "runners": ["docker", "process"],
        }))
        .unwrap();
        assert_eq!(job.resources.limits.cpu, Some(Cpu::from_millis(500)));
        assert_eq!(job.timeout, Some(HumanDuration::from_secs(300)));
        let again: JobSpec = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(again, job);
    }

    #[test]
    fn an_unknown_key_of_a_job_is_refused() {
        let error = serde_json::from_str::<JobSpec>(r#"{"image": "busybox"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `image`"), "{error}");
    }
}

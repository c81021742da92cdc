//! What a job of a stranger may ask for.

use std::borrow::Cow;
use std::path::PathBuf;

use longshore_core::{
    Cpu, Error, ErrorKind, HumanDuration, Memory, PullPolicy, RunnerName, SecurityProfile,
};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::glob::ImageGlob;

/// What a job may ask for whose spec comes from a stranger, such as a tenant of a service.
///
/// By default, a job runs only in a container, and reads nothing that belongs to the service: no
/// file, no environment variable, no credential helper, no login to a registry and no folder of the
/// host. Its labels, which other programs may act on, are its runner's only. A service allows more
/// for each tenant. The command line has no policy, because its user reads the same files anyway.
///
/// | field of the job | by default | allowed by |
/// |---|---|---|
/// | `name` | without control characters | - |
/// | `container.image` | from a registry with a public name | [`registries`](Self::registries), [`images`](Self::images) |
/// | `container`: all other keys | everything | - |
/// | `process` | nothing | [`processes`](Self::processes) |
/// | `labels` | nothing | [`labels`](Self::labels) |
/// | `env` | everything | - |
/// | `secretEnv`: `file` | nothing | [`secret_files`](Self::secret_files) |
/// | `secretEnv`: `env` | nothing | [`secret_variables`](Self::secret_variables) |
/// | `secretEnv`: `secretKeyRef` | nothing | [`kubernetes_secrets`](Self::kubernetes_secrets) |
/// | `stdin` | everything: it receives only what the service gives | - |
/// | `tty` | everything: only the service attaches to it | - |
/// | `jobDirectory` | nothing | [`job_directories`](Self::job_directories) |
/// | `volumes` | nothing | [`host_paths`](Self::host_paths) |
/// | `resources.limits.gpus` | nothing | [`max_gpus`](Self::max_gpus) |
/// | `resources.limits`: all other keys | everything, also no limit | [`max_cpu`](Self::max_cpu), [`max_memory`](Self::max_memory), [`max_pids`](Self::max_pids) |
/// | `timeout` | everything, also none | [`max_timeout`](Self::max_timeout) |
/// | `gracePeriod` | up to 5 minutes | [`max_grace_period`](Self::max_grace_period) |
/// | `securityProfile`, `securityContext` | up to `baseline` | [`security_profile`](Self::security_profile) |
/// | `network` | both | [`network`](Self::network) |
/// | `imagePullPolicy` | `Always` | [`pull_policies`](Self::pull_policies) |
/// | `registries`: `passwordFile` | nothing | [`secret_files`](Self::secret_files) |
/// | `registries`: `passwordEnv` | nothing | [`secret_variables`](Self::secret_variables) |
/// | `registries`: `credentialHelper` | nothing | [`credential_helpers`](Self::credential_helpers) |
/// | `runners` | all that are configured | [`runners`](Self::runners) |
///
/// A policy does not see what a backend adds by itself. An image that is already on an engine runs
/// without a login if the pull policy in force allows it, and a cluster pulls with its own
/// `imagePullSecrets`. To protect private images, list the tenant's [`images`](Self::images).
///
/// # Examples
/// ```
/// use longshore_core::{JobSpec, RunnerName, SecretSource};
/// use longshore_dispatch::{SpecPolicy, Submission};
///
/// let mut policy = SpecPolicy::default();
/// policy.runners = Some(vec![RunnerName::kubernetes()]);
/// policy.images = Some(vec!["harbor.example.org/tenant-a/*".parse()?]);
/// policy.max_memory = Some("2Gi".parse()?);
///
/// // What the tenant sends.
/// let mut spec = JobSpec::container("harbor.example.org/tenant-a/tool:1".parse()?);
/// spec.resources.limits.memory = Some("1Gi".parse()?);
/// assert_eq!(policy.check(&spec), Ok(()));
///
/// spec.secret_env.insert("T".to_owned(), SecretSource::File("/etc/shadow".into()));
/// let refused = policy.check(&spec).unwrap_err();
/// assert_eq!((&*refused.rule, &*refused.field), ("secretFiles", "secretEnv.T"));
///
/// // The dispatcher checks it before it reads or records anything.
/// let submission = Submission::new(spec).policy(&policy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SpecPolicy {
    /// The runners that may run the job. A job that names none runs on those of them that are
    /// configured. None: all that are configured.
    pub runners: Option<Vec<RunnerName>>,
    /// The images that the job may name. None: all that [`registries`](Self::registries) allow.
    pub images: Option<Vec<ImageGlob>>,
    /// The registries from which the job's image may come, as `HOST[:PORT]`. None: those of the listed
    /// [`images`](Self::images), and all with a public name. That excludes `localhost`, addresses and
    /// names without a dot, which are inside the service's own network. A public name may still
    /// belong to an address inside that network; list the registries to exclude that.
    pub registries: Option<Vec<String>>,
    /// Whether the service's own logins are used to pull the job's image: `job.registries`, Docker's
    /// `config.json` and its credential helpers. Default: no, so that the job cannot read the
    /// service's private images.
    pub service_logins: bool,
    /// Whether the job may run as a local process. Such a job can read whatever the service's user
    /// can, and inherits the variables that `job.process.inheritEnv` names. Default: no.
    pub processes: bool,
    /// The files that the job may use as a secret or as the password for a registry. Each must be
    /// named exactly as here.
    pub secret_files: Vec<PathBuf>,
    /// The service's environment variables that the job may use as a secret or as the password for a
    /// registry.
    pub secret_variables: Vec<String>,
    /// The Kubernetes Secrets of the jobs' namespace that the job may use.
    pub kubernetes_secrets: Vec<String>,
    /// The credential helpers that the job may name.
    pub credential_helpers: Vec<String>,
    /// The folders that contain the tenant's job directories. A job directory must be directly in
    /// one of them, and its `input` and `output` must not lead out of it. Jobs must not be able to
    /// write to these folders themselves.
    pub job_directories: Vec<PathBuf>,
    /// The folders below which the job may mount files of the machine, as `volumes`. Default: none. A
    /// job that can write to such a folder can place a symbolic link there, which leads out of it.
    pub host_paths: Vec<PathBuf>,
    /// The keys of labels that the job may set. A final `*` matches any characters.
    pub labels: Vec<String>,
    /// The largest limit of CPU time. The job must then set a limit. None: any, also none.
    pub max_cpu: Option<Cpu>,
    /// The largest limit of memory. The job must then set a limit. None: any, also none.
    pub max_memory: Option<Memory>,
    /// The largest limit of processes. The job must then set a limit. None: any, also none.
    pub max_pids: Option<u32>,
    /// The most GPUs that the job may have. Default: 0.
    pub max_gpus: u32,
    /// The longest timeout. The job, or `job.timeout`, must then set one. None: any, also none.
    pub max_timeout: Option<HumanDuration>,
    /// The longest time between TERM and KILL. None: any. Default: 5 minutes.
    pub max_grace_period: Option<HumanDuration>,
    /// The widest security profile that the job may have. Default: `baseline`.
    pub security_profile: SecurityProfile,
    /// Whether the job may have a network. Default: yes.
    pub network: bool,
    /// The pull policies that the job may name. Default: `Always`, which checks the login for each
    /// launch.
    pub pull_policies: Vec<PullPolicy>,
}

impl Default for SpecPolicy {
    fn default() -> Self {
        Self {
            runners: None,
            images: None,
            registries: None,
            service_logins: false,
            processes: false,
            secret_files: Vec::new(),
            secret_variables: Vec::new(),
            kubernetes_secrets: Vec::new(),
            credential_helpers: Vec::new(),
            job_directories: Vec::new(),
            host_paths: Vec::new(),
            labels: Vec::new(),
            max_cpu: None,
            max_memory: None,
            max_pids: None,
            max_gpus: 0,
            max_timeout: None,
            max_grace_period: Some(HumanDuration::from_secs(300)),
            security_profile: SecurityProfile::Baseline,
            network: true,
            pull_policies: vec![PullPolicy::Always],
        }
    }
}

/// A job asks for something that its policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("the rule `{rule}` does not allow the job's `{field}`: {reason}")]
#[non_exhaustive]
pub struct PolicyViolation {
    /// The rule: the key of [`SpecPolicy`], or `name`.
    pub rule: Cow<'static, str>,
    /// The field of the job.
    pub field: String,
    /// What is wrong, in one line for the job's author.
    pub reason: String,
}

impl PolicyViolation {
    pub(crate) fn new(
        rule: &'static str,
        field: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self { rule: rule.into(), field: field.into(), reason: reason.into() }
    }
}

impl From<PolicyViolation> for Error {
    fn from(violation: PolicyViolation) -> Self {
        Self::new(ErrorKind::Denied, violation.to_string())
    }
}

impl SpecPolicy {
    /// Whether the job may run on `runner`.
    pub(crate) fn allows_runner(&self, runner: &RunnerName) -> bool {
        self.runners.as_ref().is_none_or(|allowed| allowed.contains(runner))
    }
}

//! The dispatcher's keys under `job`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use longshore_core::{ErrorKind, HumanDuration, PullPolicies, PullPolicy, SecurityProfile};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy;
use crate::{ImagePullPolicyRule, ImageRegistryPrefix};

/// How jobs are dispatched: keys under `job`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Settings {
    /// The timeout of a job that sets no `timeout`, counted from its start. None: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// When a job's image is pulled: Always, IfNotPresent, Never, or a list that is tried in turn.
    /// `job.<runner>.imagePullPolicy`, `job.imagePullPolicyRules` and the job's own policy take
    /// precedence.
    pub image_pull_policy: PullPolicies,
    /// Pull policies for some images, such as `[{ image = "*:latest", imagePullPolicy = "Always" }]`.
    /// The first rule that matches the job's image applies. It takes precedence over
    /// `job.<runner>.imagePullPolicy`; the job's own policy takes precedence over it.
    pub image_pull_policy_rules: Vec<ImagePullPolicyRule>,
    /// The pull policies that a job may name. A job that names another is refused. With an empty
    /// list, jobs may name none.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// The registry for images whose names contain none: `HOST[:PORT][/PATH]`, joined with one
    /// slash. With `harbor.example.org/proxy`, the image `team/x:1` becomes
    /// `harbor.example.org/proxy/team/x:1`. Names with a registry stay unchanged. None: Docker's
    /// default, `docker.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_registry_prefix: Option<ImageRegistryPrefix>,
    /// Whether all jobs of one dispatcher that name the same tag run the same image. The first job
    /// that starts determines the digest. Later jobs are launched by that digest, and jobs
    /// submitted in between wait.
    pub pin_digest: bool,
    /// How far the container of a job that names no profile is confined, in the terms of
    /// Kubernetes' Pod Security Standards, on every runner: `privileged`, `baseline` or
    /// `restricted`. With `baseline`, an image may run as root, but has no privilege escalation
    /// and the default seccomp profile. With `restricted`, it must not run as root, and local
    /// processes, which nothing confines, are passed over.
    pub security_profile: SecurityProfile,
    /// The security profiles that a job may name. A job that names another is refused. With an
    /// empty list, jobs may name none.
    pub allowed_security_profiles: Vec<SecurityProfile>,
    /// The folders below which jobs may mount files of the machine that runs them, as `volumes`. With
    /// an empty list, jobs may mount none.
    pub allowed_host_paths: Vec<PathBuf>,
    /// The refusals after which the next runner is tried. A job that has started, or may have,
    /// never falls back.
    pub fallback_on: Vec<FallbackReason>,
    /// The required isolation of a job from the machine that it runs on: `container` excludes
    /// runners that would run it as a local process.
    pub min_isolation: Isolation,
    /// How long a runner may take to answer whether it can take work.
    pub connect_timeout: HumanDuration,
    /// How long pulling an image may take, from the beginning of the pull.
    pub pull_timeout: HumanDuration,
    /// How long a job may wait to be placed: for a quota, a node, a container. After its image is
    /// present, it may take as long again to be set up and started.
    pub start_timeout: HumanDuration,
    /// How long the dispatcher looks for a job that has started, or may have, while its backend
    /// does not answer. After that, the job is reported as Lost. It is never started again.
    pub lost_after: HumanDuration,
    /// How long the record of a job is kept after nothing of it is left on its runner, and how long
    /// `gc` leaves an ended job on its runner.
    pub retention: HumanDuration,
    /// The maximum number of concurrent launches on one runner. Further launches wait. (Fifty at
    /// once overwhelm a Docker engine.)
    pub max_concurrent_launches: NonZeroU32,
    /// The maximum number of jobs in flight. Further jobs wait.
    pub max_jobs: NonZeroU32,
    /// The maximum number of recorded jobs that wait for a place among `maxJobs`. A further
    /// submission that would wait in this way is refused.
    pub max_queued_jobs: u32,
    /// The label whose values share the places among `maxJobs` fairly: a free place goes to the
    /// value with the fewest jobs in flight. None: first come, first served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fair_share_label: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: None,
            image_pull_policy: PullPolicies::default(),
            image_pull_policy_rules: Vec::new(),
            allowed_pull_policies: policy::all(),
            image_registry_prefix: None,
            pin_digest: false,
            security_profile: SecurityProfile::default(),
            allowed_security_profiles: SecurityProfile::ALL.to_vec(),
            allowed_host_paths: vec!["/".into()],
            fallback_on: vec![
                FallbackReason::Unsupported,
                FallbackReason::Unavailable,
                FallbackReason::Saturated,
            ],
            min_isolation: Isolation::default(),
            connect_timeout: HumanDuration::from_secs(5),
            pull_timeout: HumanDuration::from_secs(600),
            start_timeout: HumanDuration::from_secs(300),
            lost_after: HumanDuration::from_secs(600),
            retention: HumanDuration::from_secs(7 * 24 * 3600),
            max_concurrent_launches: const { NonZeroU32::new(8).unwrap() },
            max_jobs: const { NonZeroU32::new(1000).unwrap() },
            max_queued_jobs: 10_000,
            fair_share_label: None,
        }
    }
}

impl Settings {
    /// How long a launch may take in all: to be placed, to pull the image, and to start.
    pub(crate) fn launch_timeout(&self) -> Duration {
        self.pull_timeout.get() + self.start_timeout.get().saturating_mul(2)
    }
}

/// How far a job is isolated from the machine that it runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Isolation {
    /// Isolated no more than processes of one user are from each other.
    #[default]
    Process,
    /// Isolated as a container is.
    Container,
}

/// A refusal for which the next runner may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FallbackReason {
    /// The runner cannot run such a job.
    Unsupported,
    /// The backend cannot be reached, or reports that it is unhealthy.
    Unavailable,
    /// The backend has no capacity now.
    Saturated,
    /// The image is not available there.
    ImageUnavailable,
    /// The backend refuses access. Off by default: a refusal must not lead to a less isolated
    /// runner.
    Denied,
}

impl FallbackReason {
    /// Returns the reason that covers a refusal of `kind`, or `None` for a refusal that always ends
    /// the search.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::Unsupported => Some(Self::Unsupported),
            ErrorKind::Unavailable => Some(Self::Unavailable),
            ErrorKind::Saturated => Some(Self::Saturated),
            ErrorKind::ImageUnavailable(_) => Some(Self::ImageUnavailable),
            ErrorKind::Denied => Some(Self::Denied),
            // A missing command or an invalid container is the job's own failure, like an exit
            // code. No other runner can work around the rest.
            _ => None,
        }
    }
}

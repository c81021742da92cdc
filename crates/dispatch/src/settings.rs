//! The keys under `job` that are the dispatcher's.

use std::num::NonZeroU32;
use std::time::Duration;

use longshore_core::{ErrorKind, HumanDuration, PullPolicies, PullPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy;
use crate::{ImagePullPolicyRule, ImageRegistryPrefix};

/// How jobs are dispatched: keys under `job`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// How long a job may run that names no `timeout` itself, counted from its start. None:
    /// without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// When a job's image is pulled: one of Always, IfNotPresent, Never, or a list tried in turn.
    /// `job.<runner>.imagePullPolicy`, `job.imagePullPolicyRules` and the job's own come before it.
    pub image_pull_policy: PullPolicies,
    /// Pull policies for some images, such as `[{ image = "*:latest", imagePullPolicy = "Always" }]`.
    /// The first rule that matches the job's image counts; it comes before
    /// `job.<runner>.imagePullPolicy`, and the job's own comes before it.
    pub image_pull_policy_rules: Vec<ImagePullPolicyRule>,
    /// The pull policies that a job may name itself; a job that names another is refused. With an
    /// empty list jobs may name none.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// Where images come from whose names tell no registry: `HOST[:PORT][/PATH]`, joined with one
    /// slash, so that with `harbor.example.org/proxy` the image `team/x:1` is
    /// `harbor.example.org/proxy/team/x:1`. Names with a registry stay as they are. None: Docker's
    /// own, `docker.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_registry_prefix: Option<ImageRegistryPrefix>,
    /// Whether all jobs of one dispatcher run the same image where they name the same tag: the
    /// first that starts tells the digest, later ones are launched by it, and those submitted in
    /// between wait.
    pub pin_digest: bool,
    /// For which refusals the next runner is tried. A job that has started, or may have, never
    /// falls back.
    pub fallback_on: Vec<FallbackReason>,
    /// How far a job must be kept apart from the machine that it runs on: `container` rules out
    /// runners that would run it as a local process.
    pub min_isolation: Isolation,
    /// How long a runner may take to tell whether it may take work.
    pub connect_timeout: HumanDuration,
    /// How long the pull of an image may take, from its beginning.
    pub pull_timeout: HumanDuration,
    /// How long a job may wait to be placed: for quota, a node, a container. Once its image is
    /// there, it may take as long again to be set up and started.
    pub start_timeout: HumanDuration,
    /// How long a job that has started, or may have, is looked for while its backend gives no
    /// answer; after it the job is reported as Lost. It is never started again.
    pub lost_after: HumanDuration,
    /// How long the record of a job is kept once nothing of it is left on its runner, and how long
    /// a job that has ended is left there by `gc`.
    pub retention: HumanDuration,
    /// How many launches are under way at once on one runner; further ones wait. (Fifty at once
    /// overwhelm a Docker engine.)
    pub max_concurrent_launches: NonZeroU32,
    /// How many jobs are in flight at once; `submit` waits for room beyond that.
    pub max_jobs: NonZeroU32,
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
        }
    }
}

impl Settings {
    /// How long a launch may take in all: to be placed, to pull the image, and to start.
    pub(crate) fn launch_timeout(&self) -> Duration {
        self.pull_timeout.get() + self.start_timeout.get().saturating_mul(2)
    }
}

/// How far a job is kept apart from the machine that it runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Isolation {
    /// Not more than processes of one user are.
    #[default]
    Process,
    /// As a container is.
    Container,
}

/// A refusal for which the next runner may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FallbackReason {
    /// The runner cannot run such a job.
    Unsupported,
    /// The backend cannot be reached, or answers that it is not well.
    Unavailable,
    /// The backend has no room now.
    Saturated,
    /// The image cannot be had there.
    ImageUnavailable,
    /// The backend refuses us. Off by default: a runner that refuses must not be a way to a less
    /// isolated one.
    Denied,
}

impl FallbackReason {
    /// The reason under which a refusal of `kind` may be fallen back from; none for what always
    /// ends the search.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Option<Self> {
        match kind {
            ErrorKind::Unsupported => Some(Self::Unsupported),
            ErrorKind::Unavailable => Some(Self::Unavailable),
            ErrorKind::Saturated => Some(Self::Saturated),
            ErrorKind::ImageUnavailable(_) => Some(Self::ImageUnavailable),
            ErrorKind::Denied => Some(Self::Denied),
            // A command that is not there or a container that cannot be set up is the job's own
            // failure, as an exit code is; the rest is nobody's to work around.
            _ => None,
        }
    }
}

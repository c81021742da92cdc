//! What doctor found, for programs.

use std::collections::BTreeMap;

use longshore_core::{Error, Finding, ImageRef, LocalImage, PullPolicies, RunnerName};
use longshore_dispatch::{Examination, ImagePreview, RunnerHealth, RunnerImage};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::Serialize;

use crate::pull_policies::pull_policy_key;
use crate::settings::Config;

/// The report of `longshore doctor`, in a form for monitoring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DoctorReport {
    /// Whether at least one runner would take the job now.
    pub ready: bool,
    /// The image that was asked about, if any.
    pub image: Option<DoctorImage>,
    /// Each runner that was asked, in order.
    pub runners: Vec<DoctorRunner>,
}

/// What is known about the image on every runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DoctorImage {
    /// The image's name, with `job.imageRegistryPrefix` applied.
    pub name: ImageRef,
    /// The login for its registry: where it is configured, and the user. `None` for an anonymous
    /// pull.
    pub login: Option<String>,
    /// Why the login is unavailable. A job with this image would be refused.
    pub login_error: Option<DoctorError>,
    /// Problems with the login.
    pub warnings: Vec<String>,
}

/// What is known about one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DoctorRunner {
    /// The runner.
    pub runner: RunnerName,
    /// Whether it would take the job now: `error` is null, and no finding is an error.
    pub ready: bool,
    /// Why it cannot take work.
    pub error: Option<DoctorError>,
    /// The backend and its version.
    pub version: Option<String>,
    /// Facts, such as `server` and `namespace`.
    pub facts: BTreeMap<String, String>,
    /// What works, but not as well as it should.
    pub warnings: Vec<String>,
    /// What the backend says to the job.
    pub findings: Vec<Finding>,
    /// The pull policy in force. `None` if the runner has no images.
    pub pull_policy: Option<DoctorPullPolicy>,
    /// Whether the image that was asked about is present there. `None` if that is not known.
    pub image_present: Option<bool>,
    /// The digest of the present image, if it has one.
    pub image_digest: Option<String>,
}

/// The pull policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DoctorPullPolicy {
    /// The policies, in the order in which they are tried.
    pub policies: PullPolicies,
    /// The configuration key that set them.
    pub key: Option<String>,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DoctorError {
    /// The name of the `ErrorKind`.
    pub kind: String,
    /// The error, in one line for a person.
    pub message: String,
}

impl DoctorReport {
    /// Creates the report of `examination`, which used `config`.
    #[must_use]
    pub fn new(examination: &Examination, config: &Config) -> Self {
        let preview = examination.image.as_ref();
        let of_image = |name: &RunnerName| preview?.runners.iter().find(|it| it.runner == *name);
        let runner =
            |health: &RunnerHealth| DoctorRunner::new(health, of_image(&health.runner), config);
        Self {
            ready: examination.runners.iter().any(RunnerHealth::is_ready),
            image: preview.map(DoctorImage::from),
            runners: examination.runners.iter().map(runner).collect(),
        }
    }
}

impl DoctorRunner {
    fn new(health: &RunnerHealth, image: Option<&RunnerImage>, config: &Config) -> Self {
        let found = health.result.as_ref().ok();
        let facts = found.iter().flat_map(|it| &it.facts);
        let local = image.map(|it| &it.local);
        let policy = image.map(|it| &it.pull_policy).or(health.pull_policy.as_ref());
        let mut warnings = found.map(|it| it.warnings.clone()).unwrap_or_default();
        warnings.extend(image.and_then(|it| it.warning.clone()));
        Self {
            runner: health.runner.clone(),
            ready: health.is_ready(),
            error: health.result.as_ref().err().map(DoctorError::from),
            version: found.map(|it| it.version.clone()),
            facts: facts.map(|(name, value)| (name.clone().into_owned(), value.clone())).collect(),
            warnings,
            findings: health.findings.clone(),
            pull_policy: policy.map(|it| DoctorPullPolicy {
                policies: it.policies.clone(),
                key: pull_policy_key(config, &it.origin),
            }),
            image_present: match local {
                Some(LocalImage::Present { .. }) => Some(true),
                Some(LocalImage::Absent) => Some(false),
                _ => None,
            },
            image_digest: match local {
                Some(LocalImage::Present { digest }) => digest.clone(),
                _ => None,
            },
        }
    }
}

impl From<&ImagePreview> for DoctorImage {
    fn from(preview: &ImagePreview) -> Self {
        let login = preview.login.as_ref();
        Self {
            name: preview.image.clone(),
            login: login.ok().and_then(|it| it.as_ref().map(ToString::to_string)),
            login_error: login.err().map(DoctorError::from),
            warnings: preview.warnings.clone(),
        }
    }
}

impl From<&Error> for DoctorError {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind().name().to_owned(), message: error.to_string() }
    }
}

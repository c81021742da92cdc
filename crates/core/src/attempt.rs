//! One try of one job on one runner, and how to find it again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{JobSpec, PullPolicy, RegistryAuth, RunnerName, Secret};

/// Digits and lower-case letters, excluding letters that look alike (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

fn random_text(length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    // The operating system's generator does not fail on any platform that Longshore runs on. If
    // it did, an identity that is not random would break "committed at most once".
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

fn valid_id(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().next().is_some_and(|b| b != b'-')
        && text.bytes().next_back().is_some_and(|b| b != b'-')
}

/// The error for text that is not a valid identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: lower-case letters, digits and '-'")]
pub struct InvalidId(String);

/// Declares an identity: a newtype around text that is a DNS label of bounded length.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $length:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "schema", derive(JsonSchema))]
                #[cfg_attr(feature = "schema", schemars(with = "String"))]
        pub struct $name(String);

        crate::serde_as_text!($name);

        impl $name {
            /// The identity as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if valid_id(text, $length) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId(text.to_owned()))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

identity! {
    /// The identity of a job: a DNS label of at most 32 characters.
    JobId, 1..=32
}
identity! {
    /// The identity of one try of a job on one runner, the same everywhere.
    ///
    /// It is `JOB-N`, a DNS label of at most 40 characters, so that names built from it stay below
    /// Kubernetes' limit of 63.
    AttemptId, 1..=40
}
identity! {
    /// The identity of an installation of Longshore: a DNS label of at most 40 characters.
    ///
    /// It keeps two installations on one engine or in one namespace from touching each other's
    /// jobs.
    InstallationId, 1..=40
}

impl JobId {
    /// A new identity: 16 characters, 80 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(random_text(16))
    }

    /// Returns the identity of this job's try number `number`, counted from 1.
    #[must_use]
    pub fn attempt(&self, number: u32) -> AttemptId {
        AttemptId(format!("{}-{number}", self.0))
    }
}

impl InstallationId {
    /// A new identity: 16 characters, 80 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(random_text(16))
    }
}

/// The backend that an attempt is on, in the runner's own format; see
/// [`Runner::target`](crate::Runner::target).
pub type Target = serde_json::Value;

/// One try of one job on one runner.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The identity of this try, the same everywhere.
    pub id: AttemptId,
    /// The job.
    pub job: JobId,
    /// The installation that runs the job.
    pub installation: InstallationId,
    /// What to run.
    pub spec: Arc<JobSpec>,
    /// The pull policy in force on this runner. A runner reads this field, never the job's own
    /// policy.
    pub pull_policy: PullPolicy,
    /// The values of the job's secret environment, read at submission. Excludes values from a
    /// Kubernetes Secret.
    pub secret_env: BTreeMap<String, Secret>,
    /// The credentials for the image's registry. `None` for an anonymous pull, or if the backend
    /// has credentials of its own.
    pub registry_auth: Option<RegistryAuth>,
    /// The answer of [`Runner::target`](crate::Runner::target) before the attempt was recorded. The
    /// runner puts it into the attempt's handle.
    pub target: Option<Target>,
}

impl Attempt {
    /// Creates try number `number` (from 1) of `job`, with the default pull policy and no secrets.
    #[must_use]
    pub fn new(
        installation: InstallationId,
        job: JobId,
        number: u32,
        spec: impl Into<Arc<JobSpec>>,
    ) -> Self {
        Self {
            id: job.attempt(number),
            job,
            installation,
            spec: spec.into(),
            pull_policy: PullPolicy::default(),
            secret_env: BTreeMap::new(),
            registry_auth: None,
            target: None,
        }
    }

    /// Returns the name of this try's object on a backend: `longshore-ID`, a DNS label.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("longshore-{}", self.id)
    }
}

/// The location of an attempt, usable from any process.
///
/// A runner computes it from the attempt and its own configuration, without asking the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Handle {
    /// The runner that owns the attempt.
    pub runner: RunnerName,
    /// The version of the format of `opaque`. A runner refuses a version it does not know.
    pub version: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// What the runner needs to find the attempt, in the runner's own format. Contains no secret.
    pub opaque: serde_json::Value,
}

impl Handle {
    /// Creates a handle of `runner` for `attempt`.
    #[must_use]
    pub const fn new(
        runner: RunnerName,
        version: u32,
        attempt: AttemptId,
        opaque: serde_json::Value,
    ) -> Self {
        Self { runner, version, attempt, opaque }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_built_from_an_attempt_are_dns_labels() {
        let job = JobId::random();
        let attempt = Attempt::new(InstallationId::random(), job, u32::MAX, JobSpec::default());
        assert!(attempt.object_name().len() <= 52, "room for Kubernetes' Pod suffix");
        assert_eq!(attempt.id.as_str().parse(), Ok(attempt.id.clone()));
    }

    #[test]
    fn new_identities_differ() {
        let some: std::collections::BTreeSet<_> = (0..1000).map(|_| JobId::random()).collect();
        assert_eq!(some.len(), 1000);
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for bad in ["", "A", "a/b", "-a", "a-", "../x"] {
            assert!(bad.parse::<AttemptId>().is_err(), "{bad}");
        }
    }
}

//! The names of runners.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// The name under which a runner is configured, such as `kubernetes`.
///
/// It is a DNS label (RFC 1123), so that labels, file names and environment keys can contain it:
/// 1 to 63 lower-case letters, digits and `-`, with `-` neither first nor last.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct RunnerName(String);

crate::serde_as_text!(RunnerName);

/// The error for a runner name that is not a DNS label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a runner name: 1 to 63 lower-case letters, digits and '-' (not first or last)"
)]
pub struct InvalidName(String);

impl RunnerName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the runner for local processes, `process`.
    #[must_use]
    pub fn process() -> Self {
        Self("process".to_owned())
    }

    /// Returns the name of the runner for a Docker engine, `docker`.
    #[must_use]
    pub fn docker() -> Self {
        Self("docker".to_owned())
    }

    /// Returns the name of the runner for a Kubernetes cluster, `kubernetes`.
    #[must_use]
    pub fn kubernetes() -> Self {
        Self("kubernetes".to_owned())
    }
}

impl FromStr for RunnerName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let valid = (1..=63).contains(&text.len())
            && text.chars().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName(text.to_owned())) }
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_name_is_a_dns_label() {
        for good in ["docker", "k8s-eu-1", "a"] {
            assert_eq!(good.parse::<RunnerName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in ["", "Docker", "-a", "a-", "a_b", "a.b", long.as_str()] {
            assert!(bad.parse::<RunnerName>().is_err(), "{bad}");
        }
    }
}

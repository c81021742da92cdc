//! Why a suite cannot run.

use std::fmt;

/// Why a suite cannot run here. The text says what the user can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(String);

impl Unsupported {
    /// Returns the reason, such as `set DOCKER_HOST to the address of an engine`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

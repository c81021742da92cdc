//! What can be said of logins without asking anyone.

use std::fmt;

use longshore_core::{Error, ErrorKind, RegistryLogin};

/// A login that makes no sense, whatever files and helpers there are.
///
/// Its `Display` is `job.registries[1].username: is missing …`, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLogin {
    /// Which login of the list, from 0.
    pub index: usize,
    /// The key below it, such as `username`.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl InvalidLogin {
    /// As an `InvalidSpec`, with the key's full name in a list called `list`.
    pub(crate) fn into_error(self, list: &str) -> Error {
        let Self { index, key, reason } = self;
        Error::new(ErrorKind::InvalidSpec, reason).with("key", format!("{list}[{index}].{key}"))
    }
}

impl fmt::Display for InvalidLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job.registries[{}].{}: {}", self.index, self.key, self.reason)
    }
}

impl std::error::Error for InvalidLogin {}

/// Checks `logins`, one by one and against each other.
pub(crate) fn check(_logins: &[RegistryLogin]) -> Result<(), InvalidLogin> {
    Ok(())
}

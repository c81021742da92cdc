//! Checks of logins that need no file, variable or helper.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use longshore_core::{Error, ErrorKind, RegistryLogin};

use crate::program::Program;
use crate::server::Server;

/// The error for a login that is invalid regardless of files and helpers.
///
/// Its `Display` is `job.registries[1].username: is missing …`, with the configuration's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLogin {
    /// The index of the login in the list, from 0.
    pub index: usize,
    /// The key in the login, such as `username`.
    pub key: &'static str,
    /// What is wrong with the key.
    pub reason: String,
}

impl InvalidLogin {
    /// Converts to an `InvalidSpec` error, with the key's full name in the list `list`.
    pub(crate) fn into_error(self, list: &str) -> Error {
        let Self { index, key, reason } = self;
        Error::new(ErrorKind::InvalidSpec, format!("a registry login is invalid: {key} {reason}"))
            .with("key", format!("{list}[{index}].{key}"))
    }
}

impl fmt::Display for InvalidLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job.registries[{}].{}: {}", self.index, self.key, self.reason)
    }
}

impl std::error::Error for InvalidLogin {}

/// Where a login's secret comes from.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    File { username: &'a str, path: &'a Path },
    Variable { username: &'a str, name: &'a str },
    Helper(Program),
}

/// A key of a login, and what is wrong with it.
type Wrong = (&'static str, String);

/// A valid login.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    pub(crate) server: Server,
    pub(crate) source: Source<'a>,
}

/// Checks `logins`, one by one and against each other.
pub(crate) fn check(logins: &[RegistryLogin]) -> Result<Vec<Checked<'_>>, InvalidLogin> {
    let mut seen = BTreeMap::new();
    let mut checked = Vec::with_capacity(logins.len());
    for (index, login) in logins.iter().enumerate() {
        let invalid = |(key, reason)| InvalidLogin { index, key, reason };
        let server = Server::parse(&login.server).map_err(|it| invalid(("server", it)))?;
        if let Some(first) = seen.insert(server.clone(), index) {
            let reason = format!("is already the server of login [{first}]");
            return Err(invalid(("server", reason)));
        }
        checked.push(Checked { server, source: source(login).map_err(invalid)? });
    }
    Ok(checked)
}

fn source(login: &RegistryLogin) -> Result<Source<'_>, Wrong> {
    match (&login.password_file, &login.password_env, &login.credential_helper) {
        (Some(path), None, None) if path.as_os_str().is_empty() => {
            wrong("passwordFile", "is empty")
        }
        (Some(path), None, None) => Ok(Source::File { username: username(login)?, path }),
        (None, Some(name), None) if name.is_empty() || name.contains(['=', '\0']) => {
            wrong("passwordEnv", "is not a variable name")
        }
        (None, Some(name), None) => Ok(Source::Variable { username: username(login)?, name }),
        (None, None, Some(_)) if login.username.is_some() => {
            wrong("username", "conflicts with `credentialHelper`, which provides the name")
        }
        (None, None, Some(name)) => {
            let program = Program::of(name).map_err(|it| ("credentialHelper", it.to_owned()))?;
            Ok(Source::Helper(program))
        }
        (None, None, None) => wrong(
            "passwordFile",
            "is missing: a login has one of `passwordFile`, `passwordEnv` and `credentialHelper`",
        ),
        (Some(_), Some(_), _) => wrong("passwordEnv", "conflicts with `passwordFile`"),
        (Some(_), _, Some(_)) => wrong("credentialHelper", "conflicts with `passwordFile`"),
        (_, Some(_), Some(_)) => wrong("credentialHelper", "conflicts with `passwordEnv`"),
    }
}

fn wrong<T>(key: &'static str, reason: &str) -> Result<T, Wrong> {
    Err((key, reason.to_owned()))
}

fn username(login: &RegistryLogin) -> Result<&str, Wrong> {
    let Some(name) = login.username.as_deref() else {
        return wrong("username", "is missing: a password needs one");
    };
    usable_name(name).map_err(|it| ("username", it.to_owned()))?;
    Ok(name)
}

/// Checks whether `name` is usable as a user name: the Basic scheme separates name and password
/// with a colon (RFC 7617, section 2).
pub(crate) fn usable_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("is empty")
    } else if name.contains(':') {
        Err("has a colon, which cannot be sent to a registry")
    } else if name.contains(char::is_control) {
        Err("has a control character")
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

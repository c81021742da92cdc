//! What can be said of logins without asking anyone.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use longshore_core::{Error, ErrorKind, RegistryLogin};

use crate::helper::Program;
use crate::server::Server;

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
        Error::new(ErrorKind::InvalidSpec, format!("a registry's login is wrong: {key} {reason}"))
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

/// A login that makes sense.
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
            let reason = format!("is the server of the login [{first}] already");
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
            wrong("passwordEnv", "is no variable's name")
        }
        (None, Some(name), None) => Ok(Source::Variable { username: username(login)?, name }),
        (None, None, Some(_)) if login.username.is_some() => {
            wrong("username", "stands beside a `credentialHelper`, which knows the name itself")
        }
        (None, None, Some(name)) => {
            let program = Program::of(name).map_err(|it| ("credentialHelper", it.to_owned()))?;
            Ok(Source::Helper(program))
        }
        (None, None, None) => wrong(
            "passwordFile",
            "is missing: a login has one of `passwordFile`, `passwordEnv` and `credentialHelper`",
        ),
        (Some(_), Some(_), _) => wrong("passwordEnv", "stands beside a `passwordFile`"),
        (Some(_), _, Some(_)) => wrong("credentialHelper", "stands beside a `passwordFile`"),
        (_, Some(_), Some(_)) => wrong("credentialHelper", "stands beside a `passwordEnv`"),
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

/// Whether a registry can be told `name`: the Basic scheme has a colon between name and password
/// (RFC 7617, section 2).
pub(crate) fn usable_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        Err("is empty")
    } else if name.contains(':') {
        Err("has a colon, which no registry can be told")
    } else if name.contains(char::is_control) {
        Err("has a control character")
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

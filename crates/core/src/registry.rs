//! Registries, and who we are there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// How to log in to one registry: a name with one of `passwordFile` and `passwordEnv`, or a
/// `credentialHelper` that knows both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct RegistryLogin {
    /// The registry as it stands in image names: `HOST[:PORT]`, such as `harbor.example.org`, or
    /// with the beginning of a repository's path, such as `harbor.example.org/team`; the longest
    /// that an image's name begins with counts. `docker.io` is Docker's own.
    pub server: String,
    /// Who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file that holds the password, one final newline removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The variable of Longshore's own environment that holds the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The helper that knows name and password: `X` for the program `docker-credential-X`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_helper: Option<String>,
}

/// What to show a registry, so that it lets an image be pulled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RegistryAuth {
    /// The registry: `HOST[:PORT]`, without a scheme; `docker.io` for Docker's own.
    pub server: String,
    /// What it asks for.
    pub identity: RegistryIdentity,
}

/// Who we are to a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryIdentity {
    /// A name and its password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token that stands for both; Kubernetes has no place for one.
    Token(Secret),
}

impl RegistryAuth {
    /// `username` with `password` at `server`.
    #[must_use]
    pub fn password(
        server: impl Into<String>,
        username: impl Into<String>,
        password: Secret,
    ) -> Self {
        let identity = RegistryIdentity::Password { username: username.into(), password };
        Self { server: server.into(), identity }
    }

    /// The identity token `token` at `server`.
    #[must_use]
    pub fn token(server: impl Into<String>, token: Secret) -> Self {
        Self { server: server.into(), identity: RegistryIdentity::Token(token) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_is_shown_never_shows_in_debug() {
        for auth in [
            RegistryAuth::password("r", "me", Secret::new("hunter2")),
            RegistryAuth::token("r", Secret::new("hunter2")),
        ] {
            assert!(!format!("{auth:?}").contains("hunter2"), "{auth:?}");
        }
    }
}

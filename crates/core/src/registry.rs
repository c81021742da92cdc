//! Registries and the credentials for them.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::path::PathBuf;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// How to log in to one registry: a `username` with either `passwordFile` or `passwordEnv`, or a
/// `credentialHelper` that provides both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("x-no-echo" = true)))]
#[non_exhaustive]
pub struct RegistryLogin {
    /// The registry as written in image names: `HOST[:PORT]`, such as `harbor.example.org`,
    /// optionally with the beginning of a repository's path, such as `harbor.example.org/team`.
    /// The longest entry that an image's name begins with applies. `docker.io` is Docker Hub.
    pub server: String,
    /// The user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file that contains the password. One final newline is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub password_file: Option<PathBuf>,
    /// The variable of Longshore's own environment that contains the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The helper that provides the user name and password: `X` for the program
    /// `docker-credential-X`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_helper: Option<String>,
}

/// The credentials for pulling an image from a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RegistryAuth {
    /// The registry: `HOST[:PORT]`, without a scheme; `docker.io` for Docker Hub.
    pub server: String,
    /// The identity for it.
    pub identity: RegistryIdentity,
}

/// The identity of a user at a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegistryIdentity {
    /// A user name and its password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token that replaces both. Kubernetes has no field for one.
    Token(Secret),
}

impl RegistryAuth {
    /// Creates credentials of `username` with `password` for `server`.
    #[must_use]
    pub fn password(
        server: impl Into<String>,
        username: impl Into<String>,
        password: Secret,
    ) -> Self {
        let identity = RegistryIdentity::Password { username: username.into(), password };
        Self { server: server.into(), identity }
    }

    /// Creates credentials of the identity token `token` for `server`.
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

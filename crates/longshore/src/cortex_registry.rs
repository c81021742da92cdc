//! Cortex's login for one registry.

use std::fmt;

use longshore_core::{RegistryAuth, Secret};
#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};

/// Cortex's keys for a login, with the password in plain text. `job.registries` keeps it elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CortexRegistry {
    /// The registry, as a URL or `HOST[:PORT]`. None: Docker Hub.
    pub url: Option<String>,
    /// The user name.
    pub user: Option<String>,
    /// The password.
    pub password: Option<HiddenText>,
    /// An address that Docker once asked for. No longer used.
    pub email: Option<String>,
}

impl CortexRegistry {
    /// Returns the login for the registry, or `None` if nothing is configured.
    ///
    /// # Errors
    /// The key that is missing.
    pub(crate) fn auth(&self) -> Result<Option<RegistryAuth>, &'static str> {
        let given = |text: &&String| !text.is_empty();
        let user = self.user.as_ref().filter(given);
        let password = self.password.as_ref().filter(|p| !p.0.expose().is_empty());
        match (user, password) {
            (Some(user), Some(password)) => {
                Ok(Some(RegistryAuth::password(self.server(), user, password.0.clone())))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => Err("docker.registry.user"),
            (Some(_), None) => Err("docker.registry.password"),
        }
    }

    /// Returns the registry as it appears in image names.
    fn server(&self) -> String {
        let url = self.url.as_deref().unwrap_or_default();
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        match rest.split('/').next().unwrap_or_default() {
            "" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            host => host.to_owned(),
        }
    }
}

/// A configuration value that is never shown. It is serialized as `***`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(from = "String")]
pub struct HiddenText(Secret);

impl From<String> for HiddenText {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for HiddenText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for HiddenText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HiddenText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "string", "writeOnly": true})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(url: Option<&str>) -> CortexRegistry {
        CortexRegistry {
            url: url.map(str::to_owned),
            user: Some("me".to_owned()),
            password: Some("hunter2".to_owned().into()),
            email: None,
        }
    }

    #[test]
    fn a_url_is_for_the_registry_that_images_name() {
        for (url, server) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("https://harbor.example.org/v2/"), "harbor.example.org"),
            (Some("harbor.example.org:8443"), "harbor.example.org:8443"),
            (Some("http://localhost:5001"), "localhost:5001"),
        ] {
            let auth = registry(url).auth().unwrap().unwrap();
            assert_eq!(auth.server, server, "{url:?}");
        }
    }

    #[test]
    fn half_a_login_is_refused_by_the_key_that_is_missing() {
        assert_eq!(CortexRegistry::default().auth(), Ok(None));
        let without_user = CortexRegistry { user: None, ..registry(None) };
        assert_eq!(without_user.auth(), Err("docker.registry.user"));
        let empty = Some(String::new().into());
        let without_password = CortexRegistry { password: empty, ..registry(None) };
        assert_eq!(without_password.auth(), Err("docker.registry.password"));
    }

    #[test]
    fn the_password_is_neither_in_debug_nor_in_what_is_written_out() {
        let registry = registry(None);
        let written = serde_json::to_string(&registry).unwrap();
        assert!(written.contains("***") && !written.contains("hunter2"), "{written}");
        assert!(!format!("{registry:?}").contains("hunter2"));
    }
}

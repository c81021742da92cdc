//! Finds the login that a job uses for the registry of its image.

use longshore_core::{JobSpec, RegistryAuth, Result};
use longshore_registry::{Found, Keyring};

/// All configured logins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// Logins that the submission gives, which precede all others.
    pub(crate) given: Vec<RegistryAuth>,
    pub(crate) keyring: Keyring,
    /// Logins for registries that the keyring does not know, and where each comes from.
    pub(crate) others: Vec<(String, RegistryAuth)>,
}

impl Credentials {
    /// Returns the login of `spec` for the registry of its image, or an empty one if the job has no
    /// image.
    ///
    /// # Errors
    /// `InvalidSpec` if a login that was requested by name is not available.
    pub(crate) async fn find(&self, spec: &JobSpec) -> Result<Found> {
        let Some(container) = &spec.container else { return Ok(Found::default()) };
        let image = &container.image;
        let for_image = |auth: &RegistryAuth| auth.server == image.registry();
        let given = self.given.iter().find(|auth| for_image(auth));
        let given = given.map(|auth| ("the submission", auth));
        let mut found = match given {
            Some(_) => Found::default(),
            None => self.keyring.find(image, &spec.registries).await?,
        };
        let other = || {
            let other = self.others.iter().find(|(_, auth)| for_image(auth));
            other.map(|(origin, auth)| (origin.as_str(), auth))
        };
        if found.auth.is_none()
            && let Some((origin, auth)) = given.or_else(other)
        {
            found.auth = Some(auth.clone());
            found.origin = Some(origin.to_owned());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{RegistryLogin, Secret};

    use super::*;

    fn credentials() -> Credentials {
        let auth = |server| RegistryAuth::password(server, "me", Secret::new("hunter2"));
        let others = vec![("here".to_owned(), auth("harbor.example.org"))];
        Credentials { others, ..Credentials::default() }
    }

    async fn origin(image: &str) -> Option<String> {
        let spec = JobSpec::container(image.parse().unwrap());
        let found = credentials().find(&spec).await.unwrap();
        assert_eq!(found.auth.is_some(), found.origin.is_some());
        found.origin
    }

    #[tokio::test]
    async fn a_registry_is_shown_only_what_is_for_it() {
        assert_eq!(origin("harbor.example.org/x").await.as_deref(), Some("here"));
        for other in ["x", "harbor.example.org:8443/x", "localhost:5000/harbor.example.org/x"] {
            assert_eq!(origin(other).await, None, "{other}");
        }
        let found = credentials().find(&JobSpec::process(["true"])).await.unwrap();
        assert_eq!(found, Found::default());
        assert!(!format!("{:?}", credentials()).contains("hunter2"));
    }

    #[tokio::test]
    async fn a_jobs_own_login_comes_before_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let mut login = RegistryLogin::default();
        login.server = "harbor.example.org".to_owned();
        login.username = Some("me".to_owned());
        login.password_file = Some(file);
        let mut spec = JobSpec::container("harbor.example.org/x".parse().unwrap());
        spec.registries = vec![login];
        let found = credentials().find(&spec).await.unwrap();
        assert_eq!(found.origin.as_deref(), Some("registries[0]"));
    }
}

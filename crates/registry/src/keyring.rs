//! The keyring.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{ImageRef, RegistryLogin, Result};

use crate::check::check;
use crate::found::Found;
use crate::helper::Asking;
use crate::{InvalidLogin, docker_config, login};

/// The default time limit of a credential helper.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds the credentials for each registry.
///
/// It is cheap to clone. The default keyring has no credentials and reads nothing.
#[derive(Clone, Default)]
pub struct Keyring {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    logins: Vec<RegistryLogin>,
    /// The folder of Docker's `config.json`.
    docker_config: Option<PathBuf>,
    helper_timeout: Duration,
    /// The folders to search for helpers; `None` is the process's own `PATH`.
    path: Option<OsString>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { logins: vec![], docker_config: None, helper_timeout: HELPER_TIMEOUT, path: None }
    }
}

impl Keyring {
    /// Creates a keyring with the configuration's `logins` (`job.registries`).
    #[must_use]
    pub fn new(logins: Vec<RegistryLogin>) -> Self {
        Self { inner: Arc::new(Inner { logins, ..Inner::default() }) }
    }

    /// Also reads Docker's `config.json`, from `folder`.
    ///
    /// Without a `folder`, reads it from `$DOCKER_CONFIG`, else from `~/.docker`. A missing file is
    /// ignored.
    #[must_use]
    pub fn with_docker_config(self, folder: Option<PathBuf>) -> Self {
        self.change(|inner| inner.docker_config = folder.or_else(docker_config::default_folder))
    }

    /// Sets how long a credential helper may take before it is killed. Default: 10 seconds.
    #[must_use]
    pub fn with_helper_timeout(self, timeout: Duration) -> Self {
        self.change(|inner| inner.helper_timeout = timeout)
    }

    /// Searches the folders of `path` for credential helpers, instead of the process's own `PATH`.
    #[must_use]
    pub fn with_path(self, path: impl Into<OsString>) -> Self {
        self.change(|inner| inner.path = Some(path.into()))
    }

    /// Checks everything about `logins` that needs no file, variable or helper.
    ///
    /// # Errors
    /// The first invalid login, with its index and key.
    pub fn check(logins: &[RegistryLogin]) -> std::result::Result<(), InvalidLogin> {
        check(logins).map(|_| ())
    }

    /// Finds the credentials for the registry of `image`. `own` are the logins of the job itself.
    ///
    /// # Errors
    /// `InvalidSpec` if a login of either list is invalid, or if the login for the image fails: its
    /// file, variable or helper does not exist or is unusable. The error names the key, never a
    /// value. A problem with Docker's `config.json` is a warning instead.
    pub async fn find(&self, image: &ImageRef, own: &[RegistryLogin]) -> Result<Found> {
        let inner = &*self.inner;
        let path = inner.path.clone().or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let asking = Asking { path: &path, timeout: inner.helper_timeout };
        if let Some(found) = login::find(own, "registries", image, asking).await? {
            return Ok(found);
        }
        if let Some(found) = login::find(&inner.logins, "job.registries", image, asking).await? {
            return Ok(found);
        }
        Ok(match &inner.docker_config {
            Some(folder) => docker_config::find(folder, image, asking).await,
            None => Found::default(),
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.inner));
        self
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.inner.logins.iter().map(|login| &login.server).collect();
        f.debug_struct("Keyring")
            .field("servers", &servers)
            .field("docker_config", &self.inner.docker_config)
            .field("helper_timeout", &self.inner.helper_timeout)
            .field("path", &self.inner.path)
            .finish()
    }
}

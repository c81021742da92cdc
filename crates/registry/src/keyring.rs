//! The one who is asked.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{ImageRef, RegistryAuth, RegistryLogin, Result};

use crate::check::check;
use crate::helper::Asking;
use crate::{InvalidLogin, docker_config, login};

/// How long a credential helper may take, unless said otherwise.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// Knows who we are to each registry. Cheap to clone; the default one knows nothing and reads
/// nothing.
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
    /// Where helpers are looked for; `None` is the caller's own `PATH`.
    path: Option<OsString>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { logins: vec![], docker_config: None, helper_timeout: HELPER_TIMEOUT, path: None }
    }
}

/// What a [`Keyring`] knows of an image's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What to show the registry; `None` is to ask it without a name.
    pub auth: Option<RegistryAuth>,
    /// Where it comes from: `registries[0]` of the job itself, `job.registries[0]` of the
    /// configuration, or `FOLDER/config.json (credHelpers)`, the key below which it stands.
    pub origin: Option<String>,
    /// What a person should know, a sentence each; no secret among them.
    pub warnings: Vec<String>,
}

impl Keyring {
    /// One that knows the configuration's `logins` (`job.registries`).
    #[must_use]
    pub fn new(logins: Vec<RegistryLogin>) -> Self {
        Self { inner: Arc::new(Inner { logins, ..Inner::default() }) }
    }

    /// Reads Docker's `config.json` as well, from `folder`; without one from `$DOCKER_CONFIG`, else
    /// from `~/.docker`. A file that is not there is nothing.
    #[must_use]
    pub fn with_docker_config(self, folder: Option<PathBuf>) -> Self {
        self.change(|inner| inner.docker_config = folder.or_else(docker_config::default_folder))
    }

    /// How long a credential helper may take before it is ended; 10 seconds unless said.
    #[must_use]
    pub fn with_helper_timeout(self, timeout: Duration) -> Self {
        self.change(|inner| inner.helper_timeout = timeout)
    }

    /// Looks for credential helpers in the folders of `path`, not in those of our own `PATH`.
    #[must_use]
    pub fn with_path(self, path: impl Into<OsString>) -> Self {
        self.change(|inner| inner.path = Some(path.into()))
    }

    /// Whether `logins` make sense, as far as can be told without reading anything.
    ///
    /// # Errors
    /// The first login that does not, by its index and key.
    pub fn check(logins: &[RegistryLogin]) -> std::result::Result<(), InvalidLogin> {
        check(logins).map(|_| ())
    }

    /// Who we are to the registry of `image`; `own` are the logins of the job itself.
    ///
    /// # Errors
    /// `InvalidSpec` if a login of either list makes no sense, or the one that is for the image
    /// cannot be had: its file, variable or helper is not there or of no use. Names the key, never
    /// a value. What Docker's `config.json` lacks is a warning instead.
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

//! The registries of the lab, and the proxy for them.

use std::env;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use longshore::image::{ImageRef, RegistryLogin};

use super::faulty::Upstream;
use super::toxiproxy::Toxiproxy;

/// The registries of the lab.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    /// `HOST:PORT` of the registry that requires no login.
    open: String,
    /// An image that both registries have, `REPOSITORY:TAG`.
    pub(crate) base: String,
    private: Option<Private>,
    toxiproxy: Option<Toxiproxy>,
}

/// The registry that requires a login.
#[derive(Clone, Debug)]
struct Private {
    host: String,
    user: String,
    password_file: String,
}

impl Shop {
    /// Reads the registries from the environment.
    pub(crate) fn from_env() -> Result<Self> {
        let text =
            |name| env::var(name).with_context(|| format!("set {name} (cargo xtask lab env)"));
        let image: ImageRef = text("LONGSHORE_LAB_IMAGE")?.parse()?;
        Ok(Self {
            open: image.registry().to_owned(),
            base: format!("{}:{}", image.repository(), image.tag().unwrap_or("latest")),
            private: Private::from_env(),
            toxiproxy: env::var("LONGSHORE_LAB_TOXIPROXY").ok().map(|api| Toxiproxy::new(&api)),
        })
    }

    /// Returns the proxy that breaks the network.
    pub(crate) fn toxiproxy(&self) -> Result<&Toxiproxy> {
        self.toxiproxy.as_ref().context("set LONGSHORE_LAB_TOXIPROXY (cargo xtask lab env)")
    }

    /// Returns the registry that requires no login.
    pub(crate) fn open(&self) -> Upstream {
        Upstream { host: self.open.clone(), authorization: None }
    }

    /// Returns the registry that requires a login.
    pub(crate) fn private(&self) -> Result<Upstream> {
        let Private { host, user, password_file } = self.guarded()?;
        let password = std::fs::read_to_string(password_file)
            .with_context(|| format!("failed to read {password_file}"))?;
        let text = format!("{user}:{}", password.trim_end_matches('\n'));
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(text)))?;
        value.set_sensitive(true);
        Ok(Upstream { host: host.clone(), authorization: Some(value) })
    }

    /// Returns the login for the private registry, with the server name `server`.
    pub(crate) fn login(&self, server: &str) -> Result<RegistryLogin> {
        let Private { user, password_file, .. } = self.guarded()?;
        let mut login = RegistryLogin::default();
        login.server = server.to_owned();
        login.username = Some(user.clone());
        login.password_file = Some(password_file.into());
        Ok(login)
    }

    fn guarded(&self) -> Result<&Private> {
        self.private.as_ref().context("set LONGSHORE_LAB_PRIVATE_REGISTRY (cargo xtask lab env)")
    }
}

impl Private {
    fn from_env() -> Option<Self> {
        let text = |name| env::var(name).ok();
        Some(Self {
            host: text("LONGSHORE_LAB_PRIVATE_REGISTRY")?,
            user: text("LONGSHORE_LAB_PRIVATE_REGISTRY_USER")?,
            password_file: text("LONGSHORE_LAB_PRIVATE_REGISTRY_PASSWORD_FILE")?,
        })
    }
}

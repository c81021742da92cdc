//! Existing backends that the lab uses instead of starting its own.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::component::Group;
use super::docker::{self, Engine};
use super::layout::Lab;

/// The variable for the second engine, like `DOCKER_HOST` for the first.
pub(crate) const DOCKER29_HOST: &str = "LONGSHORE_LAB_DOCKER29_HOST";

/// The addresses of the existing backends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Existing {
    pub docker_host: Option<String>,
    #[serde(default)]
    pub docker29_host: Option<String>,
    pub kubeconfig: Option<String>,
}

impl Existing {
    /// Reads the environment. Values that a shell has from this same lab are
    /// ignored.
    pub(crate) fn from_environment(lab: &Lab) -> Self {
        let given = |name: &str, own: String| {
            std::env::var(name).ok().filter(|value| !value.is_empty() && *value != own)
        };
        let engine = |name: &str, engine: &Engine| given(name, engine.host(lab));
        let kubeconfig = lab.kubeconfig().to_string_lossy().into_owned();
        Self {
            docker_host: engine("DOCKER_HOST", &docker::DEBIAN),
            docker29_host: engine(DOCKER29_HOST, &docker::CURRENT),
            kubeconfig: given("KUBECONFIG", kubeconfig),
        }
    }

    /// Returns whether `group` need not be started.
    pub(crate) fn has(&self, group: Group) -> bool {
        match group {
            Group::Docker => self.docker_host.is_some(),
            // The chart's tests need a cluster that pulls images from the lab's registry.
            Group::Kubernetes | Group::Helm => self.kubeconfig.is_some(),
            // A user with an existing engine may be unable to start one.
            Group::Docker29 => self.docker29_host.is_some() || self.docker_host.is_some(),
            Group::Registry | Group::Toxiproxy => false,
        }
    }

    pub(crate) fn load(lab: &Lab) -> Result<Self> {
        let path = path(lab);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("failed to understand {}", path.display())),
            Err(_) => Ok(Self::default()),
        }
    }

    pub(crate) fn save(&self, lab: &Lab) -> Result<()> {
        lab.write(&path(lab), serde_json::to_vec_pretty(self)?)
    }
}

fn path(lab: &Lab) -> PathBuf {
    lab.root().join("existing.json")
}

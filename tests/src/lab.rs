//! Finds the backends to test against.

use std::env;
use std::path::PathBuf;

use crate::backend::Backend;

/// The backends that the environment names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lab {
    pub(crate) docker_host: Option<String>,
    /// A second, current engine.
    pub(crate) docker29_host: Option<String>,
    pub(crate) kubeconfig: Option<String>,
    pub(crate) kubectl: Option<PathBuf>,
    pub(crate) helm: Option<PathBuf>,
    pub(crate) namespace: Option<String>,
    pub(crate) claim: Option<String>,
    /// The folder behind the claim.
    pub(crate) volume: Option<PathBuf>,
    /// An image with a busybox, in a registry that accepts pushes.
    pub(crate) image: Option<String>,
    /// The lab's folder; `None` if the backends do not belong to the lab.
    pub(crate) folder: Option<PathBuf>,
}

impl Lab {
    pub(crate) fn from_env() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name| text(name).map(PathBuf::from);
        Self {
            docker_host: text("DOCKER_HOST"),
            docker29_host: text("LONGSHORE_LAB_DOCKER29_HOST"),
            kubeconfig: text("KUBECONFIG"),
            kubectl: path("LONGSHORE_LAB_KUBECTL"),
            helm: path("LONGSHORE_LAB_HELM"),
            namespace: text("LONGSHORE_LAB_NAMESPACE"),
            claim: text("LONGSHORE_LAB_CLAIM"),
            volume: path("LONGSHORE_LAB_VOLUME"),
            image: text("LONGSHORE_LAB_IMAGE"),
            folder: path("LONGSHORE_LAB_DIR"),
        }
    }

    /// Returns why `backend` cannot be tested here, or `None` if it can.
    pub(crate) fn missing(&self, backend: Backend) -> Option<String> {
        let needed: &[(&str, bool)] = match backend {
            Backend::Process => &[],
            Backend::Docker => &[
                ("DOCKER_HOST", self.docker_host.is_some()),
                ("LONGSHORE_LAB_IMAGE", self.image.is_some()),
            ],
            Backend::Kubernetes => &[
                ("KUBECONFIG", self.kubeconfig.is_some()),
                ("LONGSHORE_LAB_IMAGE", self.image.is_some()),
                ("LONGSHORE_LAB_NAMESPACE", self.namespace.is_some()),
                ("LONGSHORE_LAB_CLAIM", self.claim.is_some()),
                ("LONGSHORE_LAB_VOLUME", self.volume.is_some()),
                ("LONGSHORE_LAB_KUBECTL", self.kubectl.is_some()),
            ],
        };
        let missing: Vec<_> =
            needed.iter().filter(|(_, set)| !set).map(|(name, _)| *name).collect();
        (!missing.is_empty())
            .then(|| format!("no {backend} here: set {} (cargo xtask lab env)", missing.join(", ")))
    }
}

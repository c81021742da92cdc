//! The backends that the cases run on.

use std::fmt;

/// A backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Process,
    Docker,
    Kubernetes,
}

impl Backend {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Returns whether it runs jobs in containers.
    pub(crate) const fn has_images(self) -> bool {
        !matches!(self, Self::Process)
    }

    /// Returns whether it separates stdout and stderr.
    pub(crate) const fn separates_streams(self) -> bool {
        !matches!(self, Self::Kubernetes)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

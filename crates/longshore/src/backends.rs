//! The backends that are built in, and the settings of all of them.

#[cfg(feature = "docker")]
pub use longshore_docker::DockerConfig;
#[cfg(feature = "kubernetes")]
pub use longshore_kubernetes::KubernetesConfig;
#[cfg(feature = "process")]
pub use longshore_process::ProcessConfig;

#[cfg(not(feature = "docker"))]
pub use crate::not_built_in::NotBuiltIn as DockerConfig;
#[cfg(not(feature = "kubernetes"))]
pub use crate::not_built_in::NotBuiltIn as KubernetesConfig;
#[cfg(not(feature = "process"))]
pub use crate::not_built_in::NotBuiltIn as ProcessConfig;

/// All backends, in the default order, and whether each is built in. Each has a feature of its name.
pub(crate) const ALL: [(&str, bool); 3] = [
    ("kubernetes", cfg!(feature = "kubernetes")),
    ("docker", cfg!(feature = "docker")),
    ("process", cfg!(feature = "process")),
];

/// Returns whether the backend `name` is built in.
pub(crate) fn is_built_in(name: &str) -> bool {
    ALL.contains(&(name, true))
}

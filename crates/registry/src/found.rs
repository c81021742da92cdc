//! The credentials that a keyring found.

use longshore_core::RegistryAuth;

/// The result of [`Keyring::find`](crate::Keyring::find) for an image's registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The credentials for the registry; `None` for anonymous access.
    pub auth: Option<RegistryAuth>,
    /// Where the credentials come from: `registries[0]` of the job itself, `job.registries[0]` of
    /// the configuration, or `FOLDER/config.json (credHelpers)` with the key in the file.
    pub origin: Option<String>,
    /// Warnings for a person, one sentence each. They contain no secret.
    pub warnings: Vec<String>,
}

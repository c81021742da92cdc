//! From the configuration to what is known of images' registries.

use longshore_dispatch::DispatcherBuilder;
use longshore_registry::Keyring;

use crate::AssemblyError;
use crate::settings::Config;

/// Gives the dispatcher the configured logins. Reads no file and asks no helper.
///
/// # Errors
/// A login that makes no sense, with its key.
pub(crate) fn apply(
    builder: DispatcherBuilder,
    config: &Config,
) -> Result<DispatcherBuilder, AssemblyError> {
    let job = &config.job;
    Keyring::check(&job.registries)?;
    let keyring =
        Keyring::new(job.registries.clone()).with_docker_config(job.docker_config.clone());
    let builder = builder.keyring(keyring);
    let cortex = config.docker.registry.auth().map_err(|key| AssemblyError::CortexLogin { key })?;
    Ok(match cortex {
        Some(auth) => builder.registry_auth("docker.registry", auth),
        None => builder,
    })
}

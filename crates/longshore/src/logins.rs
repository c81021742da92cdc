//! Passes the configured registry logins to the dispatcher.

use longshore_dispatch::DispatcherBuilder;
use longshore_registry::Keyring;

use crate::assembly_error::AssemblyError;
use crate::settings::Config;

/// Adds the configured logins to the dispatcher. Reads no file and calls no helper.
///
/// # Errors
/// If a login is invalid; the error names its key.
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

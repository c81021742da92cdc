//! Builds a dispatcher with its runners from a configuration.

use std::path::Path;
use std::sync::Arc;

use longshore_core::{Runner, RunnerName};
use longshore_dispatch::Dispatcher;

use crate::assembly_error::AssemblyError;
use crate::settings::{Config, JobConfig};
use crate::{installation, logins, pull_policies};

/// Builds a dispatcher with the runners that `config` names, in that order. Contacts no backend.
///
/// # Errors
/// If the configuration is invalid as a whole; the error names the key. See [`AssemblyError`].
pub fn dispatcher(config: &Config) -> Result<Dispatcher, AssemblyError> {
    check(config)?;
    let job = &config.job;
    let state = installation::state_directory(job.state_directory.as_deref())
        .map_err(AssemblyError::State)?;
    let identity = installation::load_or_create(&state).map_err(AssemblyError::State)?;
    let builder = Dispatcher::builder().settings(job.dispatch.clone()).installation(identity);
    let mut builder = builder.state_directory(&state);
    for name in &job.runners {
        builder = builder.runner(runner(name, config, &state)?);
    }
    builder = pull_policies::apply(builder, config);
    Ok(logins::apply(builder, config)?.build()?)
}

/// Returns the keys of `config` that have no effect, one line each, for a person.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut keys = config.docker.without_effect();
    keys.extend(config.job.keep_job_folder.map(|_| "job.keepJobFolder"));
    keys.into_iter().map(|key| format!("{key} is a Cortex key without effect here")).collect()
}

fn check(config: &Config) -> Result<(), AssemblyError> {
    if let Some(key) = config.docker.refused() {
        return Err(AssemblyError::CortexKey { key });
    }
    let JobConfig { directory, docker_directory, .. } = &config.job;
    match docker_directory {
        Some(seen_by_docker) if Some(seen_by_docker) != directory.as_ref() => {
            Err(AssemblyError::DockerDirectory)
        }
        _ => Ok(()),
    }
}

fn runner(
    name: &RunnerName,
    #[cfg_attr(
        not(any(feature = "kubernetes", feature = "docker", feature = "process")),
        expect(unused_variables, reason = "no backend is built in")
    )]
    config: &Config,
    #[cfg_attr(
        not(feature = "process"),
        expect(unused_variables, reason = "only local processes keep their state here")
    )]
    state: &Path,
) -> Result<Arc<dyn Runner>, AssemblyError> {
    match name.as_str() {
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Ok(Arc::new(kubernetes(name, config))),
        #[cfg(feature = "docker")]
        "docker" => Ok(Arc::new(docker(name, config))),
        #[cfg(feature = "process")]
        "process" => Ok(Arc::new(process(name, config, state))),
        _ => Err(AssemblyError::UnknownRunner { name: name.clone(), known: KNOWN.join(", ") }),
    }
}

/// The runners that are built in, in the default order.
const KNOWN: &[&str] = &[
    #[cfg(feature = "kubernetes")]
    "kubernetes",
    #[cfg(feature = "docker")]
    "docker",
    #[cfg(feature = "process")]
    "process",
];

#[cfg(feature = "kubernetes")]
fn kubernetes(name: &RunnerName, config: &Config) -> longshore_kubernetes::KubernetesRunner {
    let mut own = config.job.kubernetes.backend.clone();
    own.job_directory_root = own.job_directory_root.or_else(|| config.job.directory.clone());
    own.security_profile = config.job.dispatch.security_profile;
    longshore_kubernetes::KubernetesRunner::new(name.clone(), own)
}

#[cfg(feature = "docker")]
fn docker(name: &RunnerName, config: &Config) -> longshore_docker::DockerRunner {
    let mut own = config.job.docker.backend.clone();
    own.host = own.host.or_else(|| config.docker.address().cloned());
    own.cert_path = own.cert_path.or_else(|| config.docker.cert_path.clone());
    longshore_docker::DockerRunner::new(name.clone(), own)
}

#[cfg(feature = "process")]
fn process(name: &RunnerName, config: &Config, state: &Path) -> longshore_process::ProcessRunner {
    let mut own = config.job.process.clone();
    own.state_directory = own.state_directory.or_else(|| Some(state.join("process")));
    longshore_process::ProcessRunner::new(name.clone(), own)
}

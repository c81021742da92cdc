//! Builds a dispatcher with its runners from a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use longshore_core::{Runner, RunnerName};
use longshore_dispatch::{BuildError, Dispatcher, DispatcherBuilder};
use serde_json::{Map, Value};

use crate::assembly_error::AssemblyError;
use crate::backends::{ALL, is_built_in};
use crate::settings::{Config, JobConfig};
use crate::{installation, logins, pull_policies};

/// Builds a dispatcher with the runners that `config` names, in that order. Contacts no backend.
///
/// # Errors
/// If the configuration is invalid as a whole; the error names the key. See [`AssemblyError`].
pub fn dispatcher(config: &Config) -> Result<Dispatcher, AssemblyError> {
    if let Some(name) = config.job.runners.iter().find(|name| !is_built_in(name.as_str())) {
        return Err(not_built_in(name));
    }
    Ok(builder(config)?.build()?)
}

/// Returns a builder that `config` has set up, to which a program adds its own parts: runners, a
/// journal, logins. Contacts no backend. Creates the state directory if it does not exist. Without the
/// feature `sqlite`, the record of jobs is in memory, and a job is forgotten once it is done.
///
/// `job.runners` may name a runner that the program adds. The program's own runners have the place
/// that `job.runners` gives them, and come last if it does not name them.
///
/// # Errors
/// If the configuration is invalid as a whole; the error names the key. A runner in `job.runners`
/// that was not added is an error of [`DispatcherBuilder::build`].
///
/// # Examples
/// A service that keeps its jobs in a journal that it has opened itself, and has a runner of its
/// own:
///
/// ```no_run
/// use std::path::Path;
/// use std::sync::Arc;
///
/// use longshore::journal::{Journal, Options};
/// use longshore::runner::Runner;
/// use longshore::{Config, Dispatcher};
///
/// async fn dispatcher(
///     config: &Config,
///     batch_farm: Arc<dyn Runner>,
/// ) -> Result<Dispatcher, Box<dyn std::error::Error>> {
///     let journal = Journal::open(Path::new("/var/lib/service"), Options::default()).await?;
///     Ok(longshore::builder(config)?.runner(batch_farm).journal(journal).build()?)
/// }
/// ```
pub fn builder(config: &Config) -> Result<DispatcherBuilder, AssemblyError> {
    check(config)?;
    let job = &config.job;
    let state = state_directory(config)?;
    let own = installation::load_or_create(&state).map_err(AssemblyError::State)?;
    let identity = job.installation.clone().unwrap_or(own);
    let builder = Dispatcher::builder().settings(job.dispatch.clone()).installation(identity);
    #[cfg(feature = "sqlite")]
    let builder = builder.state_directory(&state);
    let mut builder = builder.order(job.runners.iter().cloned());
    for runner in job.runners.iter().filter_map(|name| runner(name, config, &state)) {
        builder = builder.runner(runner);
    }
    builder = pull_policies::apply(builder, config);
    logins::apply(builder, config)
}

/// Returns the folder for state that must outlive the program: `job.stateDirectory`, or its default.
/// A program keeps the state of its own runners in a folder of their own below it.
///
/// # Errors
/// If there is none, because neither the configuration nor the environment names one.
pub fn state_directory(config: &Config) -> Result<PathBuf, AssemblyError> {
    let configured = config.job.state_directory.as_deref();
    installation::state_directory(configured).map_err(AssemblyError::State)
}

/// Returns the keys of `config` that have no effect, one line each, for a person.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let mut keys = config.docker.without_effect();
    keys.extend(config.job.keep_job_folder.map(|_| "job.keepJobFolder"));
    let cortex = keys.into_iter().map(|key| format!("{key} is a Cortex key without effect here"));
    cortex.chain(not_checked(config)).collect()
}

/// Returns a warning for each backend that has settings and is not built in: nothing here knows its keys.
fn not_checked(
    #[cfg_attr(
        all(feature = "kubernetes", feature = "docker", feature = "process"),
        expect(unused_variables, reason = "all backends are built in")
    )]
    config: &Config,
) -> Vec<String> {
    let settings: &[(&str, &Map<String, Value>)] = &[
        #[cfg(not(feature = "kubernetes"))]
        ("kubernetes", &config.job.kubernetes.backend.0),
        #[cfg(not(feature = "docker"))]
        ("docker", &config.job.docker.backend.0),
        #[cfg(not(feature = "process"))]
        ("process", &config.job.process.0),
    ];
    let has_keys = settings.iter().filter(|(_, keys)| !keys.is_empty());
    let warning = |(name, keys): &(&str, &Map<String, Value>)| {
        let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
        let keys = keys.join(", ");
        format!("job.{name} is not checked ({keys}): the runner {name} is not built in")
    };
    has_keys.map(warning).collect()
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

/// Returns the runner `name` if it is built in.
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
) -> Option<Arc<dyn Runner>> {
    match name.as_str() {
        #[cfg(feature = "kubernetes")]
        "kubernetes" => Some(Arc::new(kubernetes(name, config))),
        #[cfg(feature = "docker")]
        "docker" => Some(Arc::new(docker(name, config))),
        #[cfg(feature = "process")]
        "process" => Some(Arc::new(process(name, config, state))),
        _ => None,
    }
}

fn not_built_in(name: &RunnerName) -> AssemblyError {
    if ALL.contains(&(name.as_str(), false)) {
        return AssemblyError::NotBuiltIn { name: name.clone() };
    }
    let known = ALL
        .into_iter()
        .filter_map(|(name, built_in)| built_in.then_some(name))
        .collect::<Vec<_>>()
        .join(", ");
    BuildError::UnknownRunner { name: name.clone(), known }.into()
}

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

#[cfg(all(test, not(feature = "docker")))]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_runner_that_is_not_built_in_are_said_not_to_be_checked() {
        let mut config = Config::default();
        assert!(warnings(&config).is_empty());
        config.job.docker.backend.0.insert("hots".to_owned(), Value::Null);
        assert!(warnings(&config)[0].contains("job.docker is not checked (hots)"));
    }
}

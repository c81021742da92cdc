//! Whether the engine may take work now.

use longshore_core::{Error, ErrorKind, Health, Result};

use crate::backend::Backend;
use crate::endpoint::Endpoint;
use crate::fault::Fault;

/// Asks the engine with one request whether it answers, and runs Linux containers.
pub(crate) async fn ready(backend: &Backend) -> Result<()> {
    let greeting = backend.engine.greet().await.map_err(failed)?;
    ensure_linux(greeting.os.as_deref(), &backend.engine.endpoint()?)
}

/// Asks the engine for its version and its properties. Starts nothing.
pub(crate) async fn probe(backend: &Backend) -> Result<Health> {
    let engine = &backend.engine;
    let limit = engine.config().connect_timeout.get();
    let info = engine.info_within(limit).await.map_err(failed)?;
    let endpoint = engine.endpoint()?;
    let api = engine.api_version().await.map_err(failed)?;
    ensure_linux(info.os_type.as_deref(), &endpoint)?;
    let mut health = Health::default();
    let version = info.server_version.unwrap_or_else(|| "of unknown version".to_owned());
    health.version = format!("Docker Engine {version} (API {api})");
    health.push_fact("address", &endpoint.address);
    if let Some(by) = endpoint.named_by {
        health.push_fact("named by", by);
    }
    let facts = [
        ("host", info.name),
        ("operating system", info.operating_system),
        ("storage", info.driver),
        ("cgroup version", info.cgroup_version.map(|version| version.to_string())),
    ];
    for (name, value) in facts {
        value.into_iter().for_each(|value| health.push_fact(name, value));
    }
    // "WARNING: No swap limit support", and a daemon that is open to everybody on the network.
    health.warnings = info.warnings.unwrap_or_default();
    Ok(health)
}

fn failed(fault: Fault) -> Error {
    fault.into_error("failed to ask the Docker engine")
}

/// Checks the system of an engine's containers, if the engine reports one.
fn ensure_linux(os: Option<&str>, endpoint: &Endpoint) -> Result<()> {
    if os.is_some_and(|os| os != "linux") {
        let what = "the Docker engine runs no Linux containers";
        return Err(Error::new(ErrorKind::Unavailable, what).with("address", &endpoint.address));
    }
    Ok(())
}

//! Whether the engine may take work now.

use longshore_core::{Error, ErrorKind, Health, Result};

use crate::backend::Backend;

/// Asks the engine for its version and its properties. Starts nothing.
pub(crate) async fn probe(backend: &Backend) -> Result<Health> {
    let engine = &backend.engine;
    let limit = engine.config().connect_timeout.get();
    let failed = |fault: crate::fault::Fault| fault.into_error("failed to ask the Docker engine");
    let info = engine.info_within(limit).await.map_err(failed)?;
    let endpoint = engine.endpoint()?;
    let api = engine.api_version().await.map_err(failed)?;
    if info.os_type.as_deref().is_some_and(|os| os != "linux") {
        return Err(Error::new(
            ErrorKind::Unavailable,
            "the Docker engine runs no Linux containers",
        )
        .with("address", &endpoint.address));
    }
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

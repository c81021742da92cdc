//! Listing and removing Longshore's containers on the engine.

use longshore_core::{AttemptId, Handle, InstallationId, Result};

use crate::backend::Backend;
use crate::client::{Answer, Removal};
use crate::labels::{ATTEMPT, INSTALLATION};
use crate::place::{Place, look_by_label};

/// The attempts of `installation` that have a container.
pub(crate) async fn adopt(backend: &Backend, installation: &InstallationId) -> Result<Vec<Handle>> {
    let labels = vec![format!("{INSTALLATION}={installation}"), ATTEMPT.to_owned()];
    let listed = backend.engine.list(labels).await.map_err(|fault| {
        fault.into_error("failed to list this installation's containers").on(&backend.name)
    })?;
    let handle = |labels: std::collections::HashMap<String, String>| {
        let attempt: AttemptId = labels.get(ATTEMPT)?.parse().ok()?;
        let name = format!("longshore-{attempt}");
        Some(Place::new(attempt, installation.clone(), name).handle(&backend.name))
    };
    Ok(listed.into_iter().filter_map(|container| handle(container.labels?)).collect())
}

/// Removes an attempt's container and its marks.
pub(crate) async fn remove(backend: &Backend, place: &Place) -> Result<()> {
    let removed = try_remove(backend, place).await;
    removed.map_err(|fault| backend.error(fault, "failed to remove the attempt", place))?;
    backend.watcher.forget(&place.attempt);
    Ok(())
}

async fn try_remove(backend: &Backend, place: &Place) -> Answer<()> {
    let engine = &backend.engine;
    // An attempt that was followed from its creation on and has no mark has one container.
    let known = backend.watcher.known(&place.attempt).filter(|sight| sight.trusted);
    let alone = known.as_ref().is_some_and(|sight| sight.mark.is_none() && !sight.removed);
    let removed = engine.remove(&place.name, Removal::Force).await?;
    if alone && removed == crate::client::Removed::ByUs {
        return Ok(());
    }
    engine.remove(&place.end_name(), Removal::Force).await?;
    // The container may have been renamed.
    if let Some(seen) = look_by_label(engine, place).await? {
        engine.remove(&seen.id, Removal::Force).await?;
    }
    Ok(())
}

//! Listing and removing Longshore's containers on the engine.

use bollard::models::ContainerSummary;
use longshore_core::{AttemptId, Handle, InstallationId, Result};

use crate::backend::Backend;
use crate::client::{Answer, Removal, Removed};
use crate::labels::{ATTEMPT, INSTALLATION};
use crate::ownership::is_named;
use crate::place::{Found, Place, object_name, read_mark};

/// The attempts of `installation` that have a container.
pub(crate) async fn adopt(backend: &Backend, installation: &InstallationId) -> Result<Vec<Handle>> {
    let labels = vec![format!("{INSTALLATION}={installation}"), ATTEMPT.to_owned()];
    let listed = backend
        .engine
        .list(labels)
        .await
        .map_err(|fault| fault.into_error("failed to list this installation's containers"))?;
    let handle = |container: ContainerSummary| {
        let attempt: AttemptId = container.labels?.get(ATTEMPT)?.parse().ok()?;
        let name = object_name(attempt.as_str());
        if !is_named(container.names.as_deref(), &name) {
            backend.strangers.warn(&container.id?, attempt.as_str());
            return None;
        }
        Some(Place::new(attempt, installation.clone(), name).handle(&backend.name))
    };
    Ok(listed.into_iter().filter_map(handle).collect())
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
    let known = backend.watcher.known(&place.attempt);
    let alone = known.filter(|sight| sight.trusted && sight.mark.is_none() && !sight.removed);
    if let Some(id) = alone.and_then(|sight| sight.id)
        && engine.remove(&id, Removal::Force).await? == Removed::ByUs
    {
        return Ok(());
    }
    if let Found::Container(seen) = backend.find(place).await? {
        engine.remove(&seen.id, Removal::Force).await?;
    }
    for name in [place.name.clone(), place.end_name()] {
        if let Some(mark) = read_mark(engine, place, &name).await? {
            engine.remove(&mark.id, Removal::Force).await?;
        }
    }
    Ok(())
}

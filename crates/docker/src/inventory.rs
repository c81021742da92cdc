//! Listing and removing Longshore's containers on the engine.

use std::time::Duration;

use bollard_stubs::models::ContainerSummary;
use jiff::Timestamp;
use longshore_core::{AttemptId, Handle, InstallationId, Result};

use crate::backend::Backend;
use crate::client::{Answer, Removal, Removed};
use crate::container::{Found, is_named};
use crate::labels::{ATTEMPT, INSTALLATION, MARKED, TTY};
use crate::location::{Location, object_name};

/// How long a fence stays: longer than any request of a launch can be under way.
const FENCE_STAYS: Duration = Duration::from_secs(600);

/// The attempts of `installation` that have a container. Removes old fences.
pub(crate) async fn adopt(backend: &Backend, installation: &InstallationId) -> Result<Vec<Handle>> {
    remove_old_fences(backend, installation).await;
    let labels = vec![format!("{INSTALLATION}={installation}"), ATTEMPT.to_owned()];
    let listed = backend
        .engine
        .list(labels)
        .await
        .map_err(|fault| fault.into_error("failed to list this installation's containers"))?;
    let target = backend.engine.target()?;
    let handle = |container: ContainerSummary| {
        let labels = container.labels?;
        let attempt: AttemptId = labels.get(ATTEMPT)?.parse().ok()?;
        let name = object_name(attempt.as_str());
        if !is_named(container.names.as_deref(), &name) {
            backend.strangers.warn(&container.id?, attempt.as_str());
            return None;
        }
        let location = Location::new(attempt, installation.clone(), name).at(Some(target.clone()));
        Some(location.with_tty(labels.contains_key(TTY)).handle(&backend.name))
    };
    Ok(listed.into_iter().filter_map(handle).collect())
}

/// Removes the fences of `installation` that are no longer needed. What fails is left to the next
/// call.
pub(crate) async fn remove_old_fences(backend: &Backend, installation: &InstallationId) {
    if let Err(fault) = try_remove_old_fences(backend, installation).await {
        tracing::debug!(?fault, "failed to remove old fences");
    }
}

async fn try_remove_old_fences(backend: &Backend, installation: &InstallationId) -> Answer<()> {
    let engine = &backend.engine;
    let labels = vec![format!("{INSTALLATION}={installation}"), MARKED.to_owned()];
    let fences: Vec<_> = engine.list(labels).await?.into_iter().filter(is_fence).collect();
    if fences.is_empty() {
        return Ok(());
    }
    // The engine's clock may differ from this machine's.
    let now = engine.now().await?;
    for fence in fences.iter().filter(|fence| is_old(fence, now)) {
        if let Some(id) = &fence.id {
            engine.remove(id, Removal::UnlessRunning).await?;
        }
    }
    Ok(())
}

/// Whether a container is a mark with the name of the attempt's container.
fn is_fence(listed: &ContainerSummary) -> bool {
    let marked = listed.labels.as_ref().and_then(|labels| labels.get(MARKED));
    marked.is_some_and(|attempt| is_named(listed.names.as_deref(), &object_name(attempt)))
}

fn is_old(fence: &ContainerSummary, now: Timestamp) -> bool {
    let created = fence.created.and_then(|seconds| Timestamp::from_second(seconds).ok());
    created
        .and_then(|at| Duration::try_from(now.duration_since(at)).ok())
        .is_some_and(|age| age > FENCE_STAYS)
}

/// Removes an attempt's container and the marks about its run. A fence stays, because a launch may
/// still be under way; see [`remove_old_fences`].
pub(crate) async fn remove(backend: &Backend, location: &Location) -> Result<()> {
    let removed = try_remove(backend, location).await;
    removed.map_err(|fault| backend.error(fault, "failed to remove the attempt", location))?;
    backend.informer.forget(&location.attempt);
    drop(backend.attachments.take(&location.attempt));
    Ok(())
}

async fn try_remove(backend: &Backend, location: &Location) -> Answer<()> {
    let engine = &backend.engine;
    // An attempt that was followed from its creation on, and has no mark and no signals, has one
    // container.
    let known = backend.informer.snapshot(&location.attempt);
    let alone = known.filter(|snapshot| {
        let is_marked = snapshot.mark.is_some() || snapshot.signals.count() > 0;
        snapshot.synced && !is_marked && !snapshot.removed
    });
    if let Some(id) = alone.and_then(|snapshot| snapshot.id)
        && engine.remove(&id, Removal::Force).await? == Removed::ByUs
    {
        return Ok(());
    }
    if let Found::Container(container) = backend.find(location).await? {
        engine.remove(&container.id, Removal::Force).await?;
    }
    let marks = vec![
        format!("{INSTALLATION}={}", location.installation),
        format!("{MARKED}={}", location.attempt),
    ];
    for mark in engine.list(marks).await?.iter().filter(|mark| is_about_the_run(mark, location)) {
        if let Some(id) = &mark.id {
            engine.remove(id, Removal::Force).await?;
        }
    }
    Ok(())
}

/// Whether a container is a mark about the attempt's end or its signals.
fn is_about_the_run(listed: &ContainerSummary, location: &Location) -> bool {
    let is_attempt = listed.labels.as_ref().is_none_or(|labels| labels.contains_key(ATTEMPT));
    let names = listed.names.as_deref();
    let is_signal = |number| is_named(names, &location.signal_name(number));
    !is_attempt && (is_named(names, &location.end_name()) || (1..64).any(is_signal))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn mark(name: &str, created: i64) -> ContainerSummary {
        ContainerSummary {
            names: Some(vec![format!("/{name}")]),
            labels: Some(HashMap::from([(MARKED.to_owned(), "j-1".to_owned())])),
            created: Some(created),
            ..ContainerSummary::default()
        }
    }

    /// A removal took the fence away, and a launch that was under way started the job.
    #[test]
    fn a_fence_outlives_every_launch_under_way() {
        assert!(is_fence(&mark("longshore-j-1", 0)));
        assert!(!is_fence(&mark("longshore-j-1-end", 0)));
        assert!(!is_fence(&mark("longshore-j-2", 0)), "a forged label");
        let now = Timestamp::from_second(10_000).unwrap();
        let old = |created| is_old(&mark("longshore-j-1", created), now);
        assert!(old(10_000 - 601));
        assert!(!old(10_000 - 599));
        assert!(!old(10_000 + 900), "by another clock");
    }
}

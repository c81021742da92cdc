//! The watch on the Events of Pods, which are optional evidence.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use longshore_core::Backoff;
use tokio::time::{Instant, sleep};

use crate::cache::ScopeCache;
use crate::client::{Cluster, Connection, WATCH_SECONDS, retry_backoff};
use crate::error::code;
use crate::watch::FAILURES_BEFORE_LIST;

/// Events do not carry Longshore's labels, so they are selected by the kind of their object.
const OF_PODS: &str = "involvedObject.kind=Pod";

/// A watch request that ends within this time is not repeated at once.
const SHORT: Duration = Duration::from_secs(1);

/// Watches the Events until the API server forbids it, or else forever.
///
/// The API server keeps each Event for an hour, so a busy namespace has many thousands of them. The
/// watch therefore skips the Events from before it began. A caller that needs those asks for the
/// Events of one Pod.
pub(crate) async fn watch_events(cache: &ScopeCache, connection: &Connection) {
    let mut backoff = retry_backoff();
    loop {
        // If there is no connection, the watches on Jobs and Pods report why.
        if let Ok(cluster) = connection.cluster().await
            && watch_until_failure(cache, &cluster, &mut backoff).await == Ended::Forbidden
        {
            return;
        }
        sleep(backoff.next_pause()).await;
        // The kubeconfig or the token may have been renewed.
        connection.forget().await;
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    /// The watch must begin again.
    Failed,
    /// The permission is missing, so trying again is useless.
    Forbidden,
}

async fn watch_until_failure(
    cache: &ScopeCache,
    cluster: &Cluster,
    backoff: &mut Backoff,
) -> Ended {
    let namespace = cache.scope.namespace.as_deref().unwrap_or(&cluster.namespace);
    let api: Api<Event> = Api::namespaced(cluster.watcher.clone(), namespace);
    // Any part of the collection carries the version of the whole collection.
    let newest = ListParams::default().fields(OF_PODS).limit(1);
    let mut version = match api.list_metadata(&newest).await {
        Ok(list) => list.metadata.resource_version.unwrap_or_default(),
        Err(error) => return log_failure(cache, &error),
    };
    // An Event is recorded only for an attempt that is already known, so the lists come first.
    cache.wait_for_sync().await;
    let params = WatchParams::default().fields(OF_PODS).timeout(WATCH_SECONDS);
    for _ in 0..FAILURES_BEFORE_LIST {
        let error = loop {
            let begun = Instant::now();
            match watch_once(cache, &api, &params, &mut version).await {
                // The server ends each request after a while. A request that the server ends at
                // once is followed by a pause.
                Ok(()) if begun.elapsed() > SHORT => backoff.reset(),
                Ok(()) => sleep(backoff.next_pause()).await,
                Err(error) => break error,
            }
        };
        let ended = log_failure(cache, &error);
        if ended == Ended::Forbidden || is_final(&error) {
            return ended;
        }
        sleep(backoff.next_pause()).await;
    }
    Ended::Failed
}

/// Runs one request of the watch, from `version` on, and advances `version`.
async fn watch_once(
    cache: &ScopeCache,
    api: &Api<Event>,
    params: &WatchParams,
    version: &mut String,
) -> kube::Result<()> {
    let mut stream = pin!(api.watch(params, version).await?);
    while let Some(event) = stream.next().await {
        match event? {
            WatchEvent::Added(event) | WatchEvent::Modified(event) => {
                if let Some(newer) = &event.metadata.resource_version {
                    version.clone_from(newer);
                }
                record(cache, event);
            }
            WatchEvent::Deleted(event) => {
                if let Some(newer) = event.metadata.resource_version {
                    *version = newer;
                }
            }
            WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        }
    }
    Ok(())
}

fn record(cache: &ScopeCache, event: Event) {
    let pod = event.involved_object.name.as_deref().unwrap_or_default();
    let Some(attempt) = attempt_of_pod(pod) else { return };
    let warning = event.type_.as_deref() == Some("Warning");
    let reason = event.reason.as_deref().unwrap_or_default();
    let message = event.message.as_deref().unwrap_or_default();
    cache.update_known(attempt, |snapshot| snapshot.apply_event(warning, reason, message));
}

/// Returns the attempt whose Job created the Pod `name`: `longshore-ATTEMPT-SUFFIX`.
fn attempt_of_pod(name: &str) -> Option<&str> {
    name.strip_prefix("longshore-")?.rsplit_once('-').map(|(attempt, _)| attempt)
}

fn log_failure(cache: &ScopeCache, error: &kube::Error) -> Ended {
    if code(error) == Some(403) {
        cache.update_health(|health| health.events_unavailable = true);
        tracing::info!(%error, "without permission to watch Events, whether an image was pulled stays unknown");
        return Ended::Forbidden;
    }
    tracing::debug!(%error, "the watch on Events failed");
    Ended::Failed
}

/// Returns whether the watch cannot continue with this version (410,
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses>) or with these
/// credentials (401).
fn is_final(error: &kube::Error) -> bool {
    matches!(code(error), Some(401 | 410))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_pod_contains_its_attempt() {
        assert_eq!(attempt_of_pod("longshore-abc-2-x7k9q"), Some("abc-2"));
        assert_eq!(attempt_of_pod("other-abc-2-x7k9q"), None);
        assert_eq!(attempt_of_pod("longshore-abc"), None);
    }
}

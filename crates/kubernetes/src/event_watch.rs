//! The watch on the Events of Pods, which are optional evidence.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use longshore_core::Backoff;
use tokio::time::{Instant, sleep};

use crate::cache::ScopeCache;
use crate::client::{Cluster, Connection, WATCH_SECONDS, retry_backoff};
use crate::error::code;
use crate::watch::{FAILURES_BEFORE_LIST, SHORT, is_final};
use crate::watch_request::{self, Position};

/// Events do not carry Longshore's labels, so they are selected by the kind of their object.
const OF_PODS: &str = "involvedObject.kind=Pod";

/// Watches the Events until the API server forbids it, or else forever.
///
/// The API server keeps each Event for an hour, so a busy namespace has many thousands of them. The
/// watch therefore skips the Events from before it began. A caller that needs those asks for the
/// Events of one Pod.
pub(crate) async fn watch_events(cache: &ScopeCache, connection: &Connection) {
    let mut backoff = retry_backoff();
    let mut position = Position::Next;
    loop {
        // If there is no connection, the watches on Jobs and Pods report why.
        let cluster = connection.cluster_of(cache.scope.cluster.as_ref()).await.ok();
        if let Some(cluster) = &cluster
            && watch_until_failure(cache, cluster, &mut position, &mut backoff).await
                == Ended::Forbidden
        {
            return;
        }
        position.lose();
        sleep(backoff.next_pause()).await;
        if let Some(cluster) = &cluster {
            // The kubeconfig or the token may have been renewed.
            connection.forget_only(cluster).await;
        }
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
    position: &mut Position,
    backoff: &mut Backoff,
) -> Ended {
    let namespace = cache.scope.namespace.as_deref().unwrap_or(&cluster.namespace);
    let api: Api<Event> = Api::namespaced(cluster.watcher.clone(), namespace);
    for _ in 0..FAILURES_BEFORE_LIST {
        let error = loop {
            let begun = Instant::now();
            match watch_once(cache, &cluster.watcher, &api, position).await {
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

/// Runs one request of the watch, from `position` on, and advances `position`.
async fn watch_once(
    cache: &ScopeCache,
    client: &Client,
    api: &Api<Event>,
    position: &mut Position,
) -> kube::Result<()> {
    let params = WatchParams::default().fields(OF_PODS).timeout(WATCH_SECONDS);
    let mut events = loop {
        if let Some(events) = watch_request::open(client, api, &params, position).await? {
            break events;
        }
        // Any part of the collection carries the version of the whole collection.
        let newest = ListParams::default().fields(OF_PODS).limit(1);
        let version = api.list_metadata(&newest).await?.metadata.resource_version;
        *position = Position::After(version.unwrap_or_default());
    };
    cache.update_health(|health| health.events_watched = true);
    // An Event is recorded only for an attempt that is already known, so the lists come first.
    cache.wait_for_watches().await;
    while let Some(event) = events.next().await {
        let version = match event? {
            WatchEvent::Added(event) | WatchEvent::Modified(event) => {
                let version = event.metadata.resource_version.clone();
                record(cache, event);
                version
            }
            WatchEvent::Deleted(event) => event.metadata.resource_version,
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        if let Some(version) = version {
            *position = Position::After(version);
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

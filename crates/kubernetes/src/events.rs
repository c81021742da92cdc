//! The watch on the Events of Pods, which are optional evidence.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::time::Instant;

use crate::client::{Cluster, Connection};
use crate::error::code;
use crate::hub::Group;
use crate::watching::{FAILURES_BEFORE_LIST, Pause, WATCH_SECONDS};

/// Events do not carry Longshore's labels, so they are selected by the kind of their object.
const OF_PODS: &str = "involvedObject.kind=Pod";

/// A watch request that ends within this time is not repeated at once.
const SHORT: Duration = Duration::from_secs(1);

/// Watches the Events until the API server forbids it, or else forever.
///
/// The API server keeps each Event for an hour, so a busy namespace has many thousands of them. The
/// watch therefore skips the Events from before it began. A caller that needs those asks for the
/// Events of one Pod.
pub(crate) async fn follow(group: &Group, connection: &Connection) {
    let mut pause = Pause::default();
    loop {
        // If there is no connection, the watches on Jobs and Pods report why.
        if let Ok(cluster) = connection.cluster().await
            && watch(group, &cluster, &mut pause).await == Ended::Useless
        {
            return;
        }
        pause.wait().await;
        // The kubeconfig or the token may have been renewed.
        connection.forget().await;
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    /// The watch must begin again.
    Failed,
    /// The permission is missing, so trying again is useless.
    Useless,
}

async fn watch(group: &Group, cluster: &Cluster, pause: &mut Pause) -> Ended {
    let namespace = group.scope.namespace.as_deref().unwrap_or(&cluster.namespace);
    let api: Api<Event> = Api::namespaced(cluster.watcher.clone(), namespace);
    // Any part of the collection carries the version of the whole collection.
    let newest = ListParams::default().fields(OF_PODS).limit(1);
    let mut version = match api.list_metadata(&newest).await {
        Ok(list) => list.metadata.resource_version.unwrap_or_default(),
        Err(error) => return failed(group, &error),
    };
    // An Event is recorded only for an attempt that is already known, so the lists come first.
    group.listed().await;
    let params = WatchParams::default().fields(OF_PODS).timeout(WATCH_SECONDS);
    for _ in 0..FAILURES_BEFORE_LIST {
        let error = loop {
            let begun = Instant::now();
            match part(group, &api, &params, &mut version).await {
                // The server ends each request after a while. A request that the server ends at
                // once is followed by a pause.
                Ok(()) if begun.elapsed() > SHORT => pause.reset(),
                Ok(()) => pause.wait().await,
                Err(error) => break error,
            }
        };
        let ended = failed(group, &error);
        if ended == Ended::Useless || is_final(&error) {
            return ended;
        }
        pause.wait().await;
    }
    Ended::Failed
}

/// Runs one request of the watch, from `version` on, and advances `version`.
async fn part(
    group: &Group,
    api: &Api<Event>,
    params: &WatchParams,
    version: &mut String,
) -> kube::Result<()> {
    let mut stream = pin!(api.watch(params, version).await?);
    while let Some(news) = stream.next().await {
        match news? {
            WatchEvent::Added(event) | WatchEvent::Modified(event) => {
                if let Some(newer) = &event.metadata.resource_version {
                    version.clone_from(newer);
                }
                seen(group, event);
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

fn seen(group: &Group, event: Event) {
    let pod = event.involved_object.name.as_deref().unwrap_or_default();
    let Some(attempt) = attempt_of_pod(pod) else { return };
    let warning = event.type_.as_deref() == Some("Warning");
    let reason = event.reason.as_deref().unwrap_or_default();
    let message = event.message.as_deref().unwrap_or_default();
    group.update_known(attempt, |snapshot| snapshot.event_seen(warning, reason, message));
}

/// Returns the attempt whose Job created the Pod `name`: `longshore-ATTEMPT-SUFFIX`.
fn attempt_of_pod(name: &str) -> Option<&str> {
    name.strip_prefix("longshore-")?.rsplit_once('-').map(|(attempt, _)| attempt)
}

fn failed(group: &Group, error: &kube::Error) -> Ended {
    if code(error) == Some(403) {
        group.note(|health| health.no_events = true);
        tracing::info!(%error, "without permission to watch Events, whether an image was pulled stays unknown");
        return Ended::Useless;
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
    fn a_pods_name_tells_its_attempt() {
        assert_eq!(attempt_of_pod("longshore-abc-2-x7k9q"), Some("abc-2"));
        assert_eq!(attempt_of_pod("other-abc-2-x7k9q"), None);
        assert_eq!(attempt_of_pod("longshore-abc"), None);
    }
}

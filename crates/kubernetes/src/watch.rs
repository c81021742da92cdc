//! The watches themselves, which survive failures of the API server and of the connection to it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use longshore_core::Backoff;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::cache::ScopeCache;
use crate::client::{Cluster, Connection, WATCH_SECONDS, retry_backoff};
use crate::error::code;
use crate::job_view::JobView;
use crate::names;
use crate::pod_view::PodView;
use crate::snapshot::Presence;

/// The number of consecutive failures after which the watch begins again with a list. A list is
/// right whatever went wrong, even after a restored backup: the server's versions have then gone
/// back, and it answers 504 "Too large resource version" to every resumption.
pub(crate) const FAILURES_BEFORE_LIST: u32 = 3;

/// A kind of object that is watched.
pub(crate) trait Watched:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
    /// Records the current state of an object.
    fn apply(self, cache: &ScopeCache);
    /// Records that an object was deleted; `self` is its last state.
    fn delete(self, cache: &ScopeCache);
    /// Records that all existing objects have been listed; `listed` contains their uids.
    fn finish_list(cache: &ScopeCache, listed: &HashSet<String>);
}

impl Watched for Job {
    fn apply(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.apply_job(JobView::from(&self)));
        }
    }

    fn delete(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.remove_job(Some(JobView::from(&self))));
        }
    }

    fn finish_list(cache: &ScopeCache, listed: &HashSet<String>) {
        cache.update_all(|snapshot| {
            let here = snapshot.job_presence == Presence::Here;
            if here && snapshot.job.as_ref().is_some_and(|job| !listed.contains(&job.uid)) {
                snapshot.remove_job(None);
            }
        });
        cache.update_health(|health| health.jobs_listed = true);
    }
}

impl Watched for Pod {
    fn apply(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.apply_pod(PodView::from(&self)));
        }
    }

    fn delete(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.remove_pod(PodView::from(&self)));
        }
    }

    fn finish_list(cache: &ScopeCache, listed: &HashSet<String>) {
        cache.update_all(|snapshot| snapshot.retain_pods(|uid| listed.contains(uid)));
        cache.update_health(|health| health.pods_listed = true);
    }
}

/// Watches the objects of kind `K` and records them in `cache`, forever.
pub(crate) async fn watch_objects<K: Watched>(cache: &ScopeCache, connection: &Connection) {
    let mut backoff = retry_backoff();
    loop {
        let cluster = match connection.cluster().await {
            Ok(cluster) => cluster,
            Err(error) => {
                cache.update_health(|health| health.failure = Some(error.to_string()));
                sleep(backoff.next_pause()).await;
                continue;
            }
        };
        watch_until_failure::<K>(cache, &cluster, &mut backoff).await;
        // The kubeconfig or the token may have been renewed.
        connection.forget().await;
    }
}

/// Watches until there have been too many consecutive failures.
async fn watch_until_failure<K: Watched>(
    cache: &ScopeCache,
    cluster: &Cluster,
    backoff: &mut Backoff,
) {
    let namespace = cache.scope.namespace.as_deref().unwrap_or(&cluster.namespace);
    let api: Api<K> = Api::namespaced(cluster.watcher.clone(), namespace);
    let ours = format!("{}={}", names::INSTALLATION, cache.scope.installation);
    let config = Config::default().timeout(WATCH_SECONDS).labels(&ours);
    let mut stream = pin!(watcher(api, config));
    let mut listed = HashSet::new();
    let mut failures = 0;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                // The beginning of a list is not an answer yet.
                if !matches!(event, Event::Init) {
                    failures = 0;
                    backoff.reset();
                    cache.update_health(|health| health.failure = None);
                }
                apply_event(cache, event, &mut listed);
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, failures, "a watch failed and is resumed");
                cache.update_health(|health| health.failure = Some(error.to_string()));
                sleep(backoff.next_pause()).await;
                if failures >= FAILURES_BEFORE_LIST || is_final(&error) {
                    break;
                }
            }
        }
    }
}

/// Returns whether the watch cannot continue with this version (410) or with these credentials
/// (401), and must get new ones.
fn is_final(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let code = match error {
        InitialListFailed(cause) | WatchStartFailed(cause) | WatchFailed(cause) => code(cause),
        WatchError(status) => Some(status.code),
        _ => None,
    };
    matches!(code, Some(401 | 410))
}

fn apply_event<K: Watched>(cache: &ScopeCache, event: Event<K>, listed: &mut HashSet<String>) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.extend(object.uid());
            object.apply(cache);
        }
        Event::InitDone => {
            K::finish_list(cache, listed);
            listed.clear();
        }
        Event::Apply(object) => object.apply(cache),
        Event::Delete(object) => object.delete(cache),
    }
}

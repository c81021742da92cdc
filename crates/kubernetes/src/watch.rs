//! The watches themselves, which survive failures of the API server and of the connection to it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use longshore_core::Backoff;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use crate::cache::{KindHealth, ScopeCache, WatchHealth};
use crate::client::{Cluster, Connection, WATCH_SECONDS, retry_backoff};
use crate::error::code;
use crate::job_view::JobView;
use crate::names;
use crate::pod_view::PodView;
use crate::snapshot::Presence;
use crate::watch_request::{self, Position};

/// The number of consecutive failures after which the watch begins again with a list. A list is
/// right whatever went wrong, even after a restored backup: the server's versions have then gone
/// back, and it answers 504 "Too large resource version" to every resumption.
pub(crate) const FAILURES_BEFORE_LIST: u32 = 3;

/// A watch request that ends within this time is not repeated at once.
pub(crate) const SHORT: Duration = Duration::from_secs(1);
/// How many objects one answer to a list has at most, as in kubectl.
const PAGE: u32 = 500;

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
    /// Records the state of an object from a list, unless the watch has already reported the object:
    /// it may since have reported something newer.
    fn apply_unknown(self, cache: &ScopeCache);
    /// Records that an object was deleted; `self` is its last state.
    fn delete(self, cache: &ScopeCache);
    /// Records that all existing objects have been listed; `listed` contains their uids.
    fn finish_list(cache: &ScopeCache, listed: &HashSet<String>);
    /// Returns the state of the watch on this kind.
    fn health(health: &mut WatchHealth) -> &mut KindHealth;
}

impl Watched for Job {
    fn apply(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.apply_job(JobView::from(&self)));
        }
    }

    fn apply_unknown(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| {
                let job = JobView::from(&self);
                if snapshot.job.as_ref().is_none_or(|known| known.uid != job.uid) {
                    snapshot.apply_job(job);
                }
            });
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
    }

    fn health(health: &mut WatchHealth) -> &mut KindHealth {
        &mut health.jobs
    }
}

impl Watched for Pod {
    fn apply(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.apply_pod(PodView::from(&self)));
        }
    }

    fn apply_unknown(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| {
                let pod = PodView::from(&self);
                if snapshot.pods.iter().all(|known| known.pod.uid != pod.uid) {
                    snapshot.apply_pod(pod);
                }
            });
        }
    }

    fn delete(self, cache: &ScopeCache) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            cache.update(attempt, |snapshot| snapshot.remove_pod(PodView::from(&self)));
        }
    }

    fn finish_list(cache: &ScopeCache, listed: &HashSet<String>) {
        cache.update_all(|snapshot| snapshot.retain_pods(|uid| listed.contains(uid)));
    }

    fn health(health: &mut WatchHealth) -> &mut KindHealth {
        &mut health.pods
    }
}

/// Watches the objects of kind `K` and records them in `cache`, forever. Begins at `position`.
///
/// The watch lists the existing objects only if somebody [wants](ScopeCache::want_lists) that, or if it
/// may have missed a change. A launch needs no list: it waits for the watch to begin before it creates
/// the Job.
pub(crate) async fn watch_objects<K: Watched>(
    cache: &ScopeCache,
    connection: &Connection,
    mut position: Position,
) {
    let mut backoff = retry_backoff();
    loop {
        let cluster = match connection.cluster_of(cache.scope.cluster.as_ref()).await {
            Ok(cluster) => cluster,
            Err(error) => {
                cache.update_health(|health| health.failure = Some(error.to_string()));
                sleep(backoff.next_pause()).await;
                continue;
            }
        };
        let mut watch = Watch::<K>::new(cache, &cluster);
        watch.run_until_failure(&mut position, &mut backoff).await;
        position.lose();
        // The kubeconfig or the token may have been renewed.
        connection.forget_only(&cluster).await;
    }
}

/// A watch on the objects of kind `K` in the scope of a cache.
struct Watch<'a, K> {
    cache: &'a ScopeCache,
    client: &'a Client,
    api: Api<K>,
    /// Selects the objects of the installation.
    labels: String,
    /// The number of consecutive failures.
    failures: u32,
}

impl<'a, K: Watched> Watch<'a, K> {
    fn new(cache: &'a ScopeCache, cluster: &'a Cluster) -> Self {
        let namespace = cache.scope.namespace.as_deref().unwrap_or(&cluster.namespace);
        let client = &cluster.watcher;
        let api = Api::namespaced(client.clone(), namespace);
        let labels = format!("{}={}", names::INSTALLATION, cache.scope.installation);
        Self { cache, client, api, labels, failures: 0 }
    }

    /// Watches until there have been too many consecutive failures.
    async fn run_until_failure(&mut self, position: &mut Position, backoff: &mut Backoff) {
        loop {
            let begun = Instant::now();
            match self.run_request(position, backoff).await {
                // The server ends each request after a while. A request that the server ends at
                // once is followed by a pause.
                Ok(()) if begun.elapsed() > SHORT => {}
                Ok(()) => sleep(backoff.next_pause()).await,
                Err(error) => {
                    self.failures += 1;
                    let failures = self.failures;
                    tracing::debug!(%error, failures, "a watch failed and is resumed");
                    self.cache.update_health(|health| health.failure = Some(error.to_string()));
                    sleep(backoff.next_pause()).await;
                    if failures >= FAILURES_BEFORE_LIST || is_final(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// Watches with one request from `position` on, and advances `position`.
    async fn run_request(
        &mut self,
        position: &mut Position,
        backoff: &mut Backoff,
    ) -> kube::Result<()> {
        let mut wanted = self.cache.lists_wanted();
        if *position == Position::Next && *wanted.borrow() {
            *position = Position::Unknown;
        }
        let params = WatchParams::default().labels(&self.labels).timeout(WATCH_SECONDS);
        let mut events = loop {
            match watch_request::open(self.client, &self.api, &params, position).await? {
                Some(events) => break events,
                None => {
                    let (version, listed) = self.list(K::apply).await?;
                    K::finish_list(self.cache, &listed);
                    self.record_list();
                    *position = Position::After(version);
                }
            }
        };
        self.cache.update_health(|health| K::health(health).watched = true);
        loop {
            let listed = self.is_listed();
            let lists_wanted = async {
                // An error would mean that the sender is gone, but the cache holds it.
                let _ = wanted.wait_for(|wanted| *wanted).await;
            };
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.apply(event?, position)?,
                    None => return Ok(()),
                },
                () = lists_wanted, if !listed => self.list_unknown().await?,
            }
            self.failures = 0;
            backoff.reset();
            self.cache.update_health(|health| health.failure = None);
        }
    }

    fn is_listed(&self) -> bool {
        K::health(&mut self.cache.health().borrow().clone()).listed
    }

    fn record_list(&self) {
        self.cache.update_health(|health| K::health(health).listed = true);
    }

    /// Lists the existing objects and records those that the watch has not reported. The watch goes on
    /// where it is, and keeps the others up to date: if one is not in the list, the watch is about to
    /// report its deletion and its last state.
    async fn list_unknown(&self) -> kube::Result<()> {
        self.list(K::apply_unknown).await?;
        self.record_list();
        Ok(())
    }

    /// Lists the existing objects and records each with `apply`. Returns the version of the list, and
    /// the uids.
    async fn list(
        &self,
        apply: impl Fn(K, &ScopeCache),
    ) -> kube::Result<(String, HashSet<String>)> {
        let mut params = ListParams::default().labels(&self.labels).limit(PAGE);
        let mut listed = HashSet::new();
        loop {
            let page = self.api.list(&params).await?;
            for object in page.items {
                listed.extend(object.uid());
                apply(object, self.cache);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => {
                    // Without a version, the next watch begins with all objects.
                    return Ok((page.metadata.resource_version.unwrap_or_default(), listed));
                }
            }
        }
    }

    fn apply(&self, event: WatchEvent<K>, position: &mut Position) -> kube::Result<()> {
        let version = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.resource_version();
                object.apply(self.cache);
                version
            }
            WatchEvent::Deleted(object) => {
                let version = object.resource_version();
                object.delete(self.cache);
                version
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        if let Some(version) = version {
            *position = Position::After(version);
        }
        Ok(())
    }
}

/// Returns whether the watch cannot continue with this version (410,
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses>) or with these
/// credentials (401), and must get new ones.
pub(crate) fn is_final(error: &kube::Error) -> bool {
    matches!(code(error), Some(401 | 410))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use longshore_core::InstallationId;
    use serde_json::json;

    use super::*;
    use crate::cache::Scope;
    use crate::outcome::tests::pod;

    /// The job was lost, although the watch was about to report how its container had ended.
    #[tokio::test]
    async fn a_pod_that_a_later_list_lacks_ends_as_the_watch_reports() {
        let cache = ScopeCache::new(Scope {
            namespace: None,
            cluster: None,
            installation: InstallationId::random(),
        });
        let snapshot = cache.subscribe("a-1");
        let running = json!({"running": {}});
        cache.update("a-1", |known| known.apply_pod(pod(json!({}), "Running", running, "x://a")));
        let none = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []});
        let answer = move |_| {
            let answer =
                http::Response::new(kube::client::Body::from(none.to_string().into_bytes()));
            std::future::ready(Ok::<_, Infallible>(answer))
        };
        let client = Client::new(tower::service_fn(answer), "n");
        let api: Api<Pod> = Api::default_namespaced(client.clone());
        let watch =
            Watch { cache: &cache, client: &client, api, labels: String::new(), failures: 0 };
        watch.list_unknown().await.unwrap();
        assert!(watch.is_listed());
        assert_eq!(snapshot.borrow().pods[0].presence, Presence::Here);
    }
}

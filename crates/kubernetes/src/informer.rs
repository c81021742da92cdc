//! One watch each on Jobs, Pods and their Events for all attempts of an installation. All
//! subscriptions to its attempts share these watches.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::cache::{Scope, ScopeCache};
use crate::client::Connection;
use crate::event_watch::watch_events;
use crate::location::Location;
use crate::subscription::Subscription;
use crate::watch::watch_objects;
use crate::watch_request::Position;

/// How long the watches continue after the last subscription has ended. The next job often comes
/// soon, and an idle host should cause no load.
const LINGER: Duration = Duration::from_secs(15);

/// How long after the creation of the first Job the watch on Jobs begins, if nothing has needed it
/// before. Most short jobs have ended by then.
const LATER: Duration = Duration::from_secs(5);

/// All watches of a runner.
#[derive(Debug)]
pub(crate) struct Informer {
    connection: Arc<Connection>,
    caches: Mutex<HashMap<Scope, WatchedCache>>,
}

/// A cache and the task that runs the watches that fill it.
#[derive(Debug)]
struct WatchedCache {
    cache: Arc<ScopeCache>,
    task: AbortHandle,
}

impl Informer {
    /// Creates an informer without any watches.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, caches: Mutex::default() }
    }

    /// Subscribes to the attempt at `location`. Starts the watches of its scope if none run, and lists
    /// what existed before them unless they have seen everything of the attempt. Must be called within
    /// a runtime.
    pub(crate) fn subscribe(self: &Arc<Self>, location: &Location) -> Subscription {
        let mut subscription = self.subscribe_before_creation(location);
        if !subscription.snapshot().seen_from_creation {
            subscription.want_lists();
        }
        subscription
    }

    /// Like [`subscribe`](Self::subscribe), for an attempt whose Job is yet to be created: lists
    /// nothing.
    pub(crate) fn subscribe_before_creation(self: &Arc<Self>, location: &Location) -> Subscription {
        let scope = Scope::of(location);
        let mut caches = self.caches.lock();
        // A task ends with the runtime that it runs on, and the runner may outlive that runtime.
        caches.retain(|_, watched| !watched.task.is_finished());
        let watched = caches.entry(scope.clone()).or_insert_with(|| {
            let cache = Arc::new(ScopeCache::new(scope));
            let watches = run_watches(cache.clone(), self.connection.clone());
            let idle = idle(Arc::downgrade(self), cache.clone());
            let task = tokio::spawn(async move {
                tokio::select! {
                    () = watches => {}
                    () = idle => {}
                }
            });
            WatchedCache { cache, task: task.abort_handle() }
        });
        // The lock also protects the removal of an idle cache, so this subscription cannot come too
        // late.
        Subscription::new(watched.cache.clone(), &location.attempt)
    }

    /// Records that this process has removed the attempt at `location`, before any watch reports it.
    pub(crate) fn record_removal(&self, location: &Location) {
        let scope = Scope::of(location);
        let cache = self.caches.lock().get(&scope).map(|watched| watched.cache.clone());
        if let Some(cache) = cache {
            cache.update_known(&location.attempt, |snapshot| snapshot.remove_job(None));
        }
    }
}

/// Runs the watches that fill `cache`, forever.
async fn run_watches(cache: Arc<ScopeCache>, connection: Arc<Connection>) {
    let jobs = async {
        let first = cache.jobs_needed(LATER).await;
        let position = first.map_or(Position::Unknown, Position::After);
        watch_objects::<Job>(&cache, &connection, position).await;
    };
    tokio::join!(
        jobs,
        watch_objects::<Pod>(&cache, &connection, Position::Next),
        watch_events(&cache, &connection),
    );
}

/// Completes once there has been no subscription for a while, or once there is none and the runner
/// is gone.
async fn idle(informer: Weak<Informer>, cache: Arc<ScopeCache>) {
    let mut subscriptions = cache.subscriptions();
    loop {
        // An error would mean that the sender is gone, but `cache` holds it.
        let _ = subscriptions.wait_for(|count| *count == 0).await;
        if timeout(LINGER, subscriptions.wait_for(|count| *count > 0)).await.is_ok() {
            continue;
        }
        let Some(informer) = informer.upgrade() else { return };
        let mut caches = informer.caches.lock();
        if *subscriptions.borrow() == 0 {
            caches.remove(&cache.scope);
            return;
        }
    }
}

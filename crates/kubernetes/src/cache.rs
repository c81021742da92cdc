//! What the watches of one scope have reported.

use std::collections::HashMap;

use longshore_core::InstallationId;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::location::Location;
use crate::place::ClusterId;
use crate::snapshot::{Presence, Snapshot};

/// The objects that a set of watches covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The namespace; `None` is the one of the kubeconfig's context.
    pub(crate) namespace: Option<String>,
    /// The cluster; `None` is the one that the kubeconfig names.
    pub(crate) cluster: Option<ClusterId>,
    /// The installation whose label the objects carry.
    pub(crate) installation: InstallationId,
}

impl Scope {
    /// Returns the scope that includes the attempt at `location`.
    pub(crate) fn of(location: &Location) -> Self {
        Self {
            namespace: location.namespace.clone(),
            cluster: location.cluster.clone(),
            installation: location.installation.clone(),
        }
    }
}

/// The state of the watch on one kind of object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindHealth {
    /// Whether the watch has begun. From then on it misses no change.
    pub(crate) watched: bool,
    /// Whether the objects that existed before have been listed.
    pub(crate) listed: bool,
}

/// The state of the watches that fill a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchHealth {
    /// The watch on Jobs.
    pub(crate) jobs: KindHealth,
    /// The watch on Pods.
    pub(crate) pods: KindHealth,
    /// Whether the watch on the Pods' Events has begun.
    pub(crate) events_watched: bool,
    /// Whether the Pods' Events are unavailable.
    pub(crate) events_unavailable: bool,
    /// Why a watch is down now.
    pub(crate) failure: Option<String>,
}

/// What the watches of one scope have reported.
#[derive(Debug)]
pub(crate) struct ScopeCache {
    /// What is watched.
    pub(crate) scope: Scope,
    snapshots: Mutex<HashMap<String, watch::Sender<Snapshot>>>,
    health: watch::Sender<WatchHealth>,
    /// How many subscriptions exist.
    subscriptions: watch::Sender<usize>,
    /// Whether the objects that existed before the watches began are needed.
    lists_wanted: watch::Sender<bool>,
}

impl WatchHealth {
    /// Returns whether all existing objects have been reported. Before that, a Job may be known
    /// without its Pod.
    pub(crate) const fn is_synced(&self) -> bool {
        self.jobs.listed && self.pods.listed
    }

    /// Returns whether the watches on Jobs and Pods have begun.
    pub(crate) const fn is_watching(&self) -> bool {
        self.jobs.watched && self.pods.watched
    }
}

impl ScopeCache {
    /// Creates an empty cache.
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            scope,
            snapshots: Mutex::default(),
            health: watch::Sender::new(WatchHealth::default()),
            subscriptions: watch::Sender::new(0),
            lists_wanted: watch::Sender::new(false),
        }
    }

    /// Begins a subscription to `attempt`, which ends with [`unsubscribe`](Self::unsubscribe).
    pub(crate) fn subscribe(&self, attempt: &str) -> watch::Receiver<Snapshot> {
        self.subscriptions.send_modify(|count| *count += 1);
        let mut snapshots = self.snapshots.lock();
        snapshots
            .entry(attempt.to_owned())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()))
            .subscribe()
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self) {
        self.subscriptions.send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Returns how many subscriptions exist.
    pub(crate) fn subscriptions(&self) -> watch::Receiver<usize> {
        self.subscriptions.subscribe()
    }

    /// Returns the state of the watches.
    pub(crate) fn health(&self) -> watch::Receiver<WatchHealth> {
        self.health.subscribe()
    }

    /// Makes the watches list the objects that existed before they began.
    pub(crate) fn want_lists(&self) {
        self.lists_wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
    }

    /// Returns whether the objects that existed before the watches began are needed.
    pub(crate) fn lists_wanted(&self) -> watch::Receiver<bool> {
        self.lists_wanted.subscribe()
    }

    /// Applies `change` to what is known of `attempt`. Forgets the attempt once none of its objects
    /// is left and nothing subscribes to it.
    pub(crate) fn update(&self, attempt: &str, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshots = self.snapshots.lock();
        let entry = snapshots
            .entry(attempt.to_owned())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()));
        entry.send_if_modified(|snapshot| modify(snapshot, change));
        if entry.receiver_count() == 0 && is_over(&entry.borrow()) {
            snapshots.remove(attempt);
        }
    }

    /// Applies `change` to what is known of `attempt`, if the attempt is known.
    pub(crate) fn update_known(&self, attempt: &str, change: impl FnOnce(&mut Snapshot)) {
        if let Some(entry) = self.snapshots.lock().get(attempt) {
            entry.send_if_modified(|snapshot| modify(snapshot, change));
        }
    }

    /// Applies `change` to what is known of each attempt.
    pub(crate) fn update_all(&self, change: impl Fn(&mut Snapshot)) {
        self.snapshots.lock().retain(|_, entry| {
            entry.send_if_modified(|snapshot| modify(snapshot, &change));
            entry.receiver_count() > 0 || !is_over(&entry.borrow())
        });
    }

    /// Applies `change` to the state of the watches.
    pub(crate) fn update_health(&self, change: impl FnOnce(&mut WatchHealth)) {
        self.health.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }

    /// Waits until the watches on Jobs and Pods have begun, after the lists that they need.
    pub(crate) async fn wait_for_watches(&self) {
        let mut health = self.health();
        // An error would mean that the sender is gone, but `self` holds it.
        let _ = health.wait_for(WatchHealth::is_watching).await;
    }
}

/// Applies `change` and returns whether it changed anything.
fn modify(snapshot: &mut Snapshot, change: impl FnOnce(&mut Snapshot)) -> bool {
    let before = snapshot.clone();
    change(snapshot);
    *snapshot != before
}

/// Returns whether nothing is left to watch: the objects are gone, or there never were any.
fn is_over(snapshot: &Snapshot) -> bool {
    snapshot.job_presence != Presence::Here
        && snapshot.pods.iter().all(|observed| observed.presence.is_gone())
}

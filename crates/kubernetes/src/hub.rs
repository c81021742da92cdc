//! One watch each on Jobs, Pods and their Events for all attempts of an installation. The listeners
//! on single attempts share these watches.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use longshore_core::InstallationId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::client::Connection;
use crate::location::Location;
use crate::view::{PodView, Snapshot};
use crate::watching;

/// How long the watches continue after the last listener has left. The next job often comes soon,
/// and an idle host should cause no load.
const LINGER: Duration = Duration::from_secs(15);

/// The objects that a set of watches covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The namespace; `None` is the one of the kubeconfig's context.
    pub(crate) namespace: Option<String>,
    /// The installation whose label the objects carry.
    pub(crate) installation: InstallationId,
}

/// All watches of a runner.
#[derive(Debug)]
pub(crate) struct Hub {
    connection: Arc<Connection>,
    groups: Mutex<HashMap<Scope, Running>>,
}

/// A group and the task that runs its watches.
#[derive(Debug)]
struct Running {
    group: Arc<Group>,
    task: AbortHandle,
}

/// The state of a group's watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Whether the existing Jobs have been listed.
    pub(crate) jobs: bool,
    /// Whether the existing Pods have been listed.
    pub(crate) pods: bool,
    /// Whether the Pods' Events are unavailable.
    pub(crate) no_events: bool,
    /// Why a watch is down now.
    pub(crate) trouble: Option<String>,
}

/// The watches of one scope and what they have reported.
#[derive(Debug)]
pub(crate) struct Group {
    /// What is watched.
    pub(crate) scope: Scope,
    attempts: Mutex<HashMap<String, watch::Sender<Snapshot>>>,
    health: watch::Sender<Health>,
    listeners: watch::Sender<usize>,
}

/// A listener on one attempt. While it exists, the watches run.
#[derive(Debug)]
pub(crate) struct Subscription {
    group: Arc<Group>,
    snapshot: watch::Receiver<Snapshot>,
    health: watch::Receiver<Health>,
}

impl Hub {
    /// Creates a hub without any watches.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, groups: Mutex::default() }
    }

    /// Subscribes to the attempt at `location`. Starts the watches of its scope if none run. Must be
    /// called within a runtime.
    pub(crate) fn subscribe(self: &Arc<Self>, location: &Location) -> Subscription {
        let scope = Scope {
            namespace: location.namespace.clone(),
            installation: location.installation.clone(),
        };
        let mut groups = self.groups.lock();
        // A task ends with the runtime that it runs on, and the runner may outlive that runtime.
        groups.retain(|_, running| !running.task.is_finished());
        let running = groups.entry(scope.clone()).or_insert_with(|| {
            let group = Arc::new(Group::new(scope));
            let watching = watching::run(group.clone(), self.connection.clone());
            let idle = idle(Arc::downgrade(self), group.clone());
            let task = tokio::spawn(async move {
                tokio::select! {
                    () = watching => {}
                    () = idle => {}
                }
            });
            Running { group, task: task.abort_handle() }
        });
        let group = running.group.clone();
        // The lock also protects the removal of an idle group, so this count cannot come too late.
        group.listeners.send_modify(|count| *count += 1);
        Subscription {
            snapshot: group.entry(&location.attempt),
            health: group.health.subscribe(),
            group,
        }
    }
}

impl Hub {
    /// Records that this process has removed the attempt at `location`, before any watch reports it.
    pub(crate) fn removed(&self, location: &Location) {
        let scope = Scope::of(location);
        let group = self.groups.lock().get(&scope).map(|running| running.group.clone());
        if let Some(group) = group {
            group.update_known(&location.attempt, |snapshot| snapshot.job_gone(None));
        }
    }
}

impl Scope {
    fn of(location: &Location) -> Self {
        Self { namespace: location.namespace.clone(), installation: location.installation.clone() }
    }
}

/// Completes once there has been no listener for a while, or once there is none and the runner is
/// gone.
async fn idle(hub: Weak<Hub>, group: Arc<Group>) {
    let mut listeners = group.listeners.subscribe();
    loop {
        // An error would mean that the sender is gone, but `group` holds it.
        let _ = listeners.wait_for(|count| *count == 0).await;
        if timeout(LINGER, listeners.wait_for(|count| *count > 0)).await.is_ok() {
            continue;
        }
        let Some(hub) = hub.upgrade() else { return };
        let mut groups = hub.groups.lock();
        if *group.listeners.borrow() == 0 {
            groups.remove(&group.scope);
            return;
        }
    }
}

impl Health {
    /// Returns whether all existing objects have been reported. Before that, a Job may be known
    /// without its Pod.
    pub(crate) const fn complete(&self) -> bool {
        self.jobs && self.pods
    }
}

impl Group {
    fn new(scope: Scope) -> Self {
        Self {
            scope,
            attempts: Mutex::default(),
            health: watch::Sender::new(Health::default()),
            listeners: watch::Sender::new(0),
        }
    }

    fn entry(&self, attempt: &str) -> watch::Receiver<Snapshot> {
        let mut attempts = self.attempts.lock();
        attempts
            .entry(attempt.to_owned())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()))
            .subscribe()
    }

    /// Applies `change` to what is known of `attempt`. Forgets the attempt once none of its objects
    /// is left and nobody listens.
    pub(crate) fn update(&self, attempt: &str, change: impl FnOnce(&mut Snapshot)) {
        let mut attempts = self.attempts.lock();
        let entry = attempts
            .entry(attempt.to_owned())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()));
        entry.send_if_modified(|snapshot| modify(snapshot, change));
        if entry.receiver_count() == 0 && is_over(&entry.borrow()) {
            attempts.remove(attempt);
        }
    }

    /// Applies `change` to what is known of `attempt`, if the attempt is known.
    pub(crate) fn update_known(&self, attempt: &str, change: impl FnOnce(&mut Snapshot)) {
        if let Some(entry) = self.attempts.lock().get(attempt) {
            entry.send_if_modified(|snapshot| modify(snapshot, change));
        }
    }

    /// Applies `change` to what is known of each attempt.
    pub(crate) fn update_all(&self, change: impl Fn(&mut Snapshot)) {
        self.attempts.lock().retain(|_, entry| {
            entry.send_if_modified(|snapshot| modify(snapshot, &change));
            entry.receiver_count() > 0 || !is_over(&entry.borrow())
        });
    }

    /// Applies `change` to the state of the watches.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Health)) {
        self.health.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }

    /// Waits until the existing Jobs and Pods have been listed.
    pub(crate) async fn listed(&self) {
        let mut health = self.health.subscribe();
        // An error would mean that the sender is gone, but `self` holds it.
        let _ = health.wait_for(Health::complete).await;
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
    snapshot.job_presence != crate::view::Presence::Here
        && snapshot.pods.iter().all(|seen| seen.presence.is_gone())
}

impl Subscription {
    /// Returns what is known now.
    pub(crate) fn now(&mut self) -> Snapshot {
        self.snapshot.borrow_and_update().clone()
    }

    /// Returns the state of the watches now.
    pub(crate) fn health(&mut self) -> Health {
        self.health.borrow_and_update().clone()
    }

    /// Records the end of `attempt` if `pods`, the answer to a request, shows it. Nothing else is
    /// taken from `pods`, as the watch may since have reported something newer.
    pub(crate) fn saw(&self, attempt: &str, pods: &[Pod]) {
        let over = |pod: &PodView| pod.ended || pod.container.terminated.is_some();
        for pod in pods.iter().map(PodView::from).filter(over) {
            self.group.update_known(attempt, |snapshot| {
                let known = snapshot.pods.iter().find(|seen| seen.pod.uid == pod.uid);
                if known.is_none_or(|known| !known.presence.is_gone()) {
                    snapshot.pod_seen(pod);
                }
            });
        }
    }

    /// Waits until something about the attempt or the state of the watches changes.
    pub(crate) async fn changed(&mut self) {
        // An error would mean that a sender is gone. The group, which this subscription holds,
        // keeps them: the attempt's own at least as long as it has a receiver, such as this one.
        tokio::select! {
            _ = self.snapshot.changed() => {}
            _ = self.health.changed() => {}
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.group.listeners.send_modify(|count| *count = count.saturating_sub(1));
    }
}

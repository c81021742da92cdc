//! One watch each on Jobs, Pods and their Events for all attempts of an installation, shared out
//! to whoever listens for one of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use longshore_core::InstallationId;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::client::Connection;
use crate::place::Place;
use crate::view::{PodView, Snapshot};
use crate::watching;

/// How long the watches go on after the last listener left: the next job most often comes soon,
/// and an idle host shall cost nothing.
const LINGER: Duration = Duration::from_secs(15);

/// Which objects a set of watches covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The namespace; none for the one of the kubeconfig's context.
    pub(crate) namespace: Option<String>,
    /// The installation whose label they carry.
    pub(crate) installation: InstallationId,
}

/// All watches of a runner.
#[derive(Debug)]
pub(crate) struct Hub {
    connection: Arc<Connection>,
    groups: Mutex<HashMap<Scope, Running>>,
}

/// A group and the task that keeps its watches.
#[derive(Debug)]
struct Running {
    group: Arc<Group>,
    task: AbortHandle,
}

/// Whether a group's watches stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// Whether the Jobs that there are have been listed.
    pub(crate) jobs: bool,
    /// Whether the Pods that there are have been listed.
    pub(crate) pods: bool,
    /// Whether the Pods' Events cannot be had.
    pub(crate) no_events: bool,
    /// Why a watch does not stand now.
    pub(crate) trouble: Option<String>,
}

/// The watches of one scope and what they have told.
#[derive(Debug)]
pub(crate) struct Group {
    /// What is watched.
    pub(crate) scope: Scope,
    attempts: Mutex<HashMap<String, watch::Sender<Snapshot>>>,
    health: watch::Sender<Health>,
    listeners: watch::Sender<usize>,
}

/// One listener on one attempt. While it lives, the watches stand.
#[derive(Debug)]
pub(crate) struct Subscription {
    group: Arc<Group>,
    snapshot: watch::Receiver<Snapshot>,
    health: watch::Receiver<Health>,
}

/// What poisons these locks is a panic between two assignments to a map; the map is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// No watches yet.
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, groups: Mutex::default() }
    }

    /// Listens for the attempt at `place`, from within a runtime. Starts the watches of its scope
    /// if none stand.
    pub(crate) fn subscribe(self: &Arc<Self>, place: &Place) -> Subscription {
        let scope =
            Scope { namespace: place.namespace.clone(), installation: place.installation.clone() };
        let mut groups = lock(&self.groups);
        // A task ends early with the runtime that it runs on; the runner may outlive that.
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
        // Counted under the lock under which an idle group is removed.
        group.listeners.send_modify(|count| *count += 1);
        Subscription {
            snapshot: group.entry(&place.attempt),
            health: group.health.subscribe(),
            group,
        }
    }
}

impl Hub {
    /// This process has removed the attempt at `place`: nobody learns that later than we do.
    pub(crate) fn removed(&self, place: &Place) {
        let scope = Scope::of(place);
        let group = lock(&self.groups).get(&scope).map(|running| running.group.clone());
        if let Some(group) = group {
            group.update_known(&place.attempt, |snapshot| snapshot.job_gone(None));
        }
    }
}

impl Scope {
    fn of(place: &Place) -> Self {
        Self { namespace: place.namespace.clone(), installation: place.installation.clone() }
    }
}

/// Ends once nobody has listened for a while, or the runner is gone and nobody listens.
async fn idle(hub: Weak<Hub>, group: Arc<Group>) {
    let mut listeners = group.listeners.subscribe();
    loop {
        // An error means that the sender is gone; `group` holds it.
        let _ = listeners.wait_for(|count| *count == 0).await;
        if timeout(LINGER, listeners.wait_for(|count| *count > 0)).await.is_ok() {
            continue;
        }
        let Some(hub) = hub.upgrade() else { return };
        let mut groups = lock(&hub.groups);
        if *group.listeners.borrow() == 0 {
            groups.remove(&group.scope);
            return;
        }
    }
}

impl Health {
    /// Whether all that there was has been told. Before, a Job may be known without its Pod.
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
        let mut attempts = lock(&self.attempts);
        attempts
            .entry(attempt.to_owned())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()))
            .subscribe()
    }

    /// Changes what is known of `attempt`, and forgets it once nothing is left and nobody listens.
    pub(crate) fn update(&self, attempt: &str, change: impl FnOnce(&mut Snapshot)) {
        let mut attempts = lock(&self.attempts);
        let entry = attempts
            .entry(attempt.to_owned())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()));
        entry.send_if_modified(|snapshot| modify(snapshot, change));
        if entry.receiver_count() == 0 && is_over(&entry.borrow()) {
            attempts.remove(attempt);
        }
    }

    /// Changes what is known of `attempt` if anything is.
    pub(crate) fn update_known(&self, attempt: &str, change: impl FnOnce(&mut Snapshot)) {
        if let Some(entry) = lock(&self.attempts).get(attempt) {
            entry.send_if_modified(|snapshot| modify(snapshot, change));
        }
    }

    /// Changes what is known of each attempt.
    pub(crate) fn update_all(&self, change: impl Fn(&mut Snapshot)) {
        lock(&self.attempts).retain(|_, entry| {
            entry.send_if_modified(|snapshot| modify(snapshot, &change));
            entry.receiver_count() > 0 || !is_over(&entry.borrow())
        });
    }

    /// Changes the watches' state.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Health)) {
        self.health.send_if_modified(|health| {
            let before = health.clone();
            change(health);
            *health != before
        });
    }

    /// Waits until the Jobs and Pods that there are have been listed.
    pub(crate) async fn listed(&self) {
        let mut health = self.health.subscribe();
        // An error means that the sender is gone; `self` holds it.
        let _ = health.wait_for(Health::complete).await;
    }
}

/// Whether `change` changed anything.
fn modify(snapshot: &mut Snapshot, change: impl FnOnce(&mut Snapshot)) -> bool {
    let before = snapshot.clone();
    change(snapshot);
    *snapshot != before
}

/// Whether nothing more can come: all that there was is gone, or nothing ever was.
fn is_over(snapshot: &Snapshot) -> bool {
    snapshot.job_presence != crate::view::Presence::Here
        && snapshot.pods.iter().all(|seen| seen.presence.is_gone())
}

impl Subscription {
    /// What is known now.
    pub(crate) fn now(&mut self) -> Snapshot {
        self.snapshot.borrow_and_update().clone()
    }

    /// Whether the watches stand now.
    pub(crate) fn health(&mut self) -> Health {
        self.health.borrow_and_update().clone()
    }

    /// Notes the end of `attempt` if somebody who asked saw it in `pods`. Other news may be older
    /// than what the watch has told since.
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

    /// Waits until something else is known, or the watches' state changes.
    pub(crate) async fn changed(&mut self) {
        // Errors mean that a sender is gone. The group holds them all while this lives, but for
        // the attempt's own, which is kept while it has a receiver: this one.
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

//! What the watches of one scope have reported.

use std::collections::HashMap;
use std::time::Duration;

use longshore_core::InstallationId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::job_view::JobView;
use crate::location::Location;
use crate::snapshot::{Presence, Snapshot};
use crate::target::ClusterId;

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
    /// Whether anything has needed the watch on Jobs; see [`JobsWatch`].
    pub(crate) jobs_needed: bool,
    /// The watch on Pods.
    pub(crate) pods: KindHealth,
    /// Whether the watch on the Pods' Events has begun.
    pub(crate) events_watched: bool,
    /// Whether the Pods' Events are unavailable.
    pub(crate) events_unavailable: bool,
    /// Why a watch is down now.
    pub(crate) failure: Option<String>,
}

/// The watch on Jobs, which a short job does not need: its launch has the Job from the answers to its
/// own requests, and the watch on Pods shows the rest. Before an end counts that depends on the Job, the
/// Job is read.
///
/// Once the watch is needed, it begins with the first Job that a launch has created, so that it misses
/// no change of this Job or a later one.
#[derive(Debug, Default)]
struct JobsWatch {
    /// Whether something needs it.
    wanted: bool,
    /// Whether it has begun, or is about to: what it reports is then the only source.
    begun: bool,
    /// The version of the first Job that was created before.
    first: Option<String>,
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
    jobs: watch::Sender<JobsWatch>,
}

impl WatchHealth {
    /// Returns whether all existing objects have been reported. Before that, a Job may be known
    /// without its Pod.
    pub(crate) const fn is_synced(&self) -> bool {
        self.jobs.listed && self.pods.listed
    }

    /// Returns whether the watch on Pods has begun, and the one on Jobs if it is needed.
    pub(crate) const fn is_watching(&self) -> bool {
        (self.jobs.watched || !self.jobs_needed) && self.pods.watched
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
            jobs: watch::Sender::new(JobsWatch::default()),
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

    /// Makes the watch on Jobs begin, if it has not.
    pub(crate) fn want_jobs(&self) {
        self.jobs.send_if_modified(|jobs| !std::mem::replace(&mut jobs.wanted, true));
    }

    /// Records a Job from the answer to a request of the attempt's own launch, unless the watch on Jobs
    /// reports it. `created` is its version, if the request was its creation.
    pub(crate) fn record_answer(&self, attempt: &str, job: JobView, created: Option<String>) {
        self.jobs.send_if_modified(|jobs| {
            if jobs.begun {
                return false;
            }
            // Under the lock, as what the watch reports is newer.
            self.update_known(attempt, |snapshot| snapshot.apply_job(job));
            let is_first = jobs.first.is_none() && created.is_some();
            if is_first {
                jobs.first = created;
            }
            is_first
        });
    }

    /// Waits until the watch on Jobs is needed: something wants it, or `later` has passed since the
    /// first launch created its Job. Returns the version after which the watch begins; `None` if it
    /// must begin with a list.
    pub(crate) async fn jobs_needed(&self, later: Duration) -> Option<String> {
        let (mut lists, mut jobs) = (self.lists_wanted(), self.jobs.subscribe());
        let mut created = self.jobs.subscribe();
        let later = async {
            let _ = created.wait_for(|jobs| jobs.first.is_some()).await;
            sleep(later).await;
        };
        // An error would mean that a sender is gone, but `self` holds them.
        tokio::select! {
            _ = lists.wait_for(|wanted| *wanted) => {}
            _ = jobs.wait_for(|jobs| jobs.wanted) => {}
            () = later => {}
        }
        let mut first = None;
        self.jobs.send_modify(|jobs| {
            jobs.begun = true;
            first = jobs.first.take();
        });
        self.update_health(|health| health.jobs_needed = true);
        first
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::names::Commit;
    use crate::outcome::tests::job;

    const LATER: Duration = Duration::from_secs(5);

    fn cache() -> Arc<ScopeCache> {
        let installation = InstallationId::random();
        Arc::new(ScopeCache::new(Scope { namespace: None, cluster: None, installation }))
    }

    /// The first job of a process cost a watch that showed nothing which the launch did not know.
    #[tokio::test(start_paused = true)]
    async fn a_short_job_needs_no_watch_on_jobs() {
        let cache = cache();
        let snapshot = cache.subscribe("a-1");
        let (waiting, begun) = (Arc::clone(&cache), Instant::now());
        let needed = tokio::spawn(async move { waiting.jobs_needed(LATER).await });
        let open = JobView { commit: Some(Commit::Open), ..job() };
        cache.record_answer("a-1", open, Some("7".to_owned()));
        cache.record_answer("a-1", job(), None);
        assert_eq!(snapshot.borrow().job.as_deref(), Some(&job()), "its release is known");
        cache.record_answer("b-1", job(), Some("9".to_owned()));
        assert!(!cache.health().borrow().jobs_needed);
        assert_eq!(needed.await.unwrap().as_deref(), Some("7"), "nothing since then is missed");
        assert_eq!(begun.elapsed(), LATER);
        let other = JobView { commit: Some(Commit::Open), ..job() };
        cache.record_answer("a-1", other, None);
        assert_eq!(snapshot.borrow().job.as_deref(), Some(&job()), "the watch is newer");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watch_on_jobs_begins_at_once_if_something_needs_it() {
        let (without_creation, begun) = (cache(), Instant::now());
        without_creation.want_lists();
        assert_eq!(without_creation.jobs_needed(LATER).await, None, "it begins with a list");
        let created = cache();
        created.record_answer("a-1", job(), Some("7".to_owned()));
        created.want_jobs();
        assert_eq!(created.jobs_needed(LATER).await.as_deref(), Some("7"));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

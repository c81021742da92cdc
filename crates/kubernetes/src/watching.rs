//! The watches themselves, which survive failures of the API server and of the connection to it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::client::{Cluster, Connection};
use crate::error::code;
use crate::events;
use crate::hub::Group;
use crate::names;
use crate::view::{JobView, PodView, Presence};

/// How long one watch request lasts. The server then ends it, and the next request resumes there.
/// The time is short, so that a silently broken connection is soon detected. Three requests in that
/// time serve all jobs.
pub(crate) const WATCH_SECONDS: u32 = 30;
/// The number of consecutive failures after which the watch begins again with a list. A list is
/// right whatever went wrong, even after a restored backup: the server's versions have then gone
/// back, and it answers 504 "Too large resource version" to every resumption.
pub(crate) const FAILURES_BEFORE_LIST: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Watches what `group` covers, forever.
pub(crate) async fn run(group: Arc<Group>, connection: Arc<Connection>) {
    tokio::join!(
        follow::<Job>(&group, &connection),
        follow::<Pod>(&group, &connection),
        events::follow(&group, &connection),
    );
}

/// A kind of object that is watched.
trait Watched:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
    /// Records the current state of an object.
    fn seen(self, group: &Group);
    /// Records that an object was deleted; `self` is its last state.
    fn deleted(self, group: &Group);
    /// Records that all existing objects have been listed; `listed` contains their uids.
    fn listed(group: &Group, listed: &HashSet<String>);
}

impl Watched for Job {
    fn seen(self, group: &Group) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            group.update(attempt, |snapshot| snapshot.job_seen(JobView::from(&self)));
        }
    }

    fn deleted(self, group: &Group) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            group.update(attempt, |snapshot| snapshot.job_gone(Some(JobView::from(&self))));
        }
    }

    fn listed(group: &Group, listed: &HashSet<String>) {
        group.update_all(|snapshot| {
            let here = snapshot.job_presence == Presence::Here;
            if here && snapshot.job.as_ref().is_some_and(|job| !listed.contains(&job.uid)) {
                snapshot.job_gone(None);
            }
        });
        group.note(|health| health.jobs = true);
    }
}

impl Watched for Pod {
    fn seen(self, group: &Group) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            group.update(attempt, |snapshot| snapshot.pod_seen(PodView::from(&self)));
        }
    }

    fn deleted(self, group: &Group) {
        if let Some(attempt) = self.labels().get(names::ATTEMPT) {
            group.update(attempt, |snapshot| snapshot.pod_deleted(PodView::from(&self)));
        }
    }

    fn listed(group: &Group, listed: &HashSet<String>) {
        group.update_all(|snapshot| snapshot.pods_listed(|uid| listed.contains(uid)));
        group.note(|health| health.pods = true);
    }
}

async fn follow<K: Watched>(group: &Group, connection: &Connection) {
    let mut pause = Pause::default();
    loop {
        let cluster = match connection.cluster().await {
            Ok(cluster) => cluster,
            Err(error) => {
                group.note(|health| health.trouble = Some(error.to_string()));
                pause.wait().await;
                continue;
            }
        };
        watch::<K>(group, &cluster, &mut pause).await;
        // The kubeconfig or the token may have been renewed.
        connection.forget().await;
    }
}

/// Watches until there have been too many consecutive failures.
async fn watch<K: Watched>(group: &Group, cluster: &Cluster, pause: &mut Pause) {
    let namespace = group.scope.namespace.as_deref().unwrap_or(&cluster.namespace);
    let api: Api<K> = Api::namespaced(cluster.watcher.clone(), namespace);
    let ours = format!("{}={}", names::INSTALLATION, group.scope.installation);
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
                    pause.reset();
                    group.note(|health| health.trouble = None);
                }
                take(group, event, &mut listed);
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, failures, "a watch failed and is resumed");
                group.note(|health| health.trouble = Some(error.to_string()));
                pause.wait().await;
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

fn take<K: Watched>(group: &Group, event: Event<K>, listed: &mut HashSet<String>) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            listed.extend(object.uid());
            object.seen(group);
        }
        Event::InitDone => {
            K::listed(group, listed);
            listed.clear();
        }
        Event::Apply(object) => object.seen(group),
        Event::Delete(object) => object.deleted(group),
    }
}

/// A growing, jittered pause between retries.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    tries: u32,
}

impl Pause {
    /// Waits, each time longer.
    pub(crate) async fn wait(&mut self) {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_PAUSE);
        self.tries += 1;
        // Between half of the pause and all of it, so that many clients do not come back at once.
        // Each hasher has a random seed.
        let share = RandomState::new().hash_one(self.tries) % 512 + 512;
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_millis(millis.saturating_mul(share) / 1024)).await;
    }

    /// Starts again with the shortest pause, after a success.
    pub(crate) const fn reset(&mut self) {
        self.tries = 0;
    }
}

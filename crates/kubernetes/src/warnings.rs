//! The Job controller's warnings about an attempt's Job.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::runtime::watcher::{Config, watcher};
use kube::runtime::{WatchStreamExt, watcher::DefaultBackoff};
use tokio::time::{Instant, sleep_until};

use crate::client::Cluster;
use crate::location::Location;

/// How long the Job controller may take to create a Pod before the Job's Events are requested. It
/// usually takes 50 ms, so most jobs cost no request.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);
/// Messages are cut to this length. The API server accepts at most 1 KiB
/// (`pkg/apis/core/validation/events.go`, `NoteLengthLimit`).
const LONGEST: usize = 1024;

type Messages = Pin<Box<dyn Stream<Item = String> + Send>>;

/// The warnings about one Job, which are watched once the Job has been without a Pod for a while.
pub(crate) struct JobWarnings {
    due: Instant,
    watch: Option<Messages>,
    api: Api<Event>,
    selector: String,
    last: Option<String>,
}

impl JobWarnings {
    /// Creates the watch for the Job with `uid`.
    pub(crate) fn new(cluster: &Cluster, location: &Location, uid: &str) -> Self {
        let api = Api::namespaced(cluster.watcher.clone(), cluster.namespace(location));
        let selector = format!("involvedObject.uid={uid},type=Warning");
        Self { due: Instant::now() + SILENCE, watch: None, api, selector, last: None }
    }

    /// Waits for the next warning. Never completes if there is none, or if Longshore may not read
    /// Events. Cancel safe.
    pub(crate) async fn next(&mut self) -> String {
        sleep_until(self.due).await;
        let (api, selector) = (&self.api, &self.selector);
        let watch = self.watch.get_or_insert_with(|| messages(api.clone(), selector));
        match watch.next().await {
            Some(message) => {
                self.last = Some(message.clone());
                message
            }
            None => std::future::pending().await,
        }
    }

    /// Returns the last warning that [`next`](Self::next) returned.
    pub(crate) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }
}

fn messages(api: Api<Event>, selector: &str) -> Messages {
    watcher(api, Config::default().fields(selector))
        .backoff(DefaultBackoff::default())
        .applied_objects()
        .filter_map(async |event| {
            let mut message = event.ok()?.message?;
            message.truncate(message.floor_char_boundary(LONGEST));
            Some(message)
        })
        .boxed()
}

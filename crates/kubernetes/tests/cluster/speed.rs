//! How soon a failure ends the attempt if waiting does not help.

use std::collections::BTreeMap;
use std::env;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use longshore_core::{ErrorKind, ImageReason};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{Body, Case, Checked, check, images, launch, refused};

/// The number of timed launches, unless `LONGSHORE_TIMED_LAUNCHES` sets it.
const LAUNCHES: u32 = 7;
/// The limit for the median on an idle machine. A busy machine may delay a single launch.
const LIMIT: Duration = Duration::from_secs(1);

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("a_definite_failure_ends_the_attempt_within_a_second", |c| {
        a_definite_failure_ends_the_attempt_within_a_second(c).boxed()
    })]
}

/// When each step was first seen, by any of the watches.
#[derive(Default)]
struct Steps(Mutex<BTreeMap<&'static str, Instant>>);

impl Steps {
    fn note(&self, step: &'static str) {
        let mut steps = self.0.lock();
        steps.entry(step).or_insert_with(Instant::now);
    }

    fn at(&self, step: &str) -> Option<Instant> {
        self.0.lock().get(step).copied()
    }

    /// Records the steps of the Pods of `case` whose names begin with `name`.
    async fn watch(&self, case: &Case, name: &str) {
        let labels = format!("longshore.dev/installation={}", case.installation);
        let config = watcher::Config::default().labels(&labels);
        let mut pods = pin!(watcher(case.lab.pods(), config).default_backoff());
        let events: Api<Event> = Api::namespaced(case.lab.client.clone(), &case.lab.namespace);
        let config = watcher::Config::default().fields("involvedObject.kind=Pod,reason=Failed");
        let mut events = pin!(watcher(events, config).default_backoff().applied_objects());
        let of_pods = async {
            while let Some(event) = pods.next().await {
                match event {
                    Ok(watcher::Event::Apply(pod)) => self.look(&pod),
                    Ok(watcher::Event::Delete(_)) => self.note("7 deleted"),
                    _ => {}
                }
            }
        };
        let of_events = async {
            while let Some(event) = events.next().await {
                let Ok(event) = event else { continue };
                let of = event.involved_object.name.as_deref().unwrap_or_default();
                let said = event.message.as_deref().unwrap_or_default();
                if of.starts_with(name) && said.starts_with("Failed to pull") {
                    self.note("1 event");
                }
            }
        };
        tokio::join!(of_pods, of_events);
    }

    fn look(&self, pod: &Pod) {
        let status = pod.status.clone().unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        let waiting = containers.into_iter().filter_map(|c| c.state?.waiting?.reason);
        if waiting.into_iter().any(|reason| reason == "ErrImagePull") {
            self.note("2 status");
        }
        let generation = pod.metadata.generation.unwrap_or_default();
        if pod.metadata.deletion_timestamp.is_some() {
            self.note("3 deletion");
            if status.observed_generation.unwrap_or_default() >= generation {
                self.note("4 ending");
            }
        }
        if status.phase.as_deref() == Some("Failed") {
            self.note("6 phase");
        }
    }
}

#[expect(clippy::print_stdout, reason = "the timings are what is looked at when it fails")]
async fn a_definite_failure_ends_the_attempt_within_a_second(case: Arc<Case>) -> Checked {
    let given = env::var("LONGSHORE_TIMED_LAUNCHES").ok();
    let count = given.map_or(Ok(LAUNCHES), |count| count.parse())?;
    let runner = case.lab.runner();
    let mut took = Vec::new();
    for n in 0..count {
        let attempt = images::pulling(&case, "localhost:5000/longshore/no-such-image:1")?;
        let steps = Steps::default();
        let name = attempt.object_name();
        let launching = async {
            // The kubelet asks the runtime once a second, so each launch begins at a different
            // offset within that second. The pause also lets the watches of this test start.
            tokio::time::sleep(Duration::from_millis(500 + u64::from(n * 370 % 1000))).await;
            let begun = Instant::now();
            let answer = launch(&runner, &attempt).await;
            steps.note("5 answer");
            tokio::time::sleep(Duration::from_millis(1200)).await;
            (begun, answer)
        };
        let (begun, answer) = tokio::select! {
            answer = launching => answer,
            () = steps.watch(&case, &name) => return Err("the watch ended".into()),
        };
        let error = refused(answer)?;
        let not_found = ErrorKind::ImageUnavailable(ImageReason::NotFound);
        check(error.kind() == not_found, || format!("{error:?}"))?;
        let told = steps.at("1 event").into_iter().chain(steps.at("2 status")).min();
        let (told, answered) = told.zip(steps.at("5 answer")).ok_or("nothing was reported")?;
        took.push(answered.saturating_duration_since(told));
        println!("{}", timeline(&steps, begun));
    }
    took.sort();
    println!("from the first report to the answer: {took:?}");
    let median = took.get(took.len() / 2).ok_or("no launch")?;
    let load = longshore_conformance::load();
    check(*median < LIMIT * load, || format!("{took:?} at a load of {load}"))
}

/// Returns the steps in milliseconds since `begun`.
fn timeline(steps: &Steps, begun: Instant) -> String {
    let steps = steps.0.lock();
    let each =
        steps.iter().map(|(step, at)| format!("{step} {}", at.duration_since(begun).as_millis()));
    each.collect::<Vec<_>>().join(", ")
}

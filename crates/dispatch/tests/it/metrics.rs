//! The metrics that a recorder receives, as `docs/metrics.md` lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use longshore_conformance::simulated::{
    LaunchStep, ProbeStep, Refusal, Run, Script, SimulatedRunner, World,
};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{Attempt, ErrorKind, Event, LaunchContext, LaunchError, Runner, Started};
use longshore_dispatch::{MetricsObserver, Settings, Submission, WhenFull};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::time::sleep;

use crate::recovering::{Setup, kill};
use crate::support::*;

const DOCUMENT: &str = include_str!("../../../../docs/metrics.md");

/// A runner that pulls for two seconds before it launches.
#[derive(Debug)]
struct Pulls(SimulatedRunner);

#[async_trait::async_trait]
impl Forward for Pulls {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> Result<Started, LaunchError> {
        for current in [0, 5] {
            context.events.emit(Event::Pulling { current, total: Some(5) });
            sleep(SECOND).await;
        }
        context.events.emit(Event::Pulled);
        // The events are passed on while the launch waits.
        sleep(SECOND).await;
        self.0.launch(attempt, context).await
    }
}

/// A metric: its name, its labels, and its value or values in seconds.
type Found = BTreeMap<(String, Vec<(String, String)>), (MetricKind, Vec<f64>)>;

/// Does `work` on a runtime with paused time, and returns the metrics at its end.
fn recorded(work: impl Future<Output = ()>) -> Found {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(work);
    let all = snapshots.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let (kind, key) = key.into_parts();
        let labels = key.labels().map(|l| (l.key().to_owned(), l.value().to_owned())).collect();
        let values = match value {
            DebugValue::Counter(count) => vec![f64::from(u32::try_from(count).unwrap())],
            DebugValue::Gauge(value) => vec![value.into_inner()],
            DebugValue::Histogram(values) => values.into_iter().map(f64::from).collect(),
        };
        ((key.name().to_owned(), labels), (kind, values))
    })
    .collect()
}

/// Runs jobs that meet every metric.
async fn scenes() {
    let observer = Arc::new(MetricsObserver::new());
    let world = World::new();
    let away = Refusal::new(ErrorKind::Unavailable).retry_after(10 * SECOND);
    let probes = [ProbeStep::Fail(away), ProbeStep::Well].into();
    let first = world.runner(name("first"), Script { probes, ..Script::default() });
    let runs = [Run::exits(7, MINUTE)].into();
    let lost = LaunchStep::AnswerLost { effect: None, answer: SECOND };
    let script = Script { runs, latency: SECOND, ..Script::default() };
    let second = world.runner(name("second"), script);
    let dispatcher = builder([first]).runner(Arc::new(Forwarding(Pulls(second))));
    let dispatcher = dispatcher.observer(observer.clone()).build().unwrap();
    dispatcher.submit(job()).await.unwrap().end().await;
    sleep(MINUTE).await;
    let mut nowhere = job();
    nowhere.container = None;
    nowhere.process = None;
    dispatcher.submit(nowhere).await.unwrap_err();
    // A job that another process has left, on a runner whose events break off.
    let setup = Setup::new(Script { settles: [].into(), ..launches([lost]) });
    let owner = setup.dispatcher();
    let id = owner.submit(job()).await.unwrap().id().clone();
    kill(&owner).await;
    let other = builder([setup.runner.clone()]).observer(observer);
    let other = other.journal(setup.journal.clone()).installation("here".parse().unwrap());
    let other = other.build().unwrap();
    other.attach(&id).await.unwrap().end().await;
}

/// Runs two jobs where there is a place for one.
async fn queue() {
    let observer = Arc::new(MetricsObserver::new());
    let mut settings = Settings::default();
    settings.max_jobs = NonZeroU32::MIN;
    let runner = World::new().runner(name("only"), Script::default());
    let dispatcher = builder([runner]).settings(settings).observer(observer).build().unwrap();
    let first = dispatcher.submit(job()).await.unwrap();
    let waiting = Submission::new(job()).when_full(WhenFull::Wait(60 * MINUTE));
    let second = dispatcher.submit(waiting).await.unwrap();
    first.end().await;
    second.end().await;
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn each_metric_has_the_documented_type_and_labels() {
    let found = recorded(async {
        scenes().await;
        queue().await;
    });
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeMap<&str, (&str, BTreeSet<&str>)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let labels = cells[2].split(", ").map(|label| label.trim_matches('`'));
            let labels = labels.filter(|label| *label != "none").collect();
            (cells[0].trim_end_matches('`'), (cells[1], labels))
        })
        .collect();
    for ((name, labels), (kind, _)) in &found {
        let (documented_kind, documented_labels) =
            documented.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not documented"));
        let kind = format!("{kind:?}").to_lowercase();
        assert_eq!(kind, *documented_kind, "{name}");
        let labels: BTreeSet<&str> = labels.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(labels, *documented_labels, "{name}");
    }
    let names: BTreeSet<&str> = found.keys().map(|(name, _)| name.as_str()).collect();
    let missing: Vec<_> = documented.keys().filter(|name| !names.contains(*name)).collect();
    // These runners send no requests, and nothing goes wrong with them that changes no result.
    assert_eq!(missing, [&"longshore_api_requests_total", &"longshore_trouble_total"]);
}

#[test]
fn jobs_are_counted_and_timed_by_runner() {
    let found = recorded(scenes());
    let value = |name: &str, pairs: &[(&str, &str)]| {
        let key = (name.to_owned(), labels(pairs));
        found.get(&key).unwrap_or_else(|| panic!("no {name} in {found:#?}")).1.clone()
    };
    let (first, second) = (("runner", "first"), ("runner", "second"));
    assert_eq!(value("longshore_jobs_submitted_total", &[]), [1.0]);
    assert_eq!(value("longshore_jobs_taken_up_total", &[]), [1.0]);
    assert_eq!(value("longshore_jobs_in_flight", &[]), [0.0]);
    let ended = value("longshore_jobs_ended_total", &[second, ("outcome", "Exited")]);
    assert_eq!(ended, [1.0]);
    let passed = [first, ("reason", "Unavailable")];
    assert_eq!(value("longshore_passed_over_total", &passed), [1.0]);
    assert_eq!(value("longshore_breaker_open", &[first]), [0.0], "it is back");
    let probes = |result| value("longshore_probes_total", &[first, ("result", result)]);
    assert_eq!((probes("Unavailable"), probes("ok")), (vec![1.0], vec![1.0]));
    assert_eq!(value("longshore_pulls_total", &[second]), [1.0], "not one for each event");
    assert_eq!(value("longshore_pull_duration_seconds", &[second]), [2.0]);
    let launch = value("longshore_launch_duration_seconds", &[second]);
    assert!(launch[0] >= 4.0 && launch[0] < 10.0, "two pulling, two until it started: {launch:?}");
    let run = value("longshore_run_duration_seconds", &[second, ("outcome", "Exited")]);
    assert_eq!(run, [60.0]);
}

#[test]
fn a_job_that_waited_for_a_place_no_longer_counts_as_queued() {
    let found = recorded(queue());
    assert_eq!(found[&("longshore_jobs_queued".to_owned(), labels(&[]))].1, [0.0]);
}

//! Tests of the suite: a correct runner passes it, and it reports what it finds.
#![cfg(test)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use libtest_mimic::Arguments;
use longshore_core::InstallationId;

use super::Flaw::{self, *};
use super::fixture::{FAST, Mine, SLOW};
use super::signals;
use crate::bench::{Bench, World};
use crate::case::Case;
use crate::failure::Checked;
use crate::suite::Settings;
use crate::{Unsupported, cases, suite};

/// Returns the result of a case, or `None` if the toy cannot do what it needs.
pub(super) async fn outcome_of(case: &Case, world: &Arc<World>) -> Option<Checked> {
    let runner = world.fixture().runner().await.unwrap();
    if case.unsupported(&*runner, world.fixture()).is_some() {
        return None;
    }
    let capabilities = *runner.capabilities();
    Some(suite::bounded(case, Arc::new(Bench::new(Arc::clone(world), capabilities))).await)
}

/// Returns a world with a toy that has `flaw`.
pub(super) fn world(flaw: Option<Flaw>, start_delay: Duration, patience: u64) -> Arc<World> {
    let patience = Duration::from_secs(patience) + start_delay * 2;
    let fixture = Mine::new(flaw, start_delay, patience);
    let world = World::new(Box::new(fixture), InstallationId::random());
    Arc::new(if flaw.is_some() { world.without_patience_for_load() } else { world })
}

/// Returns the cases that a correct runner fails, and how many it executed.
async fn failures_of_a_correct_runner(
    start_delay: Duration,
    groups: impl IntoIterator<Item = (Vec<Case>, usize)>,
) -> (Vec<String>, usize) {
    let world = world(None, start_delay, 30);
    let mut executed = 0;
    let mut failures = Vec::new();
    for (cases, at_once) in groups {
        let results: Vec<_> = stream::iter(cases)
            .map(|case| {
                let world = Arc::clone(&world);
                async move { (outcome_of(&case, &world).await, case.name) }
            })
            .buffer_unordered(at_once)
            .collect()
            .await;
        executed += results.iter().filter(|(outcome, _)| outcome.is_some()).count();
        let failed = |(outcome, name)| match outcome {
            Some(Err(failure)) => Some(format!("{name}: {failure}")),
            _ => None,
        };
        failures.extend(results.into_iter().filter_map(failed));
    }
    (failures, executed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_runner_passes_every_case() {
    let groups = [(cases::first(), 1), (cases::all(), 12), (cases::last(), 1)];
    let (failures, executed) = failures_of_a_correct_runner(FAST, groups).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(executed > 85, "{executed} cases");
}

/// Without the cases about much output, which do not depend on the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_runner_over_a_slow_backend_passes_every_case() {
    let groups = [(cases::all(), 48), (cases::last(), 1)];
    let (failures, executed) = failures_of_a_correct_runner(SLOW, groups).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(executed > 80, "{executed} cases");
}

/// Ends its threads when it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn of(threads: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..threads {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "keeps every core busy for minutes"]
async fn no_correct_runner_fails_under_a_load_of_sixteen() {
    let _load = Load::of(16);
    for start_delay in [FAST, SLOW] {
        let run = failures_of_a_correct_runner(start_delay, [(cases::all(), 12)]);
        let (failures, executed) =
            tokio::time::timeout(Duration::from_secs(600), run).await.expect("it took too long");
        assert!(failures.is_empty(), "{start_delay:?}: {}", failures.join("\n"));
        assert!(executed > 80, "{executed} cases");
    }
}

/// A shell that ignored TERM ran forever after the runner that had forgotten it was caught.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_runner_leaves_no_process_once_it_is_caught() {
    let world = world(Some(KillsOnlyTheFirstProcess), FAST, 5);
    let capabilities = *world.fixture().runner().await.unwrap().capabilities();
    let bench = Bench::new(Arc::clone(&world), capabilities);
    let run = bench.start_script("setsid sleep 600 & wait").await.unwrap();
    let attempt = run.handle().attempt.clone();
    let until = |holds: fn(usize) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(signals::processes(&attempt).len()) {
            assert!(Instant::now() < deadline, "{:?}", signals::processes(&attempt));
            std::thread::yield_now();
        }
    };
    until(|processes| processes == 2);
    bench.runner().await.unwrap().remove(run.handle()).await.unwrap();
    until(|processes| processes == 1);
    drop((run, bench, world));
    until(|processes| processes == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runner_leaves_behind_is_caught_at_the_end() {
    let world = world(Some(CallsEveryRemovalDone), FAST, 5);
    let case = cases::all().into_iter().find(|case| case.name.ends_with("starts_nothing")).unwrap();
    outcome_of(&case, &world).await.unwrap().unwrap();
    let bench = Arc::new(Bench::new(
        Arc::clone(&world),
        *world.fixture().runner().await.unwrap().capabilities(),
    ));
    bench.run_script("exit 0").await.unwrap();
    for case in cases::last() {
        assert!(outcome_of(&case, &world).await.unwrap().is_err(), "{}", case.name);
    }
}

fn settings(arguments: &[&str], required: &str, report: Option<&Path>) -> Settings {
    Settings {
        arguments: Arguments::from_iter([&["suite", "--logfile=/dev/null"], arguments].concat()),
        required: required.to_owned(),
        report: report.map(Into::into),
    }
}

fn recorded(folder: &Path) -> serde_json::Value {
    let text = std::fs::read(folder.join("conformance-toy.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

async fn no_engine() -> Result<Mine, Unsupported> {
    Err(Unsupported::new("set TOY_HOST"))
}

#[test]
fn without_a_backend_the_suite_fails_only_where_it_is_required() {
    let folder = tempfile::tempdir().unwrap();
    let report = Some(folder.path());
    assert!(suite::run("toy", settings(&[], "docker", report), no_engine).unwrap());
    let record = recorded(folder.path());
    assert_eq!(record["executed"], 0);
    assert_eq!(record["unsupported"][0]["reason"], "set TOY_HOST");
    for required in ["toy", "all", "docker,toy"] {
        assert!(suite::run("toy", settings(&[], required, report), no_engine).is_err());
    }
}

#[test]
fn the_suite_says_whether_a_case_failed() {
    let folder = tempfile::tempdir().unwrap();
    for (flaw, well) in [(None, true), (Some(EndsTwice), false)] {
        let start = || async move { Ok(Mine::new(flaw, FAST, Duration::from_secs(5))) };
        let some = ["the_end_is_told_once", "--test-threads=2"];
        let went_well = suite::run("toy", settings(&some, "toy", Some(folder.path())), start);
        assert_eq!(went_well, Ok(well));
        let record = recorded(folder.path());
        assert_eq!(record["executed"], 1);
        assert_eq!(record["passed"], usize::from(well));
    }
}

#[test]
fn listing_the_cases_needs_no_backend() {
    assert!(suite::run("toy", settings(&["--list"], "all", None), no_engine).unwrap());
}

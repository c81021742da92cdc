//! A test of the tests: the suite passes what is right, and catches what is not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use libtest_mimic::Arguments;
use longshore_core::InstallationId;

use super::Flaw::{self, *};
use super::fixture::Mine;
use super::job;
use crate::bench::{Bench, World};
use crate::case::Case;
use crate::failure::Checked;
use crate::suite::Settings;
use crate::{Unsupported, cases, suite};

/// What becomes of a case; none if the toy cannot do what it needs.
async fn outcome_of(case: &Case, world: &Arc<World>) -> Option<Checked> {
    let capabilities = *world.fixture().runner().await.unwrap().capabilities();
    if case.unsupported(&capabilities, world.fixture()).is_some() {
        return None;
    }
    Some(suite::bounded(case, Arc::new(Bench::new(Arc::clone(world), capabilities))).await)
}

fn world(flaw: Option<Flaw>, patience: u64) -> Arc<World> {
    let fixture = Mine::new(flaw, Duration::from_secs(patience));
    Arc::new(World::new(Box::new(fixture), InstallationId::random()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_runner_passes_every_case() {
    let world = world(None, 30);
    let mut executed = 0;
    let mut failures = Vec::new();
    for (cases, at_once) in [(cases::first(), 1), (cases::all(), 6), (cases::last(), 1)] {
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
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(executed > 75, "{executed} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_runner_is_caught() {
    let caught = [
        (AddsAFinalNewline, "logs::output_without_a_final_newline_comes_whole"),
        (CallsALostJobASuccess, "events::a_job_that_was_never_launched_is_lost"),
        (CallsEveryRemovalDone, "remove::a_running_job_is_killed_and_gone"),
        (EndsTwice, "events::the_end_is_told_once_and_as_the_last"),
        (
            ForgetsItsFence,
            "settle::what_was_never_launched_is_never_started_and_is_refused_from_then_on",
        ),
        (
            ForgetsThatItWasCancelled,
            "cancel::a_job_that_honours_term_ends_as_cancelled_with_its_own_code",
        ),
        (ForgetsTimeouts, "timeout::the_timeout_is_kept_while_nobody_follows"),
        (IgnoresPositions, "logs::a_reader_that_comes_back_goes_on_where_it_stopped"),
        (
            KillsBeforeTheGraceIsOver,
            "cancel::a_job_that_ignores_term_is_killed_after_the_grace_period",
        ),
        (
            KillsOnlyTheFirstProcess,
            "tree::a_cancelled_job_leaves_no_grandchild_in_a_session_of_its_own",
        ),
        (LeaksItsEnvironment, "environment::the_hosts_environment_does_not_leak"),
        (MixesInstallations, "adopt::it_never_finds_another_installations_job"),
        (MixesStreams, "logs::both_streams_come_apart"),
        (ShowsSecrets, "plan::secrets_stand_as_stars_and_show_nowhere_else"),
        (StartsTwice, "launch::launched_again_after_its_end_it_starts_once"),
        (StopsReadingEarly, "logs::after_the_end_it_is_all_there_in_every_instance"),
        (WaitsForTheEnd, "launch::it_returns_once_the_job_has_started"),
    ];
    for (flaw, name) in caught {
        let case = cases::all().into_iter().find(|case| case.name == name).expect(name);
        let outcome = outcome_of(&case, &world(Some(flaw), 5)).await.expect("supported");
        assert!(outcome.is_err(), "{flaw:?} was not caught by {name}");
    }
}

/// A shell that ignored TERM went on for ever once the runner that had forgotten it was caught.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_runner_leaves_no_process_once_it_is_caught() {
    let world = world(Some(KillsOnlyTheFirstProcess), 5);
    let capabilities = *world.fixture().runner().await.unwrap().capabilities();
    let bench = Bench::new(Arc::clone(&world), capabilities);
    let run = bench.start_script("setsid sleep 600 & wait").await.unwrap();
    let attempt = run.handle().attempt.clone();
    let until = |holds: fn(usize) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(job::processes(&attempt).len()) {
            assert!(Instant::now() < deadline, "{:?}", job::processes(&attempt));
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
    let world = world(Some(CallsEveryRemovalDone), 5);
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
        let start = || async move { Ok(Mine::new(flaw, Duration::from_secs(5))) };
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

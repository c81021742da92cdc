//! What a service that embeds the library builds from a configuration and its own parts.
#![cfg(feature = "docker")]

use std::sync::Arc;

use longshore::journal::{Filter, Journal};
use longshore::runner::RunnerName;
use longshore::{Config, Dispatcher, JobSpec};
use longshore_conformance::simulated::{Script, World};

fn name(text: &str) -> RunnerName {
    text.parse().expect("a runner's name")
}

/// A configuration with its state in `folder`.
fn config(folder: &tempfile::TempDir, runners: &[&str]) -> Config {
    let mut config = Config::default();
    config.job.state_directory = Some(folder.path().to_owned());
    config.job.runners = runners.iter().copied().map(name).collect();
    config
}

fn names(dispatcher: &Dispatcher) -> Vec<String> {
    dispatcher.runners().iter().map(|runner| runner.name().to_string()).collect()
}

#[tokio::test]
async fn a_runner_of_ones_own_has_the_place_that_the_configuration_gives_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = Arc::new(World::new().runner(name("farm"), Script::default()));
    for (configured, expected) in [
        (&["farm", "docker"][..], ["farm", "docker"]),
        (&["docker", "farm"], ["docker", "farm"]),
        (&["docker"], ["docker", "farm"]),
    ] {
        let builder = longshore::builder(&config(&folder, configured)).expect("a builder");
        let dispatcher = builder.runner(own.clone()).build().expect("a dispatcher");
        assert_eq!(names(&dispatcher), expected, "{configured:?}");
    }
}

#[tokio::test]
async fn a_runner_that_nobody_added_is_named_with_the_runners_that_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(&folder, &["docker", "farm"]);
    let error = longshore::builder(&config).expect("a builder").build().unwrap_err();
    assert_eq!(error.to_string(), "there is no runner `farm`: use docker");
    let error = longshore::dispatcher(&config).unwrap_err().to_string();
    assert!(error.starts_with("job.runners: there is no runner `farm`: use "), "{error}");
}

#[tokio::test]
async fn a_journal_of_ones_own_keeps_the_jobs() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = Journal::in_memory().expect("a journal");
    let own = Arc::new(World::new().runner(name("farm"), Script::default()));
    let builder = longshore::builder(&config(&folder, &["farm"])).expect("a builder");
    let dispatcher = builder.runner(own).journal(journal.clone()).build().expect("a dispatcher");
    let job = dispatcher.submit(JobSpec::process(["true"])).await.expect("a job");
    let id = job.id().clone();
    job.wait().await.expect("a result");
    let kept = journal.list(Filter::default()).await.expect("records");
    assert_eq!(kept.iter().map(|record| &record.id).collect::<Vec<_>>(), [&id]);
}

//! The whole configuration, put together from its parts.
#![cfg(all(feature = "kubernetes", feature = "docker", feature = "process"))]

use longshore::config::{Format, Loader, environment_names};
use longshore::{Config, HumanDuration, PullPolicies, RunnerName};

fn policy(text: &str) -> PullPolicies {
    text.parse().expect("a pull policy")
}

/// What a Cortex has in its application.conf, in its own words.
const CORTEX: &str = r#"
play.http.secret.key = "changeme"
search { index = cortex, uri = "http://127.0.0.1:9200/" }
job {
  timeout = 30 minutes
  runners = [kubernetes, docker, process]
  directory = /srv/cortex/jobs
  dockerDirectory = ${job.directory}
  keepJobFolder = false
  kubernetes {
    persistentVolumeClaimName = cortex-jobs
    imagePullPolicy = IfNotPresent
    imagePullPolicy = ${?JOB_KUBERNETES_PULL}
  }
}
docker {
  uri = "unix:///run/user/1000/docker.sock"
  autoUpdate = false
}
analyzer.urls = ["/opt/analyzers"]
"#;

fn cortex() -> Loader<Config> {
    Loader::new().text("application.conf", Format::Hocon, CORTEX)
}

#[test]
fn no_two_keys_have_the_same_environment_variable() {
    let names = environment_names::<Config>().unwrap();
    let variable = |key: &str| {
        names.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).unwrap_or_default()
    };
    assert_eq!(variable("job.runners"), "JOB_RUNNERS");
    assert_eq!(variable("job.imagePullPolicy"), "JOB_IMAGEPULLPOLICY");
    assert_eq!(variable("job.kubernetes.imagePullPolicy"), "JOB_KUBERNETES_IMAGEPULLPOLICY");
}

#[test]
fn an_application_conf_of_cortex_loads() {
    let config = cortex().load().unwrap().value;
    assert_eq!(config.job.dispatch.timeout, Some(HumanDuration::from_secs(1800)));
    assert_eq!(config.job.runners[0], RunnerName::kubernetes());
    let kubernetes = &config.job.kubernetes;
    assert_eq!(kubernetes.backend.persistent_volume_claim_name.as_deref(), Some("cortex-jobs"));
    assert_eq!(kubernetes.image_pull_policy, Some(policy("IfNotPresent")));
    assert_eq!(longshore::warnings(&config).len(), 1, "keepJobFolder has no effect");
    assemble(config).unwrap();
}

/// Builds the dispatcher of `config`, with its state in a folder of the test's own.
fn assemble(mut config: Config) -> Result<longshore::Dispatcher, String> {
    let state = tempfile::tempdir().expect("a temporary folder");
    config.job.state_directory = Some(state.path().to_owned());
    longshore::dispatcher(&config).map_err(|e| e.to_string())
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let always = ("JOB_KUBERNETES_IMAGEPULLPOLICY".to_owned(), "Always".to_owned());
    let from_environment = cortex().environment([always.clone()]).load().unwrap().value;
    assert_eq!(from_environment.job.kubernetes.image_pull_policy, Some(policy("Always")));
    let key = "job.kubernetes.imagePullPolicy";
    let from_flag = cortex().environment([always]).set(key, "never").load().unwrap().value;
    assert_eq!(from_flag.job.kubernetes.image_pull_policy, Some(policy("Never")));
}

#[test]
fn what_is_wrong_is_named_with_file_line_key_and_the_nearest_key() {
    let text = "[job]\nimagePullPolicy = 'Sometimes'\ntimeout = '10 minuts'\n\
                [job.kubernetes]\nimagePullPolcy = 'Always'\n[job.docker]\nlogMaxFiles = 'many'\n";
    let error = Loader::<Config>::new().text("l.toml", Format::Toml, text).load().unwrap_err();
    insta::assert_snapshot!(error.to_string());
}

#[test]
fn an_unknown_runner_is_named_with_those_there_are() {
    let loaded = Loader::<Config>::new().set("job.runners", "docker,podman").load().unwrap();
    let error = assemble(loaded.value).unwrap_err();
    assert_eq!(error, "job.runners: there is no runner `podman`: use kubernetes, docker, process");
}

#[test]
fn runners_that_are_empty_or_repeat_themselves_are_refused() {
    for (runners, reason) in [("[]", "no runner is configured"), ("docker,docker", "twice")] {
        let loaded = Loader::<Config>::new().set("job.runners", runners).load().unwrap();
        let error = assemble(loaded.value).unwrap_err();
        assert!(error.starts_with("job.runners: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_cortex_key_that_would_change_how_jobs_run_is_refused_by_name() {
    let privileged = cortex().text("b.conf", Format::Hocon, "docker.container.privileged = true");
    let error = assemble(privileged.load().unwrap().value).unwrap_err();
    assert!(error.starts_with("docker.container.privileged is not supported"), "{error}");
    let elsewhere = cortex().set("job.dockerDirectory", "/other").load().unwrap().value;
    let error = assemble(elsewhere).unwrap_err();
    assert!(error.starts_with("job.dockerDirectory is not supported"), "{error}");
}

//! The whole configuration, composed of its parts.
#![cfg(all(feature = "kubernetes", feature = "docker", feature = "process"))]

use std::path::Path;

use longshore::Config;
use longshore::config::{Format, Loader, environment_names};
use longshore::image::PullPolicies;
use longshore::job::HumanDuration;
use longshore::runner::RunnerName;
use serde_json::Value;

fn policy(text: &str) -> PullPolicies {
    text.parse().expect("a pull policy")
}

/// A typical application.conf of Cortex.
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
  registry { url = "https://harbor.example.org/v1/", user = cortex, password = hunter2 }
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

/// The block of Cortex's documentation that describes the runners.
const RUNNERS: &str = r#"
job {
  timeout = 30 minutes
  runners = [kubernetes, docker, process]
  directory = ${java.io.tmpdir}
  dockerDirectory = ${job.directory}
  keepJobFolder = false
  kubernetes {
    # persistentVolumeClaimName = "cortex-jobs-pvc"
    imagePullPolicy = "IfNotPresent"
  }
}
"#;

#[test]
fn the_block_with_the_temporary_folder_loads_as_it_stands() {
    let loader = Loader::<Config>::new().text("application.conf", Format::Hocon, RUNNERS);
    let config = loader.load().unwrap().value;
    assert_eq!(config.job.directory.as_deref(), Some(Path::new("/tmp")));
    assert_eq!(config.job.docker_directory, config.job.directory);
    assert_eq!(config.job.kubernetes.image_pull_policy, Some(policy("IfNotPresent")));
    assemble(config).unwrap();
}

#[test]
fn an_application_conf_of_cortex_loads() {
    let config = cortex().load().unwrap().value;
    assert_eq!(config.job.dispatch.timeout, Some(HumanDuration::from_secs(1800)));
    assert_eq!(config.job.runners[0], RunnerName::kubernetes());
    let kubernetes = &config.job.kubernetes;
    assert_eq!(kubernetes.backend.persistent_volume_claim_name.as_deref(), Some("cortex-jobs"));
    assert_eq!(kubernetes.image_pull_policy, Some(policy("IfNotPresent")));
    assert_eq!(longshore::config::warnings(&config).len(), 1, "keepJobFolder has no effect");
    assemble(config).unwrap();
}

/// Builds the dispatcher of `config`, with its state in a temporary folder.
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

fn refused(text: &str) -> String {
    let loaded = Loader::<Config>::new().text("l.toml", Format::Toml, text).load();
    loaded.err().map_or_else(String::new, |error| error.to_string())
}

#[test]
fn what_is_wrong_with_images_is_said_when_the_configuration_is_read() {
    let rules = "[[job.imagePullPolicyRules]]\nimage = 'x'\nimagePullPolicy = 'never'\n\
                 [[job.imagePullPolicyRules]]\nimage = 'a['\nimagePullPolicy = 'Always'\n";
    assert_eq!(
        refused(rules),
        "l.toml:5: job.imagePullPolicyRules[1].image: `a[` is not a pattern for images: unclosed \
         character class; missing ']'"
    );
    let rule = "[[job.imagePullPolicyRules]]\nimage = 'x'\n";
    assert_eq!(
        refused(rule),
        "l.toml:1: job.imagePullPolicyRules[0].imagePullPolicy: this key is missing"
    );
    let later = format!("{rule}imagePullPolicy = ['Never', 'Always']\n");
    assert_eq!(
        refused(&later),
        "l.toml:3: job.imagePullPolicyRules[0].imagePullPolicy[1]: the pull policy Always follows \
         Never in the list and would not be tried"
    );
    let prefix = refused("job.imageRegistryPrefix = 'https://harbor.example.org'\n");
    assert!(prefix.starts_with("l.toml:1: job.imageRegistryPrefix: "), "{prefix}");
    assert!(prefix.contains("leave out the scheme"), "{prefix}");
    assert_eq!(
        refused("job.allowedPullPolicies = ['Always', 'Sometimes']\n"),
        "l.toml:1: job.allowedPullPolicies[1]: `Sometimes` is not a pull policy: use Always, \
         IfNotPresent or Never"
    );
    for (toml, said) in [
        (
            "job.securityProfile = 'strict'\n",
            "job.securityProfile: `strict` is not a security profile: use privileged, baseline or \
             restricted",
        ),
        (
            "job.kubernetes.podTemplate.spec.restartPolicy = 'Always'\n",
            "job.kubernetes.podTemplate.spec.restartPolicy: `spec.restartPolicy` is set by Longshore for each job, \
             and a Pod template cannot change it",
        ),
        (
            "job.kubernetes.podTemplate.spec.hostNetwrok = true\n",
            "job.kubernetes.podTemplate.spec.hostNetwrok: unknown field `spec.hostNetwrok`",
        ),
        (
            "job.kubernetes.affinity.nodeAfinity = {}\n",
            "job.kubernetes.affinity.nodeAfinity: unknown field `nodeAfinity`",
        ),
        (
            "job.kubernetes.tolerations = [{ keey = 'batch' }]\n",
            "job.kubernetes.tolerations[0].keey: unknown key; did you mean \
             job.kubernetes.tolerations[0].key?",
        ),
    ] {
        let found = refused(toml);
        assert!(found.starts_with(&format!("l.toml:1: {said}")), "{found}");
    }
    assert_eq!(
        refused("[[job.registries]]\nusername = 'me'\n"),
        "l.toml:1: job.registries[0].server: this key is missing"
    );
}

#[test]
fn images_are_configured_from_the_environment_too() {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let rules = r#"[{"image": "*:latest", "imagePullPolicy": "always"}]"#;
    let registries = r#"[{"server": "localhost:5001", "credentialHelper": "pass"}]"#;
    let config = Loader::<Config>::new()
        .environment([
            variable("JOB_IMAGEPULLPOLICYRULES", rules),
            variable("JOB_ALLOWEDPULLPOLICIES", "always,if-not-present"),
            variable("JOB_IMAGEREGISTRYPREFIX", "localhost:5001/p"),
            variable("JOB_PINDIGEST", "true"),
            variable("JOB_REGISTRIES", registries),
            variable("JOB_DOCKERCONFIG", "/etc/longshore/docker"),
        ])
        .load()
        .unwrap()
        .value;
    let dispatch = &config.job.dispatch;
    assert_eq!(dispatch.image_pull_policy_rules[0].image_pull_policy, policy("Always"));
    assert_eq!(dispatch.allowed_pull_policies.len(), 2);
    assert_eq!(dispatch.image_registry_prefix.as_ref().unwrap().as_str(), "localhost:5001/p");
    assert!(dispatch.pin_digest);
    assert_eq!(config.job.registries[0].credential_helper.as_deref(), Some("pass"));
    assert_eq!(config.job.docker_config.as_deref(), Some("/etc/longshore/docker".as_ref()));
    assemble(config).unwrap();
}

#[test]
fn a_login_that_makes_no_sense_is_refused_by_its_key() {
    let text = "[[job.registries]]\nserver = 'localhost:5000'\ncredentialHelper = 'pass'\n\
                [[job.registries]]\nserver = 'localhost:5001'\npasswordEnv = 'P'\n";
    let loaded = Loader::<Config>::new().text("l.toml", Format::Toml, text).load().unwrap();
    let error = assemble(loaded.value).unwrap_err();
    assert!(error.starts_with("job.registries[1].username: "), "{error}");
    let half = cortex().text("b.conf", Format::Hocon, "docker.registry.user = \"\"").load();
    let error = assemble(half.unwrap().value).unwrap_err();
    assert!(error.starts_with("docker.registry.user is missing"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn the_password_of_cortexs_registry_is_never_shown() {
    let loaded = cortex().load().unwrap();
    let settings = loaded.settings().unwrap();
    let setting = |key: &str| settings.iter().find(|s| s.key == key).unwrap();
    assert_eq!(setting("docker.registry.password").value, "***");
    assert_eq!(setting("docker.registry.user").value, "cortex");
    let registry = "docker.registry.password = [1, 2]";
    let wrong = cortex().text("b.conf", Format::Hocon, registry).load().unwrap_err().to_string();
    let dispatcher = assemble(loaded.value.clone()).unwrap();
    let shown = format!("{wrong} {:?} {dispatcher:?}", loaded);
    assert!(shown.contains("cortex") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_pull_policy_is_traced_to_the_key_that_set_it() {
    use longshore::image::{PullPolicyOrigin, pull_policy_key};
    let config = cortex().load().unwrap().value;
    let key = |config, origin| pull_policy_key(config, &origin).unwrap_or_default();
    let docker = || PullPolicyOrigin::Runner(RunnerName::docker());
    assert_eq!(key(&config, docker()), "docker.autoUpdate");
    let own = cortex().set("job.docker.imagePullPolicy", "never").load().unwrap().value;
    assert_eq!(key(&own, docker()), "job.docker.imagePullPolicy");
    let kubernetes = PullPolicyOrigin::Runner(RunnerName::kubernetes());
    assert_eq!(key(&config, kubernetes), "job.kubernetes.imagePullPolicy");
    assert_eq!(key(&config, PullPolicyOrigin::Shared), "job.imagePullPolicy");
    assert_eq!(key(&config, PullPolicyOrigin::Job), "");
}

/// The loader does not merge defaults: each part of the configuration fills in what is missing. So a table
/// must have the same defaults on its own as in the whole.
#[test]
fn each_key_has_its_default_whatever_else_is_set() {
    let whole = serde_json::to_value(Config::default()).expect("it is JSON");
    let mut tables = vec![Vec::new()];
    let mut checked = 0;
    while let Some(path) = tables.pop() {
        let at = |value: &Value| {
            path.iter().try_fold(value.clone(), |it, key: &String| it.get(key).cloned())
        };
        let Some(Value::Object(fields)) = at(&whole) else { continue };
        for (key, default) in fields {
            let mut only = Value::from_iter([(key.clone(), default)]);
            for step in path.iter().rev() {
                only = Value::from_iter([(step.clone(), only)]);
            }
            let read: Config =
                serde_json::from_value(only.clone()).expect("a part of the defaults");
            assert_eq!(read, Config::default(), "{only}");
            tables.push(path.iter().cloned().chain([key]).collect());
            checked += 1;
        }
    }
    assert!(checked > 70, "{checked}");
}

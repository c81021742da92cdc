//! Tests of HOCON with the types of a configuration, as in Cortex's `application.conf`.

use std::path::PathBuf;

use longshore_config::{Format, Loader};
use longshore_core::{HumanDuration, RunnerName};

use crate::common::{Config, env, load};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(name)
}

#[test]
fn a_cortex_configuration_is_read_as_cortex_reads_it() {
    let load_with = |variables: &[(&str, &str)]| {
        let file = fixture("application.conf");
        Loader::<Config>::new().environment(env(variables)).file(file).load().unwrap()
    };
    let loaded = load_with(&[]);
    let job = &loaded.value.job;
    let runners: Vec<&str> = job.runners.iter().map(RunnerName::as_str).collect();
    assert_eq!(runners, ["kubernetes", "docker", "process"]);
    assert_eq!(job.timeout, HumanDuration::from_secs(1800));
    assert_eq!(job.directory, "/opt/cortex");
    assert_eq!(job.image_pull_policy.to_string(), "IfNotPresent");
    assert_eq!(job.max_jobs, 20);
    assert_eq!(job.rules[0].image_pull_policy.to_string(), "Always,IfNotPresent");
    assert_eq!(job.rules[1].image, "busybox");
    let claim = job.kubernetes.persistent_volume_claim_name.as_deref();
    assert_eq!(claim, Some("cortex-jobs"));
    let labels: Vec<(&str, &str)> =
        job.kubernetes.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [("app.kubernetes.io/part-of", "cortex"), ("tier", "2"), ("version", "1.10")];
    assert_eq!(labels, expected);
    assert!(job.docker.auto_remove);
    assert_eq!(job.docker.memory.map(|m| m.bytes()), Some(512 << 20));
    assert_eq!(loaded.value.docker.host.as_deref(), Some("unix:///var/run/docker.sock"));
    assert_eq!(loaded.value.docker.auto_update, Some(true));
    assert_eq!(loaded.warnings, []);

    let origin = |key: &str| {
        let settings = loaded.settings().unwrap();
        let setting = settings.iter().find(|s| s.key == key).unwrap();
        setting.origin.to_string().rsplit('/').next().unwrap_or_default().to_owned()
    };
    assert_eq!(origin("job.imagePullPolicy"), "application.conf:32");
    assert_eq!(origin("docker.host"), "application.conf:49");

    let loaded = load_with(&[
        ("JOB_IMAGE_PULL_POLICY", "Always"),
        ("JOB_NAMESPACE", "prod"),
        ("JOB_DIRECTORY_BASE", "/srv"),
        ("JOB_TIMEOUT", "5m"),
    ]);
    let job = &loaded.value.job;
    assert_eq!(job.image_pull_policy.to_string(), "Always");
    let claim = job.kubernetes.persistent_volume_claim_name.as_deref();
    assert_eq!(claim, Some("prod-jobs"));
    assert_eq!(job.directory, "/srv");
    assert_eq!(job.timeout, HumanDuration::from_secs(300));
}

#[test]
fn the_system_properties_of_the_users_configuration_are_those_of_a_java_virtual_machine() {
    let value = |property: &str| {
        let text = format!("job.kubernetes.namespace = ${{{property}}}");
        load(Format::Hocon, &text).unwrap().value.job.kubernetes.namespace.unwrap()
    };
    let said = |program: &str, argument: &str| {
        let output = std::process::Command::new(program).arg(argument).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(value("user.name"), said("id", "-un"));
    assert_eq!(value("user.dir"), std::env::current_dir().unwrap().to_str().unwrap());
    let file = Loader::<Config>::new().file(fixture("tmpdir.conf")).load().unwrap();
    assert_eq!(file.value.job.directory, "/tmp");
    let home = value("user.home");
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let name = format!("{}:", said("id", "-un"));
    let entry = passwd.lines().find(|line| line.starts_with(&name));
    assert_eq!(Some(home.as_str()), entry.and_then(|entry| entry.split(':').nth(5)));
    assert_eq!(value("?user.name"), value("user.name"));
}

#[test]
fn a_system_property_that_only_a_java_virtual_machine_has_is_refused_by_name_and_line() {
    for property in ["java.version", "user.language", "os.name", "file.separator", "java.home"] {
        let text = format!("job {{\n  directory = ${{{property}}}\n}}");
        let error = load(Format::Hocon, &text).unwrap_err().to_string();
        let expected =
            format!("x.conf:2: ${{{property}}} is a Java system property, which only a JVM has");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn an_unset_variable_keeps_the_value_before() {
    let load_with = |variables: &[(&str, &str)]| {
        let file = fixture("unset.conf");
        Loader::<Config>::new().environment(env(variables)).file(file).load().unwrap().value.job
    };
    assert_eq!(load_with(&[]).kubernetes.namespace.as_deref(), Some("default"));
    let set = load_with(&[("LONGSHORE_TEST_NAMESPACE", "x")]);
    assert_eq!(set.kubernetes.namespace.as_deref(), Some("x"));
}

#[test]
fn the_environment_is_not_merged_into_the_file() {
    let variables = env(&[("job", "x"), ("job.maxJobs", "9"), ("docker.host", "y")]);
    let loaded = Loader::<Config>::new()
        .environment(variables)
        .text("x.conf", Format::Hocon, "job.directory = /x")
        .load()
        .unwrap();
    assert_eq!(loaded.value.job.max_jobs, Config::default().job.max_jobs);
    assert_eq!(loaded.value.docker.host, None);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let variables = env(&[("JOBS", ""), ("JOB_MAXJOBS", ""), ("JOB_RUNNERS", "")]);
    let text = "job { directory = /x, directory = ${?JOBS}, maxJobs = 3 }";
    let loaded = Loader::<Config>::new()
        .environment(variables)
        .text("x.conf", Format::Hocon, text)
        .load()
        .unwrap();
    assert_eq!(loaded.value.job.directory, "/x");
    assert_eq!(loaded.value.job.max_jobs, 3);
    assert_eq!(loaded.value.job.runners, Config::default().job.runners);
}

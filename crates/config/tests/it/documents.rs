//! Job files.

use insta::assert_snapshot;
use longshore_config::{Format, parse_document};
use longshore_core::{HumanDuration, JobSpec};

fn said(format: Format, text: &str) -> String {
    match parse_document::<JobSpec>("job", format, text) {
        Ok(job) => format!("accepted: {job:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_job_file_is_read_in_each_format() {
    let toml = "name = 'x'\ntimeout = '5m'\n[container]\nimage = 'busybox'\n[secretEnv]\nT = { secretKeyRef = { name = 's', key = 'k' } }\n[resources.limits]\ncpu = 0.5\nmemory = '64Mi'\n";
    let yaml = "name: x\ntimeout: 5m\ncontainer: {image: busybox}\nsecretEnv: {T: {secretKeyRef: {name: s, key: k}}}\nresources: {limits: {cpu: 0.5, memory: 64Mi}}\n";
    let json = r#"{"name": "x", "timeout": "5m", "container": {"image": "busybox"}, "secretEnv": {"T": {"secretKeyRef": {"name": "s", "key": "k"}}}, "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}}}"#;
    let job: JobSpec = parse_document("job", Format::Toml, toml).unwrap();
    assert_eq!(job.timeout, Some(HumanDuration::from_secs(300)));
    assert_eq!(job.secret_env.len(), 1);
    assert_eq!(parse_document::<JobSpec>("job", Format::Yaml, yaml).unwrap(), job);
    assert_eq!(parse_document::<JobSpec>("job", Format::Json, json).unwrap(), job);
}

#[test]
fn a_wrong_job_file_is_refused_with_line_key_and_what_would_be_right() {
    assert_snapshot!(said(Format::Yaml, "name: x\nimage: busybox\ncontainer:\n  comand: [sh]\n  args: sh\nresources:\n  limits:\n    memory: [1]\nenv:\n  A: 1\nsecretEnv:\n  T: {envv: X}\n"), @"");
}

#[test]
fn what_the_types_refuse_is_said_with_line_and_key() {
    assert_snapshot!(said(Format::Toml, "timeout = '10'\nnetwork = 'host'\n[container]\nimage = 'Bad Image'\n[resources.limits]\nmemory = '1Xi'\npids = -1\n[secretEnv]\nA = 'x'\n"), @"");
}

#[test]
fn a_key_that_must_be_there_is_named() {
    assert_snapshot!(said(Format::Json, "{\n\"container\": {\n}}"), @"");
    assert_snapshot!(said(Format::Json, "{\n\"process\": {\n}}"), @"");
}

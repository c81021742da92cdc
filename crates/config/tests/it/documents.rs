//! Tests of job files.

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
    assert_snapshot!(said(Format::Yaml, "name: x\nimage: busybox\ncontainer:\n  comand: [sh]\n  args: sh\nresources:\n  limits:\n    memory: [1]\nenv:\n  A: 1\nsecretEnv:\n  T: {envv: X}\n"), @r#"
    job:2: image: unknown key; did you mean container.image?
    job:3: container.image: this key is missing
    job:4: container.comand: unknown key; did you mean container.command?
    job:5: container.args: found the text `sh`, expected a list
    job:8: resources.limits.memory: found a list, expected a number or text
    job:10: env.A: found the number 1, expected text
    job:12: secretEnv.T.envv: unknown key; did you mean secretEnv.T.env?
    "#);
}

#[test]
fn what_the_types_refuse_is_said_with_line_and_key() {
    assert_snapshot!(said(Format::Toml, "timeout = '10'\nnetwork = 'host'\n[container]\nimage = 'Bad Image'\n[resources.limits]\nmemory = '1Xi'\npids = -1\n[secretEnv]\nA = 'x'\n"), @r#"
    job:1: timeout: `10` is not a duration: write a number and a unit, such as 30s, 10m or 1h 30m
    job:2: network: found the text `host`, expected one of default, none
    job:4: container.image: `Bad Image` is not an image reference: invalid reference format (it contains white space)
    job:6: resources.limits.memory: `1Xi` is not an amount of memory above zero: write it as Kubernetes does, such as 64Mi or 1G
    job:7: resources.limits.pids: found the number -1, expected a whole number from 0 to 4294967295
    job:9: secretEnv.A: found a value (not shown: it may be secret), expected a table
    "#);
}

#[test]
fn a_key_that_must_be_there_is_named() {
    assert_snapshot!(said(Format::Json, "{\n\"container\": {\n}}"), @"job:2: container.image: this key is missing");
    assert_snapshot!(said(Format::Json, "{\n\"process\": {\n}}"), @"job:2: process.command: this key is missing");
}

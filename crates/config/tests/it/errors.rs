//! Tests of the message for each possible problem.

use crate::common::{Config, env, load, said};
use insta::assert_snapshot;
use longshore_config::{Format, Loader};

#[test]
fn a_toml_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Toml,
        r#"
jobs = 1
[job]
imagePulPolicy = "Always"
runners = "docker"
maxJobs = "many"
timeout = 30
zzz = 1
namespace = "x"
[job.kubernetes]
labels = { a = 1 }
dns = "none"
[job.docker]
autoRemove = "yes"
"#
    )), @r#"
    x.toml:2: jobs: unknown key; did you mean job?
    x.toml:4: job.imagePulPolicy: unknown key; did you mean job.imagePullPolicy?
    x.toml:5: job.runners: found the text `docker`, expected a list
    x.toml:6: job.maxJobs: found the text `many`, expected a whole number
    x.toml:7: job.timeout: found the number 30, expected text such as 30s
    x.toml:8: job.zzz: unknown key; known here: directory, docker, imagePullPolicy, kubernetes, maxJobs, rules, runners, timeout
    x.toml:9: job.namespace: unknown key; did you mean job.kubernetes.namespace?
    x.toml:11: job.kubernetes.labels.a: found the number 1, expected text
    x.toml:12: job.kubernetes.dns: found the text `none`, expected one of cluster, node
    x.toml:14: job.docker.autoRemove: found the text `yes`, expected true or false
    "#);
}

#[test]
fn a_yaml_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Yaml,
        "job:\n  imagePulPolicy: Always\n  runners:\n    - docker\n    - 3\n  kubernetes:\n    labels: {a: 1}\n    dns: [x]\nother: 1\n"
    )), @r#"
    x.yaml:2: job.imagePulPolicy: unknown key; did you mean job.imagePullPolicy?
    x.yaml:5: job.runners[1]: found the number 3, expected text
    x.yaml:7: job.kubernetes.labels.a: found the number 1, expected text
    x.yaml:8: job.kubernetes.dns: found a list, expected one of cluster, node
    x.yaml:9: other: unknown key; known here: docker, job
    "#);
}

#[test]
fn a_second_yaml_document_is_refused_in_words_of_yaml() {
    assert_snapshot!(
        said(load(Format::Yaml, "job: {}\n---\njob: {}\n")),
        @"x.yaml:3: a second document begins here: the file may have only one"
    );
}

#[test]
fn a_json_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Json,
        "{\n  \"job\": {\n    \"imagePulPolicy\": \"Always\",\n    \"runners\": {},\n    \"kubernetes\": null,\n    \"rules\": [\n      {\"image\": \"x\"},\n      {\n        \"imag\": 1\n      }\n    ]\n  }\n}\n"
    )), @r#"
    x.json:3: job.imagePulPolicy: unknown key; did you mean job.imagePullPolicy?
    x.json:4: job.runners: found a table, expected a list
    x.json:5: job.kubernetes: found nothing (null), expected a table
    x.json:6: job.rules[0].imagePullPolicy: this key is missing
    x.json:9: job.rules[1].imag: unknown key; did you mean job.rules[1].image?
    "#);
}

#[test]
fn a_hocon_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Hocon,
        "play.other = 1\njob {\n  imagePulPolicy = Always\n  runners = docker\n  kubernetes { labels = [], nmespace = x }\n}\n"
    )), @r#"
    x.conf:3: job.imagePulPolicy: unknown key; did you mean job.imagePullPolicy?
    x.conf:4: job.runners: found the text `docker`, expected a list
    x.conf:5: job.kubernetes.labels: found a list, expected a table
    x.conf:5: job.kubernetes.nmespace: unknown key; did you mean job.kubernetes.namespace?
    "#);
}

#[test]
fn what_the_types_themselves_refuse_is_said_with_key_and_line() {
    assert_snapshot!(said(load(
        Format::Toml,
        r#"
[job]
imagePullPolicy = "IfAbsent"
timeout = "soon"
runners = ["docker", "Docker"]
maxJobs = 70000
rules = [{ image = "x", imagePullPolicy = [] }]
[job.kubernetes]
imagePullPolicy = ["Never", "Never"]
dns = "none"
[job.docker]
memory = "lots"
"#
    )), @r#"
    x.toml:3: job.imagePullPolicy: `IfAbsent` is not a pull policy: use Always, IfNotPresent or Never
    x.toml:4: job.timeout: `soon` is not a duration: write a number and a unit, such as 30s, 10m or 1h 30m
    x.toml:5: job.runners[1]: `Docker` is not a runner name: 1 to 63 lower-case letters, digits and '-' (not first or last)
    x.toml:6: job.maxJobs: found the number 70000, expected a whole number from 0 to 65535
    x.toml:7: job.rules[0].imagePullPolicy: the list of pull policies is empty: name at least one of Always, IfNotPresent, Never
    x.toml:9: job.kubernetes.imagePullPolicy[1]: the pull policy Never is listed twice
    x.toml:10: job.kubernetes.dns: found the text `none`, expected one of cluster, node
    x.toml:12: job.docker.memory: `lots` is not an amount of memory above zero: write it as Kubernetes does, such as 64Mi or 1G
    "#);
}

#[test]
fn variables_are_refused_by_their_names_and_flags_by_their_keys() {
    let loaded = Loader::<Config>::new()
        .environment(env(&[
            ("JOB_MAXJOBS", "many"),
            ("JOB_TIMEOUT", "soon"),
            ("JOB_KUBERNETES_LABELS", "a=b"),
            ("JOB_KUBERNETES_IMAGEPULLPOLICY", "Sometimes"),
            ("JOB_RULES", "[{\"image\": \"x\", \"policy\": 1}]"),
        ]))
        .set("job.docker.autoRemove", "")
        .set("job.docker.hots", "x")
        .set("job.imagePullPolicy", "")
        .set("nothing.of.that", "x")
        .set("", "x")
        .load();
    assert_snapshot!(said(loaded), @r#"
    JOB_KUBERNETES_LABELS: job.kubernetes.labels: found `a=b`, expected a table in JSON
    JOB_MAXJOBS: job.maxJobs: found `many`, expected a whole number
    JOB_RULES: job.rules[0].policy: unknown key; known here: image, imagePullPolicy
    JOB_KUBERNETES_IMAGEPULLPOLICY: job.kubernetes.imagePullPolicy: `Sometimes` is not a pull policy: use Always, IfNotPresent or Never
    JOB_RULES: job.rules[0].imagePullPolicy: this key is missing
    --set: job.docker.autoRemove: found nothing, expected true or false
    --set: job.docker.hots: unknown key; did you mean docker.host?
    --set: nothing.of.that: unknown key
    --set: the key is empty
    --set: job.imagePullPolicy: `` is not a pull policy: use Always, IfNotPresent or Never
    "#);
}

#[test]
fn a_key_that_stands_twice_is_refused_by_name() {
    let said = [
        said(load(Format::Toml, "[job]\nmaxJobs = 1\nmaxJobs = 2\n")),
        said(load(Format::Toml, "[job]\nmaxJobs = 1\n[job]\n")),
        said(load(Format::Yaml, "job:\n  maxJobs: 1\n  maxJobs: 2\n")),
        said(load(Format::Json, "{\"job\": {\n\"maxJobs\": 1,\n\"maxJobs\": 2}}")),
    ];
    assert_snapshot!(said.join("\n"), @r#"
    x.toml:3: duplicate key `maxJobs`
    x.toml:3: duplicate key `job`
    x.yaml:3: duplicate key `maxJobs`
    x.json:3: duplicate key `maxJobs`
    "#);
}

#[test]
fn broken_syntax_is_said_with_its_line() {
    let said = [
        said(load(Format::Toml, "[job]\nmaxJobs = \n")),
        said(load(Format::Toml, "[job\n")),
        said(load(Format::Yaml, "job:\n  maxJobs: [1\n")),
        said(load(Format::Yaml, "- a\n")),
        said(load(Format::Yaml, "job:\n\tmaxJobs: 1\n")),
        said(load(Format::Json, "{\n\"job\": {,}\n}")),
        said(load(Format::Json, "[]")),
        said(load(Format::Json, "{\"job\": {\"maxJobs\": 1}} x")),
        said(load(Format::Json, "")),
        said(load(Format::Hocon, "job {\n maxJobs = \n}")),
        said(load(Format::Hocon, "job {\n maxJobs = 1\n")),
    ];
    assert_snapshot!(said.join("\n"), @r#"
    x.toml:2: not valid TOML: string values must be quoted, expected literal string
    x.toml:1: not valid TOML: unclosed table, expected `]`
    x.yaml:2: not valid YAML: unclosed bracket '['
    x.yaml: found a list, expected keys and values
    x.yaml:2: not valid YAML: tabs disallowed within this context (block indentation)
    x.json:2: not valid JSON: key must be a string
    x.json: found a list, expected keys and values
    x.json:1: not valid JSON: trailing characters
    x.json:1: not valid JSON: EOF while parsing a value
    x.conf:2: not valid HOCON: the key `maxJobs` has no value
    x.conf:3: not valid HOCON: a `{` is not closed
    "#);
}

#[test]
fn a_secret_never_stands_in_an_error() {
    let tries = [
        said(load(Format::Toml, "job.docker.password = 12345\n")),
        said(load(Format::Yaml, "job: {docker: {password: [hunter2]}}")),
        said(Loader::new().set("job.docker.password.x", "hunter2").load()),
    ];
    for said in &tries {
        assert!(said.contains("job.docker.password"), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("12345"), "{said}");
    }
}

#[test]
fn no_more_than_ten_problems_are_said_at_once() {
    let text: String = (0..30).map(|i| format!("[job.unknown{i}]\n")).collect();
    let error = load(Format::Toml, &text).unwrap_err();
    assert_eq!(error.problems().len(), 10);
    assert_eq!(error.to_string().lines().count(), 10);
}

#[test]
fn a_problem_tells_place_and_key_apart() {
    let error = load(Format::Toml, "[job]\nmaxJobs = true\n").unwrap_err();
    let [problem] = error.problems() else { panic!("{error}") };
    assert_eq!(problem.key.as_deref(), Some("job.maxJobs"));
    assert_eq!(problem.message, "found `true`, expected a whole number");
    assert_eq!(problem.origin.as_ref().map(ToString::to_string).as_deref(), Some("x.toml:2"));
}

/// A configuration with a flattened part, whose keys serde loses.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Outer {
    job: Flattened,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Flattened {
    directory: String,
    #[serde(flatten)]
    shared: Shared,
}

#[derive(Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Shared {
    timeout: longshore_core::HumanDuration,
    image_pull_policy: longshore_core::PullPolicies,
    rules: Vec<crate::common::Rule>,
}

#[test]
fn a_refused_value_in_a_flattened_part_is_named_by_its_own_key() {
    let text = "[job]\ndirectory = '/x'\ntimeout = 'soon'\nimagePullPolicy = ['Never', 'x']\n";
    let error = Loader::<Outer>::new().text("x.toml", Format::Toml, text).load().unwrap_err();
    assert_snapshot!(error.to_string(), @r"
    x.toml:3: job.timeout: `soon` is not a duration: write a number and a unit, such as 30s, 10m or 1h 30m
    x.toml:4: job.imagePullPolicy[1]: `x` is not a pull policy: use Always, IfNotPresent or Never
    ");
}

#[test]
fn an_element_of_a_list_in_a_flattened_part_is_named_by_its_index_and_key() {
    let text = "[[job.rules]]\nimage = 'a'\nimagePullPolicy = 'Always'\n\
                [[job.rules]]\nimage = 'b'\nimagePullPolicy = 'x'\n\
                [[job.rules]]\nimage = 'c'\nimagePullPolicy = 'x'\n";
    let error = Loader::<Outer>::new().text("x.toml", Format::Toml, text).load().unwrap_err();
    assert_snapshot!(error.to_string(), @"x.toml:6: job.rules[1].imagePullPolicy: `x` is not a pull policy: use Always, IfNotPresent or Never");
    let text = "{\"job\": {\"rules\": [{\"image\": \"a\", \"imagePullPolicy\": \"Never\"}, {\"image\": \"b\"}]}}";
    let error = Loader::<Outer>::new().text("x.json", Format::Json, text).load().unwrap_err();
    assert_snapshot!(error.to_string(), @"x.json:1: job.rules[1].imagePullPolicy: this key is missing");
}

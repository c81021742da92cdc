//! What is said of each thing that can be wrong.


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
    )), @"");
}

#[test]
fn a_yaml_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Yaml,
        "job:\n  imagePulPolicy: Always\n  runners:\n    - docker\n    - 3\n  kubernetes:\n    labels: {a: 1}\n    dns: [x]\nother: 1\n"
    )), @"");
}

#[test]
fn a_json_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Json,
        "{\n  \"job\": {\n    \"imagePulPolicy\": \"Always\",\n    \"runners\": {},\n    \"kubernetes\": null,\n    \"rules\": [\n      {\"image\": \"x\"},\n      {\n        \"imag\": 1\n      }\n    ]\n  }\n}\n"
    )), @"");
}

#[test]
fn a_hocon_file_is_refused_with_file_line_key_and_what_would_be_right() {
    assert_snapshot!(said(load(
        Format::Hocon,
        "play.other = 1\njob {\n  imagePulPolicy = Always\n  runners = docker\n  kubernetes { labels = [], nmespace = x }\n}\n"
    )), @"");
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
    )), @"");
}

#[test]
fn variables_are_refused_by_their_names_and_flags_by_their_keys() {
    let loaded = Loader::<Config>::new()
        .environment(env(&[
            ("JOB_MAXJOBS", "many"),
            ("JOB_TIMEOUT", "soon"),
            ("JOB_KUBERNETES_LABELS", "a=b"),
            ("JOB_KUBERNETES_IMAGEPULLPOLICY", "Sometimes"),
            ("JOB_DOCKER_AUTOREMOVE", ""),
            ("JOB_RULES", "[{\"image\": \"x\", \"policy\": 1}]"),
        ]))
        .set("job.docker.hots", "x")
        .set("job.imagePullPolicy", "")
        .set("nothing.of.that", "x")
        .set("", "x")
        .load();
    assert_snapshot!(said(loaded), @"");
}

#[test]
fn a_key_that_stands_twice_is_refused_by_name() {
    let said = [
        said(load(Format::Toml, "[job]\nmaxJobs = 1\nmaxJobs = 2\n")),
        said(load(Format::Toml, "[job]\nmaxJobs = 1\n[job]\n")),
        said(load(Format::Yaml, "job:\n  maxJobs: 1\n  maxJobs: 2\n")),
        said(load(Format::Json, "{\"job\": {\n\"maxJobs\": 1,\n\"maxJobs\": 2}}")),
    ];
    assert_snapshot!(said.join("\n"), @"");
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
    assert_snapshot!(said.join("\n"), @"");
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

//! Tests of layers, environment, flags and origins.

use std::collections::BTreeMap;
use std::path::Path;

use insta::assert_snapshot;
use longshore_config::{
    Format, Loaded, Loader, Schema, ValueKinds, environment_names, loader_schema_source,
    render_reference, schema_json,
};
use longshore_core::{PullPolicies, PullPolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Config, Dns, env};

fn shown(loaded: &Loaded<Config>) -> String {
    let line = |s: &longshore_config::Setting| format!("{} = {} [{}]", s.key, s.value, s.origin);
    loaded.settings().unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_layer_wins_over_those_below_it() {
    let policy = |file: bool, second: bool, variable: bool, flag: bool| {
        let mut loader = Loader::<Config>::new();
        if file {
            loader = loader.text("a.toml", Format::Toml, "job.docker.imagePullPolicy = 'Always'");
        }
        if second {
            let text = "job: {docker: {imagePullPolicy: [Always, Never]}}";
            loader = loader.text("b.yaml", Format::Yaml, text);
        }
        if variable {
            loader = loader.environment(env(&[("JOB_DOCKER_IMAGEPULLPOLICY", "never")]));
        }
        if flag {
            loader = loader.set("job.docker.imagePullPolicy", "if-not-present");
        }
        let loaded = loader.load().unwrap();
        let settings = loaded.settings().unwrap();
        let origin = settings.iter().find(|s| s.key == "job.docker.imagePullPolicy");
        let policy = loaded.value.job.docker.image_pull_policy.map(|p| p.to_string());
        (policy.unwrap_or_default(), origin.unwrap().origin.to_string())
    };
    for bits in 0..16_u8 {
        let [file, second, variable, flag] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
        let expected = match (file, second, variable, flag) {
            (_, _, _, true) => ("IfNotPresent", "--set"),
            (_, _, true, _) => ("Never", "JOB_DOCKER_IMAGEPULLPOLICY"),
            (_, true, ..) => ("Always,Never", "b.yaml:1"),
            (true, ..) => ("Always", "a.toml:1"),
            _ => ("", "default"),
        };
        let (policy, origin) = policy(file, second, variable, flag);
        assert_eq!((policy.as_str(), origin.as_str()), expected, "{bits:04b}");
    }
}

#[test]
fn tables_are_merged_and_lists_are_replaced() {
    let loaded = Loader::<Config>::new()
        .text(
            "a.toml",
            Format::Toml,
            "[job]\nrunners = ['docker', 'process']\nkubernetes.labels = { a = '1', b = '2' }",
        )
        .text(
            "b.json",
            Format::Json,
            r#"{"job": {"runners": ["process"], "kubernetes": {"labels": {"b": "3"}}}}"#,
        )
        .set("job.kubernetes.labels.example.org/c", "4")
        .load()
        .unwrap();
    assert_eq!(loaded.value.job.runners.len(), 1);
    let labels = [("a", "1"), ("b", "3"), ("example.org/c", "4")];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    assert_eq!(loaded.value.job.kubernetes.labels, labels);
}

#[test]
fn every_setting_is_listed_with_its_origin_and_secrets_are_masked() {
    let loaded = Loader::<Config>::new()
        .text("x.toml", Format::Toml, "[job]\nmaxJobs = 3\n\n[job.kubernetes.labels]\n'a.b/c' = 'x'\n[job.docker]\npassword = 'hunter2'\nmemory = 1048576\n")
        .environment(env(&[("JOB_IMAGEPULLPOLICY", "always,never"), ("JOB_RUNNERS", "docker, process")]))
        .set("job.directory", "/srv")
        .load()
        .unwrap();
    assert_snapshot!(shown(&loaded), @r#"
    docker.autoUpdate = null [default]
    docker.host = null [default]
    job.directory = "/srv" [--set]
    job.docker.autoRemove = false [default]
    job.docker.imagePullPolicy = null [default]
    job.docker.memory = "1Mi" [x.toml:8]
    job.docker.password = "***" [x.toml:7]
    job.imagePullPolicy = ["Always","Never"] [JOB_IMAGEPULLPOLICY]
    job.kubernetes.dns = "cluster" [default]
    job.kubernetes.imagePullPolicy = null [default]
    job.kubernetes.labels."a.b/c" = "x" [x.toml:5]
    job.kubernetes.namespace = null [default]
    job.kubernetes.persistentVolumeClaimName = null [default]
    job.maxJobs = 3 [x.toml:2]
    job.rules = [] [default]
    job.runners = ["docker","process"] [JOB_RUNNERS]
    job.timeout = "30m" [default]
    "#);
    assert!(!format!("{:?}", loaded.settings().unwrap()).contains("hunter2"));
    // The layers have the secrets as they were written.
    assert!(format!("{loaded:?}").contains("sources: Sources { .. }"));
}

#[test]
fn variables_are_read_by_the_types_of_their_keys() {
    let loaded = Loader::<Config>::new()
        .environment(env(&[
            ("JOB_RUNNERS", "docker,process"),
            ("JOB_IMAGEPULLPOLICY", "Always, IfNotPresent"),
            ("JOB_KUBERNETES_IMAGEPULLPOLICY", "[\"Never\"]"),
            ("JOB_KUBERNETES_LABELS", "{\"a\": \"1\"}"),
            ("JOB_KUBERNETES_NAMESPACE", "007"),
            ("JOB_MAXJOBS", " 8 "),
            ("JOB_DOCKER_AUTOREMOVE", "yes"),
            ("JOB_DOCKER_MEMORY", "1Gi"),
            ("JOB_RULES", "[{\"image\": \"x\", \"imagePullPolicy\": \"Never\"}]"),
            ("DOCKER_HOST", "unix:///run/other.sock"),
            ("PATH", "/bin"),
        ]))
        .load()
        .unwrap();
    let job = &loaded.value.job;
    assert_eq!(job.runners.len(), 2);
    assert_eq!(job.image_pull_policy.to_string(), "Always,IfNotPresent");
    assert_eq!(job.kubernetes.image_pull_policy, Some(PullPolicies::from(PullPolicy::Never)));
    assert_eq!(job.kubernetes.labels.len(), 1);
    assert_eq!(job.kubernetes.namespace.as_deref(), Some("007"));
    assert_eq!((job.max_jobs, job.docker.auto_remove, job.rules.len()), (8, true, 1));
    assert_eq!(job.docker.memory.map(|m| m.bytes()), Some(1 << 30));
    assert_eq!(loaded.value.docker.host, None);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_variable_that_names_no_key_gets_a_warning_with_the_nearest() {
    let loaded = Loader::<Config>::new()
        .environment(env(&[
            ("JOB_KUBERNETES_IMAGE_PULL_POLICY", "Always"),
            ("JOB_NAME", "nightly"),
            ("JOB_URL", "https://ci.example.org/1"),
            ("JOBS", "4"),
            ("LONGSHORE_JOB_MAXJOB", "4"),
            ("LONGSHORE_JOB_NAME", "x"),
            ("LONGSHORE_LOG", "debug"),
        ]))
        .load()
        .unwrap();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_snapshot!(warnings.join("\n"), @r#"
    the environment variable JOB_KUBERNETES_IMAGE_PULL_POLICY has no effect; did you mean JOB_KUBERNETES_IMAGEPULLPOLICY (job.kubernetes.imagePullPolicy)?
    the environment variable LONGSHORE_JOB_MAXJOB has no effect; did you mean LONGSHORE_JOB_MAXJOBS (job.maxJobs)?
    the environment variable LONGSHORE_JOB_NAME has no effect
    "#);
}

#[test]
fn a_variable_with_the_unambiguous_prefix_wins() {
    let load = |variables: &[(&str, &str)]| {
        Loader::<Config>::new().environment(env(variables)).load().unwrap()
    };
    let loaded = load(&[("LONGSHORE_JOB_MAXJOBS", "3"), ("JOB_MAXJOBS", "of another program")]);
    assert_eq!(loaded.value.job.max_jobs, 3);
    let settings = loaded.settings().unwrap();
    let origin = settings.iter().find(|setting| setting.key == "job.maxJobs").unwrap();
    assert_eq!(origin.origin.to_string(), "LONGSHORE_JOB_MAXJOBS");
    assert_eq!(load(&[("LONGSHORE_JOB_MAXJOBS", ""), ("JOB_MAXJOBS", "4")]).value.job.max_jobs, 4);
}

#[test]
fn every_key_of_a_job_has_its_variable() {
    let names = environment_names::<Config>().unwrap();
    let lines: Vec<String> = names.iter().map(|(key, name)| format!("{name} {key}")).collect();
    assert_snapshot!(lines.join("\n"), @r#"
    JOB_DIRECTORY job.directory
    JOB_DOCKER_AUTOREMOVE job.docker.autoRemove
    JOB_DOCKER_IMAGEPULLPOLICY job.docker.imagePullPolicy
    JOB_DOCKER_MEMORY job.docker.memory
    JOB_DOCKER_PASSWORD job.docker.password
    JOB_IMAGEPULLPOLICY job.imagePullPolicy
    JOB_KUBERNETES_DNS job.kubernetes.dns
    JOB_KUBERNETES_IMAGEPULLPOLICY job.kubernetes.imagePullPolicy
    JOB_KUBERNETES_LABELS job.kubernetes.labels
    JOB_KUBERNETES_NAMESPACE job.kubernetes.namespace
    JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME job.kubernetes.persistentVolumeClaimName
    JOB_MAXJOBS job.maxJobs
    JOB_RULES job.rules
    JOB_RUNNERS job.runners
    JOB_TIMEOUT job.timeout
    "#);
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Clashing {
    job: ClashingJob,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct ClashingJob {
    #[serde(rename = "a_b")]
    flat: String,
    a: ClashingA,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct ClashingA {
    b: String,
}

#[test]
fn two_keys_with_one_variable_are_an_error() {
    let expected = "the keys job.a.b and job.a_b have the same environment variable JOB_A_B";
    assert_eq!(environment_names::<Clashing>().unwrap_err().to_string(), expected);
    for name in ["JOB_A_B", "LONGSHORE_JOB_A_B"] {
        let loader = Loader::<Clashing>::new().environment([(name.to_owned(), "x".to_owned())]);
        let error = loader.load().unwrap_err().to_string();
        assert_eq!(error, format!("{name}: {expected}"));
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Small {
    job: SmallJob,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SmallJob {
    max_jobs: u32,
    #[schemars(extend("writeOnly" = true))]
    token: Option<String>,
    labels: BTreeMap<String, String>,
    /// This is only for people.
    order: Vec<Dns>,
}

/// A start of the command generated the schema each time, and later parsed it each time, which took a
/// tenth of its instructions.
#[test]
fn a_schema_that_the_program_contains_has_the_same_effect() {
    use longshore_config::SchemaEntry as E;
    const fn k(bits: u8) -> ValueKinds {
        ValueKinds::from_bits(bits)
    }
    #[rustfmt::skip]
    static SCHEMA: Schema = Schema(&[
        E { kinds: k(0b01000000), properties: &[("job", 1)], ..E::ANY },
        E { kinds: k(0b01000000), properties: &[("labels", 2), ("maxJobs", 4), ("order", 5), ("token", 7)], ..E::ANY },
        E { kinds: k(0b01000000), others: Some(3), ..E::ANY },
        E { kinds: k(0b00010000), ..E::ANY },
        E { kinds: k(0b00000100), ..E::ANY },
        E { kinds: k(0b00100000), items: Some(6), ..E::ANY },
        E { kinds: k(0b00010000), texts: &["cluster", "node"], ..E::ANY },
        E { kinds: k(0b00010001), secret: true, ..E::ANY },
    ]);
    assert_snapshot!(loader_schema_source::<Small>(), @r#"
    E { kinds: k(0b01000000), properties: &[("job", 1)], ..E::ANY },
    E { kinds: k(0b01000000), properties: &[("labels", 2), ("maxJobs", 4), ("order", 5), ("token", 7)], ..E::ANY },
    E { kinds: k(0b01000000), others: Some(3), ..E::ANY },
    E { kinds: k(0b00010000), ..E::ANY },
    E { kinds: k(0b00000100), ..E::ANY },
    E { kinds: k(0b00100000), items: Some(6), ..E::ANY },
    E { kinds: k(0b00010000), texts: &["cluster", "node"], ..E::ANY },
    E { kinds: k(0b00010001), secret: true, ..E::ANY },
    "#);
    let file = "[job]\nmaxJobs = 'x'\nunknown = 1\norder = ['hots']\ntoken = 5";
    let wrong = || Loader::<Small>::new().text("x.toml", Format::Toml, file);
    let expected = wrong().load().unwrap_err().to_string();
    assert_eq!(wrong().schema(&SCHEMA).load().unwrap_err().to_string(), expected);
    let settings = |loader: Loader<Small>| {
        let loader = loader.set("job.labels.a.b", "c").set("job.order", "node,cluster");
        let environment = [("JOB_TOKEN".to_owned(), "secret".to_owned())];
        let loaded = loader.environment(environment).load().unwrap();
        format!("{:?}", loaded.settings().unwrap())
    };
    assert_eq!(settings(Loader::new().schema(&SCHEMA)), settings(Loader::new()));
}

#[test]
fn null_unsets_what_may_be_unset() {
    let loaded = Loader::<Config>::new()
        .text("x.toml", Format::Toml, "job.kubernetes.namespace = 'x'")
        .set("job.kubernetes.namespace", "null")
        .load()
        .unwrap();
    assert_eq!(loaded.value.job.kubernetes.namespace, None);
    let error = Loader::<Config>::new().set("job.maxJobs", "null").load().unwrap_err();
    assert_eq!(error.to_string(), "--set: job.maxJobs: found `null`, expected a whole number");
}

#[test]
fn the_reference_is_the_defaults_and_names_every_key() {
    let text = render_reference::<Config>();
    assert_snapshot!(text, @r#"
    # Cortex's own section.
    [docker]
    #autoUpdate = false

    #host = ""

    # How jobs are run.
    [job]
    # Where job directories are created.
    directory = "/tmp"

    # When images are pulled.
    imagePullPolicy = "IfNotPresent"

    maxJobs = 50

    rules = []

    # The runners in the order in which they are tried.
    runners = ["kubernetes", "docker"]

    # How long a job may run.
    timeout = "30m"

    [job.docker]
    autoRemove = false

    # When an image is pulled.
    #imagePullPolicy = "Always"

    # An amount of memory in Kubernetes' notation, such as 64Mi or 1G.
    #memory = ""

    #password = ""

    [job.kubernetes]
    dns = "cluster"

    # When an image is pulled.
    #imagePullPolicy = "Always"

    labels = {}

    #namespace = ""

    #persistentVolumeClaimName = ""
    "#);
    let loaded = Loader::<Config>::new().text("x.toml", Format::Toml, text.clone()).load();
    assert_eq!(loaded.unwrap().value, Config::default());
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let keys = uncommented.parse::<toml_edit::DocumentMut>().unwrap();
    assert!(keys["job"]["kubernetes"].get("namespace").is_some());
}

#[test]
fn the_schema_is_the_same_each_time_and_ends_its_line() {
    let text = schema_json::<Config>();
    assert_eq!(text, schema_json::<Config>());
    assert!(text.ends_with("}\n"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["title"], "Config");
}

#[test]
fn a_relative_path_in_a_file_follows_the_file_and_not_the_working_directory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("part")).unwrap();
    std::fs::write(folder.join("part/b.conf"), "job.directory = jobs").unwrap();
    for (name, text, expected) in [
        ("a.toml", "job.directory = 'jobs'", "jobs"),
        ("a.yaml", "job: {directory: ./jobs/x}", "jobs/x"),
        ("a.json", "{\"job\": {\"directory\": \"../jobs\"}}", "../jobs"),
        ("a.conf", "job.directory = jobs", "jobs"),
        ("a.conf", "include \"part/b.conf\"", "part/jobs"),
        ("a.toml", "job.directory = '/jobs'", "/jobs"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
        let loaded = Loader::<Config>::new().file(folder.join(name)).load().unwrap();
        assert_eq!(Path::new(&loaded.value.job.directory), folder.join(expected), "{text}");
    }
}

#[test]
fn a_relative_path_in_a_variable_or_a_flag_is_relative_to_the_working_directory() {
    let here = std::env::current_dir().unwrap();
    let variable = Loader::<Config>::new().environment(env(&[("JOB_DIRECTORY", "jobs")]));
    let flag = Loader::<Config>::new().set("job.directory", "jobs");
    for loader in [variable, flag] {
        let directory = loader.load().unwrap().value.job.directory;
        assert_eq!(Path::new(&directory), here.join("jobs"));
    }
}

#[test]
fn a_path_below_the_home_folder_made_a_folder_named_by_a_tilde() {
    for path in ["~", "~/jobs"] {
        let error = Loader::<Config>::new().set("job.directory", path).load().unwrap_err();
        let said = error.to_string();
        assert!(said.contains("job.directory: only a shell replaces ~"), "{said}");
    }
    let other = Loader::<Config>::new().set("job.directory", "./~/~x").load().unwrap();
    assert!(other.value.job.directory.ends_with("/~/~x"));
}

//! Checks that the chart's files agree with the rest of the repository.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::site::chart_folder;
use crate::programs::checkout;

fn read(name: &str) -> String {
    fs::read_to_string(chart_folder().join(name)).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&read("values.schema.json")).unwrap()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_charts_version_of_longshore_is_the_workspaces() {
    let version = format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(read("Chart.yaml").lines().any(|line| line == version), "{version}");
}

#[test]
fn the_charts_job_has_the_keys_of_a_job_file_and_of_its_container() {
    let text = fs::read_to_string(checkout().join("conf/job.schema.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let mut expected = keys(&file["properties"]);
    assert!(expected.remove("container") && expected.remove("process"));
    // Nobody gives the command's Pod a stdin or a terminal that the job could have.
    assert!(expected.remove("stdin") && expected.remove("tty"));
    // A cluster's node does not have the files of the command's Pod.
    assert!(expected.remove("volumes"));
    expected.extend(keys(&file["$defs"]["Container"]["properties"]));
    assert_eq!(keys(&schema()["properties"]["job"]["properties"]), expected);
}

#[test]
fn each_value_has_a_default_and_a_schema() {
    let values = read("values.yaml");
    let key = |line: &str| {
        let (key, _) = line.split_once(':')?;
        key.starts_with(|first: char| first.is_ascii_lowercase()).then(|| key.to_owned())
    };
    let mut defaults: BTreeSet<String> = values.lines().filter_map(key).collect();
    // Helm's own value.
    defaults.insert("global".to_owned());
    assert_eq!(defaults, keys(&schema()["properties"]));
}

#[test]
fn the_readme_lists_each_value() {
    let readme = read("README.md");
    let schema = schema();
    for (key, value) in schema["properties"].as_object().unwrap() {
        // The keys of a job and of the configuration have descriptions of their own.
        let elsewhere = ["job", "config"].contains(&key.as_str());
        // A Pod's own fields are described by Kubernetes.
        let of_pod = ["affinity", "resources", "podSecurityContext", "securityContext"];
        let whole = elsewhere || of_pod.contains(&key.as_str());
        let parts = value["properties"].as_object().filter(|_| !whole);
        let names: Vec<String> = match parts {
            Some(parts) => parts.keys().map(|part| format!("| `{key}.{part}` |")).collect(),
            None if key == "global" => Vec::new(),
            None if key == "job" => vec!["| `job.image` |".to_owned(), "| `job.*` |".to_owned()],
            None => vec![format!("| `{key}` |")],
        };
        for name in names {
            assert!(readme.contains(&name), "{name}");
        }
    }
}

#[test]
fn the_image_is_built_by_the_compiler_that_the_workspace_asks_for() {
    let dockerfile = fs::read_to_string(checkout().join("Dockerfile")).unwrap();
    let version = env!("CARGO_PKG_RUST_VERSION");
    assert!(dockerfile.contains(&format!("/rust:{version}-slim")), "{version}");
}

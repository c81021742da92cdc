//! Checks what the chart and the Kubernetes runner create against the API's schemas of several
//! versions of Kubernetes, with kubeconform.
//!
//! A published version of Kubernetes has its API's description in the source, as a Go module. A check
//! downloads 20 MB for each version, so it belongs to a release and not to every test run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use longshore_lab::{checkout, say, shell};
use serde_json::{Map, Value, json};

/// A version of each minor version that the chart is checked against.
const VERSIONS: [&str; 5] = ["1.30.14", "1.31.14", "1.32.13", "1.33.9", "1.34.4"];
const KUBECONFORM: &str = "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0";
/// Values that, with the examples, reach each template of the chart.
const SETTINGS: [&[&str]; 4] = [
    &[],
    &["gc.schedule=@daily", "upgrade.runningJob=wait", "podDisruptionBudget.create=true"],
    &["schedule=@daily", "cronJob.timeZone=Etc/UTC", "networkPolicy.create=true"],
    &["upgrade.runningJob=beside", "rbac.secrets=true", "rbac.stdin=true", "rbac.exec=true"],
];
/// A Job with a field that does not exist. A check that accepts it checks nothing.
const WRONG: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec:\n  backofLimit: 0\n  \
                     template: {spec: {containers: [{name: x}]}}\n";

/// Checks every version. Returns false if an object does not fit the schema of one.
pub(crate) fn chart() -> Result<bool> {
    let folder = checkout().join("target/xtask-chart");
    fs::create_dir_all(&folder)?;
    let submitted = submitted(&checkout().join("crates/kubernetes/src/snapshots"))?;
    shell::capture(go()?.args(["install", KUBECONFORM]).env("GOBIN", &folder))?;
    let mut good = true;
    for version in VERSIONS {
        let schemas = folder.join(format!("v{version}"));
        write_schemas(&described(version)?, &schemas)?;
        let mut objects = submitted.clone();
        objects.extend(rendered(version)?);
        let file = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let objects = file("objects.yaml", &objects.join("\n---\n"))?;
        let wrong = file("wrong.yaml", WRONG)?;
        ensure!(
            !fits(&folder, &schemas, version, &wrong)?.0,
            "kubeconform accepts a field that does not exist in Kubernetes {version}"
        );
        let (fit, said) = fits(&folder, &schemas, version, &objects)?;
        say!("Kubernetes {version}: {said}");
        good &= fit;
    }
    Ok(good)
}

/// Returns the go command, which is where the developer installed it.
fn go() -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/local/go/bin")]);
    let program = folders.map(|folder| folder.join("go")).find(|program| program.exists());
    Ok(Command::new(program.context("failed to find the go command")?))
}

/// Returns the types of the API of `version`, by their names.
fn described(version: &str) -> Result<Map<String, Value>> {
    let module = format!("k8s.io/kubernetes@v{version}");
    let found = shell::capture(go()?.args(["mod", "download", "-json", &module]))?;
    let found: Value = serde_json::from_str(&found)?;
    let folder = found["Dir"].as_str().context("go names no folder of the module")?;
    let path = Path::new(folder).join("api/openapi-spec/swagger.json");
    let text = fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut whole: Value = serde_json::from_slice(&text)?;
    match whole["definitions"].take() {
        Value::Object(types) => Ok(types),
        _ => bail!("{} has no definitions", path.display()),
    }
}

/// Writes the schema of each kind to `folder`, under the name by which kubeconform looks for it.
fn write_schemas(types: &Map<String, Value>, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let strict: Map<String, Value> =
        types.iter().map(|(name, kind)| (name.clone(), strict(name, kind))).collect();
    fs::write(folder.join("types.json"), json!({ "definitions": strict }).to_string())?;
    for (name, kind) in types {
        let kinds = kind["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds.into_iter().flatten() {
            let schema = json!({ "$ref": format!("types.json#/definitions/{name}") });
            fs::write(folder.join(file_of(kind)), schema.to_string())?;
        }
    }
    Ok(())
}

/// Returns the name of the file for `kind`, a `group`, a `version` and a `kind`.
fn file_of(kind: &Value) -> String {
    let part = |name: &str| kind[name].as_str().unwrap_or_default();
    let group = part("group").split('.').next().unwrap_or_default();
    let parts = [part("kind"), group, part("version")];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}.json", parts.join("-").to_lowercase())
}

/// Returns the schema of the type `name` that allows no unknown field. What the API reads in two ways
/// has two types.
fn strict(name: &str, kind: &Value) -> Value {
    match name.rsplit('.').next() {
        Some("IntOrString") => return json!({ "type": ["string", "integer"] }),
        Some("Quantity") => return json!({ "type": ["string", "number"] }),
        _ => {}
    }
    let mut kind = kind.clone();
    if kind.get("properties").is_some() && kind.get("additionalProperties").is_none() {
        kind["additionalProperties"] = Value::Bool(false);
    }
    kind
}

/// Returns what the chart creates on `version`.
fn rendered(version: &str) -> Result<Vec<String>> {
    let helm = std::env::var_os("LONGSHORE_LAB_HELM").unwrap_or_else(|| "helm".into());
    let folder = checkout().join("conf/helm");
    let template = |more: Vec<OsString>| {
        let mut command = Command::new(&helm);
        command.args(["template", "release", "--kube-version", version]);
        shell::capture(command.arg(folder.join("longshore")).args(more))
            .context("helm: LONGSHORE_LAB_HELM names it, else PATH has it")
    };
    let mut all = Vec::new();
    for settings in SETTINGS {
        let settings = [&["job.image=registry.example.org/tool:1"], settings].concat();
        let flags = settings.iter().flat_map(|setting| ["--set".into(), OsString::from(setting)]);
        all.push(template(flags.collect())?);
    }
    for example in fs::read_dir(folder.join("examples"))? {
        all.push(template(vec!["--values".into(), example?.path().into()])?);
    }
    Ok(all)
}

/// Returns what the Kubernetes runner creates, from the snapshots of its tests.
fn submitted(folder: &Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let text = fs::read_to_string(entry?.path())?;
        // A snapshot begins with a header between two lines.
        let body = text.splitn(3, "---\n").nth(2).unwrap_or_default();
        if body.starts_with("apiVersion: ") {
            all.push(body.to_owned());
        }
    }
    ensure!(!all.is_empty(), "no snapshot in {} is an object", folder.display());
    Ok(all)
}

/// Returns whether every object in `objects` fits its schema, and what kubeconform says.
fn fits(folder: &Path, schemas: &Path, version: &str, objects: &Path) -> Result<(bool, String)> {
    let mut command = Command::new(folder.join("kubeconform"));
    let place = schemas.join("{{.ResourceKind}}{{.KindSuffix}}.json");
    command.args(["-strict", "-summary", "-kubernetes-version", version, "-schema-location"]);
    let output = command.arg(place).arg(objects).output().context("failed to run kubeconform")?;
    let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok((output.status.success(), said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_the_name_by_which_kubeconform_looks_for_it() {
        let kind = |group: &str| json!({ "group": group, "version": "v1", "kind": "Role" });
        assert_eq!(file_of(&kind("")), "role-v1.json");
        assert_eq!(file_of(&kind("rbac.authorization.k8s.io")), "role-rbac-v1.json");
    }

    #[test]
    fn an_unknown_field_fits_no_type_that_has_fields() {
        let fields = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        assert_eq!(strict("io.k8s.api.x", &fields)["additionalProperties"], json!(false));
        let map = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        assert_eq!(strict("io.k8s.api.x", &map), map);
        assert_eq!(strict("a.Quantity", &json!({}))["type"], json!(["string", "number"]));
    }

    #[test]
    fn the_snapshots_of_the_runner_have_objects() {
        let found = submitted(&checkout().join("crates/kubernetes/src/snapshots")).unwrap();
        assert!(found.len() >= 3, "{found:?}");
        assert!(found.iter().all(|text| text.contains("kind: Job")), "{found:?}");
    }
}

//! What others do to a cluster: requests by `kubectl`, admission policies for one job, and
//! namespaces with rules of their own.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::check::{Checked, until};
use crate::lab::Lab;
use crate::running::PATIENCE;

/// The objects that a policy or webhook applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Jobs,
    Pods,
}

impl Target {
    fn rules(self) -> Value {
        let (group, resource) = match self {
            Self::Jobs => ("batch", "jobs"),
            Self::Pods => ("", "pods"),
        };
        json!([{
            "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource],
            "operations": ["CREATE"],
        }])
    }

    /// Returns an object as Longshore's are, for a dry run.
    fn probe(self, stage: &Stage) -> Value {
        let own = |name: &str| format!("longshore.dev/{name}");
        let labels = json!({
            "accident": stage.mark, own("installation"): "probe", own("job"): "probe",
            own("attempt"): "probe",
        });
        let marks = json!({own("commit"): "open", own("ending"): "none"});
        let image = stage.bench.lab.image.clone().unwrap_or_default();
        let container = json!({
            "name": "job", "image": image, "imagePullPolicy": "IfNotPresent", "args": ["true"],
        });
        let pod = json!({"restartPolicy": "Never", "containers": [container]});
        let metadata = json!({"name": format!("probe-{}", stage.mark), "labels": labels, "annotations": marks});
        match self {
            Self::Pods => {
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
            }
            Self::Jobs => json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
                "spec": {
                    "suspend": true, "backoffLimit": 0,
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            }),
        }
    }
}

/// Runs `kubectl ARGS` in the job's namespace, and returns what it prints.
pub(super) fn kubectl(stage: &Stage, args: &[&str]) -> Result<String> {
    call(&stage.bench.lab, args, None)
}

fn call(lab: &Lab, args: &[&str], input: Option<&Value>) -> Result<String> {
    let mut kubectl = Command::new(lab.kubectl.as_deref().context("no kubectl")?);
    kubectl.args(["--request-timeout=20s", "--namespace"]).args(&lab.namespace).args(args);
    kubectl.env("KUBECONFIG", lab.kubeconfig.as_deref().unwrap_or_default());
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = kubectl.spawn().context("failed to run kubectl")?;
    let mut stdin = child.stdin.take().context("no input")?;
    if let Some(input) = input {
        // If kubectl ends before it has read everything, its message says why.
        let _ = stdin.write_all(input.to_string().as_bytes());
    }
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {}", args.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Creates objects, and deletes them when the row is over.
pub(super) fn create(stage: &mut Stage, objects: &[Value]) -> Checked {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let lab = Arc::clone(&stage.bench.lab);
    stage.afterwards(move |_| {
        let delete = ["delete", "--ignore-not-found", "--wait=false", "--filename", "-"];
        call(&lab, &delete, Some(&list)).map(drop)
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    call(&stage.bench.lab, &["create", "--filename", "-"], Some(&list)).map(drop)
}

/// Returns the job's objects of a kind, as `KIND/NAME`.
pub(super) fn object(stage: &Stage, kind: &str) -> Result<String> {
    let selector = format!("accident={}", stage.mark);
    let found = kubectl(stage, &["get", kind, "--selector", &selector, "--output", "name"])?;
    found.lines().next().map(str::to_owned).with_context(|| format!("there is no {kind}"))
}

/// Applies a merge patch to the job's object of a kind.
pub(super) fn patch(stage: &Stage, kind: &str, patch: &str) -> Checked {
    let name = object(stage, kind)?;
    kubectl(stage, &["patch", &name, "--type", "merge", "--patch", patch]).map(drop)
}

/// Posts an object to a path of the API.
pub(super) fn post(stage: &Stage, path: &str, object: &Value) -> Checked {
    call(&stage.bench.lab, &["create", "--raw", path, "--filename", "-"], Some(object)).map(drop)
}

/// Sends an object to the API server as a dry run, and returns its answer.
fn dry_run(stage: &Stage, target: Target) -> Result<String> {
    let create = ["create", "--dry-run=server", "--output", "json", "--filename", "-"];
    call(&stage.bench.lab, &create, Some(&target.probe(stage)))
}

/// Denies every object of the job, with `message`.
pub(super) fn deny(stage: &mut Stage, target: Target, message: &str) -> Checked {
    let spec = json!({
        "failurePolicy": "Fail",
        "validations": [{"expression": "false", "message": message}],
    });
    policy(stage, target, "ValidatingAdmissionPolicy", "v1", spec)?;
    until(PATIENCE, "the policy to be in force", || {
        Ok(dry_run(stage, target).is_err().then_some(()))
    })
}

/// Applies a JSON patch to every object of the job: operations in CEL, separated by commas.
pub(super) fn mutate(stage: &mut Stage, target: Target, patch: &str) -> Checked {
    let marked = r#"JSONPatch{op: "add", path: "/metadata/labels/mutated", value: "yes"}"#;
    let patch = format!("[{marked}, {patch}]");
    let spec = json!({
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    });
    policy(stage, target, "MutatingAdmissionPolicy", "v1beta1", spec)?;
    let mut said = String::new();
    until(PATIENCE, "the policy to be in force", || {
        said = dry_run(stage, target).unwrap_or_else(|error| format!("{error:#}"));
        Ok(said.contains("\"mutated\"").then_some(()))
    })
    .with_context(|| said.clone())
}

fn policy(
    stage: &mut Stage,
    target: Target,
    kind: &str,
    version: &str,
    mut spec: Value,
) -> Checked {
    let (name, mark) = (format!("accident-{}", stage.mark), stage.mark.clone());
    spec["matchConstraints"] = json!({"resourceRules": target.rules()});
    spec["matchConditions"] = json!([{
        "name": "of-this-job",
        "expression": format!(
            "has(object.metadata.labels) && 'accident' in object.metadata.labels && \
             object.metadata.labels['accident'] == '{mark}'"
        ),
    }]);
    let mut binding = json!({"policyName": name});
    if kind == "ValidatingAdmissionPolicy" {
        binding["validationActions"] = json!(["Deny"]);
    }
    let whole = |kind: &str, spec: Value| {
        json!({
            "apiVersion": format!("admissionregistration.k8s.io/{version}"), "kind": kind,
            "metadata": {"name": name}, "spec": spec,
        })
    };
    create(stage, &[whole(kind, spec), whole(&format!("{kind}Binding"), binding)])
}

/// Has the API server call a webhook at `url` for every object of the job.
pub(super) fn webhook(stage: &mut Stage, target: Target, url: &str, failure: &str) -> Checked {
    let name = format!("accident-{}.longshore.dev", stage.mark);
    create(
        stage,
        &[json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": failure, "timeoutSeconds": 1, "clientConfig": {"url": url},
                "objectSelector": {"matchLabels": {"accident": stage.mark}},
                "rules": target.rules(),
            }],
        })],
    )
}

/// Waits until the API server calls the webhook, as `is_called` finds out after each dry run.
pub(super) fn until_called(
    stage: &Stage,
    target: Target,
    is_called: impl Fn(&Result<String>) -> bool,
) -> Checked {
    until(PATIENCE, "the webhook to be called", || {
        Ok(is_called(&dry_run(stage, target)).then_some(()))
    })
}

/// Gives the job a namespace of its own, with these labels, `objects` in it, and a claim on the
/// lab's volume.
pub(super) fn namespace(stage: &mut Stage, labels: &Value, objects: &[Value]) -> Checked {
    let name = format!("accident-{}", stage.mark);
    let claim = stage.bench.lab.claim.clone().context("no claim")?;
    let size = json!({"storage": "1Gi"});
    let space = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
    });
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"], "capacity": size, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": stage.bench.lab.volume, "type": "Directory"},
            "claimRef": {"namespace": name, "name": claim},
        },
    });
    create(stage, &[space, volume])?;
    let mut lab = (*stage.bench.lab).clone();
    lab.namespace = Some(name.clone());
    stage.bench.lab = Arc::new(lab);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
        "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name,
            "resources": {"requests": size},
        },
    });
    let items = [&[claim], objects].concat();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    call(&stage.bench.lab, &["create", "--filename", "-"], Some(&list))?;
    let wait = "--timeout=60s";
    kubectl(stage, &["wait", wait, "--for=create", "serviceaccount/default"])?;
    kubectl(stage, &["wait", wait, "--for=jsonpath={.status.phase}=Bound", "pvc", "--all"])?;
    for object in objects.iter().filter(|object| object["kind"] == "ResourceQuota") {
        // A quota counts once its controller has written its status.
        let name = format!("quota/{}", object["metadata"]["name"].as_str().unwrap_or_default());
        kubectl(stage, &["wait", wait, "--for=jsonpath={.status.hard}", &name])?;
    }
    Ok(())
}

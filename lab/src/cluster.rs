//! What the tests need in the cluster: a ready node, a namespace with a service
//! account, and a claim on a volume.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::component::{Verdict, expect, poll};
use super::graph::Done;
use super::layout::{CLAIM, Lab, NAMESPACE, NODE, make_dir};
use super::{certificates, shell};

const WITHIN: Duration = Duration::from_secs(60);

/// Runs kubectl as the lab itself.
pub(crate) fn kubectl<const N: usize>(lab: &Lab, args: [&str; N]) -> Result<String> {
    let mut command = Command::new(lab.bin("kubectl"));
    command
        .arg("--kubeconfig")
        .arg(certificates::kubeconfig(lab, "lab"))
        .arg("--request-timeout=10s")
        .args(args)
        .env("HOME", lab.data("kubectl"));
    shell::capture(&mut command)
}

/// Waits until the node is ready for Pods.
pub(crate) fn await_node(lab: &Lab) -> Result<Done> {
    let status = "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.spec.taints}";
    wait("the node is not ready", || {
        let found = kubectl(lab, ["get", "node", NODE, "--output", status])?;
        expect(found.trim() == "True", &format!("ready and taints are {found:?}"))
    })?;
    Ok(Done::Already)
}

/// Creates the namespace, the volume and the claim.
pub(crate) fn ensure_volume(lab: &Lab) -> Result<Done> {
    let folder = lab.volume();
    make_dir(&folder)?;
    // Containers write to it, whichever user they run as.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))
        .with_context(|| format!("failed to open up {}", folder.display()))?;
    if is_settled(lab).is_ok() {
        return Ok(Done::Already);
    }
    let manifest = lab.etc("volume.json");
    lab.write(&manifest, serde_json::to_vec_pretty(&objects(lab))?)?;
    kubectl(lab, ["apply", "--filename", &manifest.to_string_lossy()])?;
    wait("the claim is not bound", || is_settled(lab))?;
    Ok(Done::Changed(format!("created {NAMESPACE}/{CLAIM}")))
}

fn is_settled(lab: &Lab) -> Result<()> {
    let phase = "jsonpath={.status.phase}";
    let found = kubectl(lab, ["--namespace", NAMESPACE, "get", "pvc", CLAIM, "--output", phase])?;
    expect(found == "Bound", &format!("the claim is {found:?}"))?;
    kubectl(lab, ["--namespace", NAMESPACE, "get", "serviceaccount", "default"]).map(drop)
}

fn wait(otherwise: &'static str, condition: impl Fn() -> Result<()>) -> Result<()> {
    poll(WITHIN, || condition().map_err(Verdict::NotYet)).context(otherwise)
}

fn objects(lab: &Lab) -> Value {
    let volume = "longshore-lab";
    let size = json!({ "storage": "10Gi" });
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE },
    });
    let persistent_volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": { "name": volume },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": size,
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": { "path": lab.volume(), "type": "Directory" },
            "claimRef": { "namespace": NAMESPACE, "name": CLAIM },
        },
    });
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": CLAIM, "namespace": NAMESPACE },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": volume,
            "resources": { "requests": size },
        },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [namespace, persistent_volume, claim] })
}

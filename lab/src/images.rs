//! The lab's images: a busybox, and the pause image of Pods. They are built from
//! Debian's static busybox and written to the registry, so no engine has them
//! before it pulls them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::component::Component;
use super::containerd;
use super::graph::Done;
use super::http::Client;
use super::layout::{Lab, hex, make_dir};
use super::registry::{OPEN, PRIVATE, Registry};
use super::shell;

const TAG: &str = "1";
const BUSYBOX: &str = "longshore/busybox";
const PAUSE: &str = "longshore/pause";

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

pub(crate) fn busybox() -> String {
    format!("{}/{BUSYBOX}:{TAG}", OPEN.host)
}

/// Returns the same image in the registry that requires a login.
pub(crate) fn private_busybox() -> String {
    format!("{}/{BUSYBOX}:{TAG}", PRIVATE.host)
}

pub(crate) fn pause() -> String {
    format!("{}/{PAUSE}:{TAG}", OPEN.host)
}

/// Creates the images that the open registry lacks.
pub(crate) fn ensure(lab: &Lab) -> Result<Done> {
    ensure_in(lab, &OPEN, &[BUSYBOX, PAUSE])
}

/// Creates the images that the private registry lacks.
pub(crate) fn ensure_private(lab: &Lab) -> Result<Done> {
    ensure_in(lab, &PRIVATE, &[BUSYBOX])
}

fn ensure_in(lab: &Lab, registry: &Registry, images: &[&'static str]) -> Result<Done> {
    let client = registry.client(lab)?;
    let mut absent = Vec::new();
    for image in images.iter().copied() {
        if !has(&client, image)? {
            absent.push(image);
        }
    }
    if absent.is_empty() {
        return Ok(Done::Already);
    }
    let work = lab.data(&format!("{}-images", registry.name()));
    let layer = make_layer(&work).context("failed to make the busybox tree")?;
    for image in &absent {
        push(&client, image, &process(image), &layer)
            .with_context(|| format!("failed to push {image}"))?;
    }
    fs::remove_dir_all(&work).with_context(|| format!("failed to remove {}", work.display()))?;
    Ok(Done::Changed(format!("pushed {}", absent.join(", "))))
}

/// Pulls the pause image into the kubelet's runtime, so that the first Pod of a
/// test takes no longer than the second.
pub(crate) fn preload_pause(lab: &Lab) -> Result<Done> {
    let pause = pause();
    if containerd::control(lab, ["images", "list", "--quiet"])?.lines().any(|name| name == pause) {
        return Ok(Done::Already);
    }
    containerd::control(lab, ["images", "pull", "--plain-http", &pause])?;
    containerd::control(lab, ["images", "label", &pause, "io.cri-containerd.image=managed"])?;
    Ok(Done::Changed("pulled".into()))
}

/// Returns the process that the image runs.
fn process(image: &str) -> Value {
    // The first process of a container receives only signals that it handles.
    let wait = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done";
    let mut process = json!({
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    });
    if image == PAUSE {
        process["Entrypoint"] = json!(["/bin/sh", "-c", wait]);
    } else {
        process["Cmd"] = json!(["sh"]);
    }
    process
}

struct Layer {
    /// The digest of the uncompressed `blob`.
    diff_id: String,
    blob: Vec<u8>,
}

fn make_layer(work: &Path) -> Result<Layer> {
    let tree = work.join("tree");
    if work.exists() {
        fs::remove_dir_all(work)?;
    }
    make_tree(&tree)?;
    let archive = work.join("layer.tar");
    let mut tar = Command::new("tar");
    // The same tree results in the same bytes, and so in the same digest.
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"])
        .arg("--create")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(&tree)
        .arg(".");
    shell::capture(&mut tar)?;
    let diff_id = digest(&fs::read(&archive)?);
    shell::capture(Command::new("gzip").args(["--no-name", "-6"]).arg(&archive))?;
    let blob = fs::read(work.join("layer.tar.gz"))?;
    Ok(Layer { diff_id, blob })
}

fn make_tree(tree: &Path) -> Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "var"] {
        make_dir(&tree.join(dir))?;
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(tree.join("etc/passwd"), PASSWD)?;
    fs::write(tree.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    let program = tree.join("bin/busybox");
    fs::copy("/bin/busybox", &program)?;
    for applet in shell::run(&program, ["--list"])?.lines().filter(|name| *name != "busybox") {
        symlink("/bin/busybox", tree.join("bin").join(applet))
            .with_context(|| format!("failed to link {applet}"))?;
    }
    symlink("/bin/busybox", tree.join("usr/bin/env"))?;
    Ok(())
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
";

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn has(registry: &Client, image: &str) -> Result<bool> {
    let path = format!("/v2/{image}/manifests/{TAG}");
    Ok(registry.request("HEAD", &path, &[("Accept", MANIFEST)], &[])?.status == 200)
}

fn push(registry: &Client, image: &str, process: &Value, layer: &Layer) -> Result<()> {
    let config = serde_json::to_vec(&json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": process,
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "comment": "longshore lab" }],
    }))?;
    upload(registry, image, &config)?;
    upload(registry, image, &layer.blob)?;
    let describe = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(CONFIG, &config),
        "layers": [describe(LAYER, &layer.blob)],
    }))?;
    let path = format!("/v2/{image}/manifests/{TAG}");
    send(registry, "PUT", &path, &[("Content-Type", MANIFEST)], &manifest)
}

fn upload(registry: &Client, image: &str, blob: &[u8]) -> Result<()> {
    let begun = registry.request("POST", &format!("/v2/{image}/blobs/uploads/"), &[], &[])?;
    let location = begun.header("Location").context("the registry names no upload")?;
    let path = location
        .split_once("://")
        .map_or(location, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
    let mark = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{mark}digest={}", digest(blob));
    send(registry, "PUT", &path, &[("Content-Type", "application/octet-stream")], blob)
}

fn send(
    registry: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<()> {
    let answer = registry.request(method, path, headers, body)?;
    if answer.status != 201 {
        let said = String::from_utf8_lossy(&answer.body);
        bail!("the registry answers {} to {method} {path}: {said}", answer.status);
    }
    Ok(())
}

/// Returns the architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b""), empty);
    }

    #[test]
    fn only_the_pause_image_runs_by_itself() {
        assert!(process(PAUSE).get("Entrypoint").is_some());
        assert_eq!(process(BUSYBOX)["Cmd"], json!(["sh"]));
    }
}

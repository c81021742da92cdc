//! Admission that denies a job's objects or changes them.

use super::cluster::{Target, deny, mutate, until_called, webhook};
use super::situation::{CLUSTER, Expected, Situation, Starts, ends, exits, lost, on, refused};
use super::stage::{Stage, WAITS};
use crate::check::Checked;
use crate::network::{Silent, refusing};
use crate::running::Ran;

const DENIED: Expected = refused("NotRun", 125, &["Denied", "not this team"]);
const NO_WEBHOOK: Expected = refused("NotRun", 125, &["Unavailable", "webhook"]);
const SETUP_FAILED: Expected = refused("Rejected", 125, &["init container `setup`"]);
const NO_IMAGE: Expected = refused("ImageUnavailable", 125, &["no-such-image"]);
const UNMARKED: Expected = refused("NotRun", 125, &["longshore.dev/commit"]);
const CHANGED: Expected = refused("NotRun", 125, &["Unsupported", "label longshore.dev/attempt"]);
const STRIPPED: Expected = lost(&["its Pod is gone"]);
const LIMITED: Expected = ends("Evicted", 125, &["admission set the Pod's activeDeadlineSeconds"]);
const TWICE: Expected = ends("Exited", 3, &[]).started(Starts::ByOthers);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CLUSTER, "admission denies its Job", |s| denied(s, Target::Jobs), DENIED),
    on(CLUSTER, "admission denies its Pod", |s| denied(s, Target::Pods), DENIED),
    on(CLUSTER, "admission adds a sidecar", |s| pod(s, SIDECAR), exits(3)),
    on(CLUSTER, "admission adds a native sidecar", native, exits(3)),
    on(CLUSTER, "admission adds an init container", |s| setup(s, "true"), exits(3)),
    on(CLUSTER, "admission adds an init container that fails", failing, SETUP_FAILED),
    on(CLUSTER, "admission renames its container", |s| pod(s, RENAME), exits(3)),
    on(CLUSTER, "admission names the image differently", alias, exits(3)),
    on(CLUSTER, "admission sets an image that does not exist", no_image, NO_IMAGE),
    on(CLUSTER, "admission sets the pull policy", |s| pod(s, ALWAYS), exits(3)),
    on(CLUSTER, "admission sets restartPolicy", |s| pod(s, ON_FAILURE), TWICE),
    on(CLUSTER, "admission sets activeDeadlineSeconds", deadline, LIMITED),
    on(CLUSTER, "admission strips its Job's annotations", |s| job(s, UNMARK), UNMARKED),
    on(CLUSTER, "admission strips its Job's labels", |s| job(s, UNLABEL), CHANGED),
    on(CLUSTER, "admission strips its Pod's labels", |s| pod(s, UNLABEL), STRIPPED),
    on(CLUSTER, "a webhook for Jobs is away", |s| away(s, Target::Jobs), NO_WEBHOOK),
    on(CLUSTER, "a webhook for Pods is away", |s| away(s, Target::Pods), NO_WEBHOOK),
    on(CLUSTER, "a webhook for Jobs is away and ignored", |s| gone(s, Target::Jobs), exits(3)),
    on(CLUSTER, "a webhook for Pods is away and ignored", |s| gone(s, Target::Pods), exits(3)),
    on(CLUSTER, "a webhook for Jobs never answers", |s| stuck(s, Target::Jobs), NO_WEBHOOK),
    on(CLUSTER, "a webhook for Pods never answers", |s| stuck(s, Target::Pods), NO_WEBHOOK),
    on(CLUSTER, "a webhook for Jobs is silent and ignored", |s| silent(s, Target::Jobs), exits(3)),
    on(CLUSTER, "a webhook for Pods is silent and ignored", |s| silent(s, Target::Pods), exits(3)),
];

const SIDECAR: &str = r#"JSONPatch{op: "add", path: "/spec/containers/-", value:
    Object.spec.containers{name: "beside", image: object.spec.containers[0].image,
    command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"]}}"#;
const RENAME: &str = r#"JSONPatch{op: "replace", path: "/spec/containers/0/name", value: "x"}"#;
const ALWAYS: &str =
    r#"JSONPatch{op: "add", path: "/spec/containers/0/imagePullPolicy", value: "Always"}"#;
const ON_FAILURE: &str =
    r#"JSONPatch{op: "replace", path: "/spec/restartPolicy", value: "OnFailure"}"#;
const UNMARK: &str = r#"JSONPatch{op: "remove", path: "/metadata/annotations/" +
    jsonpatch.escapeKey("longshore.dev/commit")}"#;
const UNLABEL: &str = r#"JSONPatch{op: "remove", path: "/metadata/labels/" +
    jsonpatch.escapeKey("longshore.dev/attempt")}"#;

fn denied(stage: &mut Stage, target: Target) -> Checked<Ran> {
    deny(stage, target, "not this team")?;
    stage.script("exit 3")
}

fn pod(stage: &mut Stage, patch: &str) -> Checked<Ran> {
    mutate(stage, Target::Pods, patch)?;
    stage.script("exit 3")
}

fn job(stage: &mut Stage, patch: &str) -> Checked<Ran> {
    mutate(stage, Target::Jobs, patch)?;
    stage.script("exit 3")
}

/// Adds an init container to the Pod.
fn init(stage: &mut Stage, fields: &str) -> Checked<Ran> {
    let patch = format!(
        r#"JSONPatch{{op: "add", path: "/spec/initContainers", value: []}},
        JSONPatch{{op: "add", path: "/spec/initContainers/-", value:
        Object.spec.initContainers{{name: "setup", image: object.spec.containers[0].image,
        {fields}}}}}"#
    );
    pod(stage, &patch)
}

fn setup(stage: &mut Stage, command: &str) -> Checked<Ran> {
    init(stage, &format!(r#"command: ["{command}"]"#))
}

fn failing(stage: &mut Stage) -> Checked<Ran> {
    setup(stage, "false")
}

fn native(stage: &mut Stage) -> Checked<Ran> {
    let command = r#"["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"]"#;
    init(stage, &format!(r#"restartPolicy: "Always", command: {command}"#))
}

fn image(stage: &mut Stage, image: &str) -> Checked<Ran> {
    let path = "/spec/containers/0/image";
    pod(stage, &format!(r#"JSONPatch{{op: "replace", path: "{path}", value: "{image}"}}"#))
}

fn alias(stage: &mut Stage) -> Checked<Ran> {
    let alias = stage.bench.image()?.replace("localhost:", "127.0.0.1:");
    image(stage, &alias)
}

fn no_image(stage: &mut Stage) -> Checked<Ran> {
    let registry = stage.bench.image()?.split('/').next().unwrap_or_default().to_owned();
    image(stage, &format!("{registry}/longshore/no-such-image:1"))
}

fn deadline(stage: &mut Stage) -> Checked<Ran> {
    let patch = r#"JSONPatch{op: "add", path: "/spec/activeDeadlineSeconds", value: 3}"#;
    mutate(stage, Target::Pods, patch)?;
    stage.script(WAITS)
}

fn away(stage: &mut Stage, target: Target) -> Checked<Ran> {
    webhook(stage, target, &format!("https://{}/", refusing()?), "Fail")?;
    until_called(stage, target, Result::is_err)?;
    let command = stage.command(&[], "exit 3")?;
    stage.run(command.env("JOB_STARTTIMEOUT", "3s"))
}

fn stuck(stage: &mut Stage, target: Target) -> Checked<Ran> {
    let server = Silent::new()?;
    webhook(stage, target, &format!("https://{}/", server.address()), "Fail")?;
    until_called(stage, target, Result::is_err)?;
    let command = stage.command(&[], "exit 3")?;
    stage.run(command.env("JOB_STARTTIMEOUT", "3s"))
}

/// The API server waits for the webhook in vain, and then ignores it.
fn silent(stage: &mut Stage, target: Target) -> Checked<Ran> {
    let server = Silent::new()?;
    webhook(stage, target, &format!("https://{}/", server.address()), "Ignore")?;
    until_called(stage, target, |_| server.is_connected())?;
    stage.script("exit 3")
}

/// The API server called the webhook until it went away, and then ignores that it is away.
fn gone(stage: &mut Stage, target: Target) -> Checked<Ran> {
    let server = Silent::new()?;
    webhook(stage, target, &format!("https://{}/", server.address()), "Ignore")?;
    until_called(stage, target, |_| server.is_connected())?;
    server.hang_up()?;
    stage.script("exit 3")
}

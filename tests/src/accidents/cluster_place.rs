//! Namespaces with rules of their own, and Pods that find no place.

use serde_json::{Value, json};

use super::cluster::{Target, mutate, namespace};
use super::situation::{CLUSTER, Expected, Situation, exits, on, refused};
use super::stage::Stage;
use crate::check::Checked;
use crate::running::Ran;

const FULL: Expected = refused("NotRun", 125, &["Saturated", "exceeded quota"]);
const NO_LIMITS: Expected = refused("NotRun", 125, &["must specify limits"]);
const OVER: Expected = refused("NotRun", 125, &["Denied", "maximum memory usage"]);
const UNDER: Expected = refused("NotRun", 125, &["Denied", "minimum memory usage"]);
const UNSAFE: Expected = refused("NotRun", 125, &["Denied", "violates PodSecurity"]);
const NO_ACCOUNT: Expected = refused("Rejected", 125, &["no-such-account"]);
const NO_CLAIM: Expected = refused("Rejected", 125, &["ContainerConfig", "no-such-claim"]);
const NO_NODE: Expected = refused("NotRun", 125, &["Saturated", "node"]);
const NO_ROOM: Expected = refused("NotRun", 125, &["Saturated", "Insufficient memory"]);
const NO_SCHEDULER: Expected = refused("NotRun", 125, &["Unavailable", "no-such-scheduler"]);
const NO_CLASS: Expected = refused("Rejected", 125, &["RuntimeClass", "no-such-class"]);
const NO_PRIORITY: Expected = refused("Rejected", 125, &["PriorityClass", "no-such-class"]);
const NO_NAMESPACE: Expected = refused("NotRun", 125, &["no-such-namespace"]);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CLUSTER, "a quota of no Pods", |s| quota(s, &json!({"pods": "0"})), FULL),
    on(CLUSTER, "a quota of no Jobs", |s| quota(s, &json!({"count/jobs.batch": "0"})), FULL),
    on(CLUSTER, "a quota that demands limits", demanding, NO_LIMITS),
    on(
        CLUSTER,
        "a LimitRange with a lower maximum",
        |s| range(s, &json!({"max": SMALL}), BIG),
        OVER,
    ),
    on(
        CLUSTER,
        "a LimitRange with a higher minimum",
        |s| range(s, &json!({"min": LARGE}), BIG),
        UNDER,
    ),
    on(CLUSTER, "a LimitRange with a default", defaults, exits(3)),
    on(CLUSTER, "Pod security enforces restricted", |s| secured(s, "enforce"), UNSAFE),
    on(CLUSTER, "Pod security warns of restricted", |s| secured(s, "warn"), exits(3)),
    on(CLUSTER, "Pod security audits restricted", |s| secured(s, "audit"), exits(3)),
    on(CLUSTER, "its ServiceAccount does not exist", no_account, NO_ACCOUNT),
    on(CLUSTER, "its claim does not exist", no_claim, NO_CLAIM),
    on(CLUSTER, "its namespace does not exist", no_namespace, NO_NAMESPACE),
    on(CLUSTER, "no node has its labels", no_node, NO_NODE),
    on(CLUSTER, "no node has its memory", no_room, NO_ROOM),
    on(CLUSTER, "its scheduler does not exist", no_scheduler, NO_SCHEDULER),
    on(CLUSTER, "its runtime class does not exist", |s| class(s, "runtimeClassName"), NO_CLASS),
    on(
        CLUSTER,
        "its priority class does not exist",
        |s| class(s, "priorityClassName"),
        NO_PRIORITY,
    ),
];

const SMALL: &str = "16Mi";
const LARGE: &str = "1Gi";
const BIG: &str = "[resources.limits]\nmemory = '64Mi'\n";

/// Runs a job that is given up if it has no place after three seconds.
fn placed(stage: &mut Stage, flags: &[&str]) -> Checked<Ran> {
    let command = stage.command(flags, "exit 3")?;
    stage.run(command.env("JOB_STARTTIMEOUT", "3s"))
}

fn quota(stage: &mut Stage, hard: &Value) -> Checked<Ran> {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
        "spec": {"hard": hard},
    });
    namespace(stage, &json!({}), &[quota])?;
    placed(stage, &[])
}

fn demanding(stage: &mut Stage) -> Checked<Ran> {
    quota(stage, &json!({"limits.memory": "1Gi"}))
}

fn range(stage: &mut Stage, limits: &Value, job: &str) -> Checked<Ran> {
    ranged(stage, limits)?;
    let file = stage.file(job)?;
    placed(stage, &[&file])
}

/// Gives the job a namespace with a LimitRange.
fn ranged(stage: &mut Stage, limits: &Value) -> Checked {
    let mut limit = json!({"type": "Container"});
    for (name, memory) in limits.as_object().into_iter().flatten() {
        limit[name] = json!({"memory": memory});
    }
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "range"},
        "spec": {"limits": [limit]},
    });
    namespace(stage, &json!({}), &[range])
}

fn defaults(stage: &mut Stage) -> Checked<Ran> {
    let defaults = json!({"default": "64Mi", "defaultRequest": "32Mi"});
    ranged(stage, &defaults)?;
    stage.script("exit 3")
}

fn secured(stage: &mut Stage, mode: &str) -> Checked<Ran> {
    let label = format!("pod-security.kubernetes.io/{mode}");
    namespace(stage, &json!({label: "restricted"}), &[])?;
    stage.script("exit 3")
}

fn no_account(stage: &mut Stage) -> Checked<Ran> {
    placed(stage, &["--set", "job.kubernetes.serviceAccountName=no-such-account"])
}

fn no_claim(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&[], "exit 3")?.env("JOB_STARTTIMEOUT", "3s");
    stage.run(command.env("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME", "no-such-claim"))
}

fn no_namespace(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&[], "exit 3")?;
    stage.run(command.env("JOB_KUBERNETES_NAMESPACE", "no-such-namespace"))
}

fn no_node(stage: &mut Stage) -> Checked<Ran> {
    placed(stage, &["--set", r#"job.kubernetes.nodeSelector={"disk": "tape"}"#])
}

fn no_room(stage: &mut Stage) -> Checked<Ran> {
    let file = stage.file("[resources.limits]\nmemory = '900Gi'\n")?;
    placed(stage, &[&file])
}

fn no_scheduler(stage: &mut Stage) -> Checked<Ran> {
    let path = "/spec/schedulerName";
    let patch =
        format!(r#"JSONPatch{{op: "replace", path: "{path}", value: "no-such-scheduler"}}"#);
    mutate(stage, Target::Pods, &patch)?;
    placed(stage, &[])
}

/// Sets a class in the Job's template, so that no Pod of it can be created.
fn class(stage: &mut Stage, field: &str) -> Checked<Ran> {
    let path = format!("/spec/template/spec/{field}");
    let patch = format!(r#"JSONPatch{{op: "add", path: "{path}", value: "no-such-class"}}"#);
    mutate(stage, Target::Jobs, &patch)?;
    placed(stage, &[])
}

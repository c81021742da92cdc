//! What others do to a job's objects while it runs.

use serde_json::json;

use super::cluster::{kubectl, namespace, object, patch, post};
use super::situation::{CLUSTER, Expected, Situation, Starts, ends, exits, lost, on};
use super::stage::Stage;
use crate::check::Checked;
use crate::running::Ran;

const POD_DELETED: Expected = lost(&["deleted the Pod"]);
const JOB_DELETED: Expected = lost(&["deleted the Job"]);
const EVICTED: Expected = ends("Evicted", 125, &["evict"]);
const SUSPENDED: Expected = lost(&["suspended the Job"]);
const RESUMED: Expected = lost(&["Pod"]).started(Starts::ByOthers);
const EXPIRED: Expected = lost(&["activeDeadlineSeconds"]);
const SECOND: Expected = exits(5).started(Starts::ByOthers);
const REPLACED: Expected = lost(&["somebody changed the Pod"]).started(Starts::ByOthers);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CLUSTER, "the eviction API", evicted, EVICTED),
    on(CLUSTER, "kubectl delete pod", |s| delete(s, "pods", &[]), POD_DELETED),
    on(CLUSTER, "kubectl delete pod --grace-period 0", forced, POD_DELETED),
    on(CLUSTER, "kubectl delete job", |s| delete(s, "jobs", &[]), JOB_DELETED),
    on(CLUSTER, "kubectl delete job in the foreground", foreground, JOB_DELETED),
    on(CLUSTER, "kubectl delete job, orphaning the Pod", orphaned, exits(5)),
    on(CLUSTER, "its Job has a finalizer and is deleted", held_job, exits(5)),
    on(CLUSTER, "its Pod has a finalizer and is deleted", held_pod, POD_DELETED),
    on(CLUSTER, "its namespace is deleted", namespace_deleted, lost(&["deleted"])),
    on(CLUSTER, "its Job is suspended", |s| ended(s, "jobs", SUSPEND), SUSPENDED),
    on(CLUSTER, "its Job is suspended and resumed", resumed, RESUMED),
    on(CLUSTER, "its Job gets a deadline", expired, EXPIRED),
    on(CLUSTER, "its Job gets parallelism 0", scaled_down, POD_DELETED),
    on(CLUSTER, "its Job gets parallelism 2", scaled_up, SECOND),
    on(CLUSTER, "its Job gets a TTL of 0", |s| survives(s, "jobs", TTL), exits(5)),
    on(CLUSTER, "its Job loses its annotations", |s| survives(s, "jobs", UNMARK), exits(5)),
    on(CLUSTER, "its Job loses its labels", |s| survives(s, "jobs", UNLABEL), exits(5)),
    on(CLUSTER, "its Pod loses its labels", |s| survives(s, "pods", UNLABEL), exits(5)),
    on(CLUSTER, "its Pod loses its owner", |s| survives(s, "pods", DISOWN), SECOND),
    on(CLUSTER, "its Pod gets another image", replaced, REPLACED),
    on(CLUSTER, "its Pod gets an ephemeral container", ephemeral, exits(5)),
    on(CLUSTER, "its Pod gets a deadline", pod_expired, EXPIRED),
];

const SUSPEND: &str = r#"{"spec": {"suspend": true}}"#;
const TTL: &str = r#"{"spec": {"ttlSecondsAfterFinished": 0}}"#;
const UNMARK: &str = r#"{"metadata": {"annotations":
    {"longshore.dev/commit": null, "longshore.dev/ending": null}}}"#;
const UNLABEL: &str = r#"{"metadata": {"labels":
    {"longshore.dev/attempt": null, "longshore.dev/installation": null, "longshore.dev/job": null}}}"#;
const DISOWN: &str = r#"{"metadata": {"ownerReferences": null}}"#;
const HOLD: &str = r#"{"metadata": {"finalizers": ["example.org/hold"]}}"#;
const RELEASE: &str = r#"{"metadata": {"finalizers": null}}"#;

/// Starts a job, lets `accident` happen to it, and returns how the command ended.
fn during(stage: &mut Stage, accident: impl FnOnce(&Stage) -> Checked) -> Checked<Ran> {
    let running = stage.waiting()?;
    accident(stage)?;
    stage.finish(running)
}

/// As [`during`], for an accident that does not end the job, which then ends with 5.
fn outlived(stage: &mut Stage, accident: impl FnOnce(&Stage) -> Checked) -> Checked<Ran> {
    let running = stage.waiting()?;
    accident(stage)?;
    stage.let_go(running)
}

fn ended(stage: &mut Stage, kind: &str, change: &str) -> Checked<Ran> {
    during(stage, |stage| patch(stage, kind, change))
}

fn survives(stage: &mut Stage, kind: &str, change: &str) -> Checked<Ran> {
    outlived(stage, |stage| patch(stage, kind, change))
}

fn evicted(stage: &mut Stage) -> Checked<Ran> {
    during(stage, |stage| {
        let pod = object(stage, "pods")?;
        let name = pod.trim_start_matches("pod/");
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name},
        });
        let namespace = stage.bench.lab.namespace.clone().unwrap_or_default();
        post(stage, &format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction"), &eviction)
    })
}

fn delete(stage: &mut Stage, kind: &str, flags: &[&str]) -> Checked<Ran> {
    during(stage, |stage| {
        let name = object(stage, kind)?;
        kubectl(stage, &[&["delete", "--wait=false", &name], flags].concat()).map(drop)
    })
}

fn forced(stage: &mut Stage) -> Checked<Ran> {
    delete(stage, "pods", &["--grace-period=0", "--force"])
}

fn foreground(stage: &mut Stage) -> Checked<Ran> {
    delete(stage, "jobs", &["--cascade=foreground"])
}

fn orphaned(stage: &mut Stage) -> Checked<Ran> {
    outlived(stage, |stage| {
        let name = object(stage, "jobs")?;
        kubectl(stage, &["delete", "--wait=false", "--cascade=orphan", &name]).map(drop)
    })
}

/// Deletes an object that a finalizer holds, lets the job end, and releases the object.
fn held(stage: &mut Stage, kind: &'static str) -> Checked<Ran> {
    let running = stage.waiting()?;
    patch(stage, kind, HOLD)?;
    let name = object(stage, kind)?;
    kubectl(stage, &["delete", "--wait=false", &name])?;
    let ran = stage.let_go(running);
    kubectl(stage, &["patch", &name, "--type", "merge", "--patch", RELEASE])?;
    ran
}

/// The cluster ends the Pod only once the Job is gone.
fn held_job(stage: &mut Stage) -> Checked<Ran> {
    held(stage, "jobs")
}

fn held_pod(stage: &mut Stage) -> Checked<Ran> {
    held(stage, "pods")
}

fn namespace_deleted(stage: &mut Stage) -> Checked<Ran> {
    namespace(stage, &json!({}), &[])?;
    during(stage, |stage| {
        let name = stage.bench.lab.namespace.clone().unwrap_or_default();
        kubectl(stage, &["delete", "namespace", "--wait=false", &name]).map(drop)
    })
}

/// The cluster creates a second Pod, which nobody asked for.
fn resumed(stage: &mut Stage) -> Checked<Ran> {
    during(stage, |stage| {
        patch(stage, "jobs", SUSPEND)?;
        let pod = object(stage, "pods")?;
        kubectl(stage, &["wait", "--for=delete", "--timeout=60s", &pod])?;
        // Longshore may have removed the Job by then.
        let _ = patch(stage, "jobs", r#"{"spec": {"suspend": false}}"#);
        Ok(())
    })
}

fn expired(stage: &mut Stage) -> Checked<Ran> {
    ended(stage, "jobs", r#"{"spec": {"activeDeadlineSeconds": 1}}"#)
}

fn pod_expired(stage: &mut Stage) -> Checked<Ran> {
    ended(stage, "pods", r#"{"spec": {"activeDeadlineSeconds": 1}}"#)
}

fn scaled_down(stage: &mut Stage) -> Checked<Ran> {
    ended(stage, "jobs", r#"{"spec": {"parallelism": 0}}"#)
}

fn scaled_up(stage: &mut Stage) -> Checked<Ran> {
    survives(stage, "jobs", r#"{"spec": {"parallelism": 2}}"#)
}

/// The kubelet starts the container again, from another name of the same image.
fn replaced(stage: &mut Stage) -> Checked<Ran> {
    let image = stage.bench.image()?.replace("localhost:", "127.0.0.1:");
    during(stage, |stage| {
        let path = "/spec/containers/0/image";
        let change = json!([{"op": "replace", "path": path, "value": image}]).to_string();
        let pod = object(stage, "pods")?;
        kubectl(stage, &["patch", &pod, "--type", "json", "--patch", &change]).map(drop)
    })
}

fn ephemeral(stage: &mut Stage) -> Checked<Ran> {
    let image = stage.bench.image()?.to_owned();
    outlived(stage, |stage| {
        let container = json!({"name": "debugger", "image": image, "command": ["true"]});
        let change = json!({"spec": {"ephemeralContainers": [container]}}).to_string();
        let pod = object(stage, "pods")?;
        let patch = ["patch", &pod, "--subresource", "ephemeralcontainers", "--patch", &change];
        kubectl(stage, &patch).map(drop)
    })
}

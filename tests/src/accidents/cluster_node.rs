//! What others do to the node of a job: cordons, taints, drains, and Pods of a higher priority.
//! The lab has one node, so these rows are played alone.

use std::slice::from_ref;

use anyhow::{Context, Result};
use serde_json::json;

use super::cluster::{create, kubectl};
use super::situation::{CLUSTER, Expected, Situation, Starts, ends, exits, on, refused};
use super::stage::{Stage, WAITS};
use crate::check::{Checked, until};
use crate::network::Silent;
use crate::running::{PATIENCE, Ran};

const CORDONED: Expected = refused("NotRun", 125, &["Saturated", "unschedulable"]);
const TAINTED: Expected = refused("NotRun", 125, &["Saturated", "untolerated taint"]);
const THROWN_OUT: Expected = ends("Evicted", 125, &["DeletionByTaintManager", "NoExecute"]);
const DRAINED: Expected = ends("Evicted", 125, &["EvictionByEvictionAPI"]);
const PREEMPTED: Expected = ends("Evicted", 125, &["PreemptionByScheduler", "higher priority"]);
const PREEMPTED_EARLY: Expected =
    ends("Evicted", 125, &["PreemptionByScheduler"]).started(Starts::Never).within(75);
const NO_ROOM: Expected = refused("NotRun", 125, &["Saturated", "Insufficient memory"]);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CLUSTER, "its node is cordoned before", cordoned_before, CORDONED).alone(),
    on(CLUSTER, "its node is cordoned while it runs", cordoned, exits(5)).alone(),
    on(CLUSTER, "its node is drained while it runs", drained, DRAINED).alone(),
    on(CLUSTER, "its node has a taint NoSchedule before", tainted_before, TAINTED).alone(),
    on(CLUSTER, "its node has a taint NoExecute before", banned_before, TAINTED).alone(),
    on(CLUSTER, "its node gets a taint NoSchedule", tainted, exits(5)).alone(),
    on(CLUSTER, "its node gets a taint NoExecute", banned, THROWN_OUT).alone(),
    on(CLUSTER, "a Pod of a higher priority has its place", outranked, NO_ROOM).alone(),
    on(CLUSTER, "a Pod of a higher priority takes its place", preempted, PREEMPTED).alone(),
    on(CLUSTER, "its place is taken during the pull", preempted_in_pull, PREEMPTED_EARLY).alone(),
];

/// Returns a fact about the lab's only node.
fn node(stage: &Stage, path: &str) -> Result<String> {
    let path = format!("--output=jsonpath={{.items[0]{path}}}");
    Ok(kubectl(stage, &["get", "nodes", &path])?.trim().to_owned())
}

fn cordon(stage: &mut Stage) -> Checked<String> {
    let name = node(stage, ".metadata.name")?;
    let own = name.clone();
    stage.afterwards(move |stage| kubectl(stage, &["uncordon", &own]).map(drop));
    kubectl(stage, &["cordon", &name])?;
    Ok(name)
}

fn taint(stage: &mut Stage, effect: &str) -> Checked {
    let name = node(stage, ".metadata.name")?;
    let own = name.clone();
    stage.afterwards(move |stage| kubectl(stage, &["taint", "nodes", &own, "accident-"]).map(drop));
    kubectl(stage, &["taint", "nodes", &name, &format!("accident=yes:{effect}")]).map(drop)
}

/// Runs a job that is given up if it has no place after three seconds.
fn placed(stage: &mut Stage, flags: &[&str]) -> Checked<Ran> {
    let command = stage.command(flags, "exit 3")?;
    stage.run(command.env("JOB_STARTTIMEOUT", "3s"))
}

fn cordoned_before(stage: &mut Stage) -> Checked<Ran> {
    cordon(stage)?;
    placed(stage, &[])
}

fn tainted_before(stage: &mut Stage) -> Checked<Ran> {
    taint(stage, "NoSchedule")?;
    placed(stage, &[])
}

fn banned_before(stage: &mut Stage) -> Checked<Ran> {
    taint(stage, "NoExecute")?;
    placed(stage, &[])
}

fn cordoned(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    cordon(stage)?;
    stage.let_go(running)
}

fn tainted(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    taint(stage, "NoSchedule")?;
    stage.let_go(running)
}

fn banned(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    taint(stage, "NoExecute")?;
    stage.finish(running)
}

fn drained(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    let name = cordon(stage)?;
    let selector = format!("--pod-selector=accident={}", stage.mark);
    kubectl(stage, &["drain", &name, &selector, "--timeout=60s"])?;
    stage.finish(running)
}

/// Returns a job file with more memory than half of the node's.
fn large(stage: &Stage) -> Result<String> {
    stage.file(&format!("[resources.limits]\nmemory = '{}'\n", most(stage)?))
}

fn most(stage: &Stage) -> Result<String> {
    let allocatable = node(stage, ".status.allocatable.memory")?;
    let kibibytes: u64 = allocatable.trim_end_matches("Ki").parse().context(allocatable.clone())?;
    Ok(format!("{}Ki", kibibytes / 10 * 6))
}

/// Creates a Pod of a higher priority with more memory than half of the node's.
fn outrank(stage: &mut Stage) -> Checked {
    let name = format!("accident-{}", stage.mark);
    let (image, memory) = (stage.bench.image()?.to_owned(), most(stage)?);
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": name}, "value": 1_000_000,
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "priorityClassName": name, "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "important", "image": image, "command": ["sleep", "600"],
                "resources": {"requests": {"memory": memory}},
            }],
        },
    });
    create(stage, &[class])?;
    // The admission of Pods learns of the class a moment later.
    until(PATIENCE, "the class to be known", || Ok(create(stage, from_ref(&pod)).ok()))
}

fn outranked(stage: &mut Stage) -> Checked<Ran> {
    outrank(stage)?;
    let pod = format!("pod/accident-{}", stage.mark);
    kubectl(stage, &["wait", "--for=condition=PodScheduled", "--timeout=60s", &pod])?;
    let file = large(stage)?;
    placed(stage, &["--file", &file])
}

fn preempted(stage: &mut Stage) -> Checked<Ran> {
    let file = large(stage)?;
    let running = stage.start(&["--file", &file], WAITS)?;
    outrank(stage)?;
    stage.finish(running)
}

fn preempted_in_pull(stage: &mut Stage) -> Checked<Ran> {
    let registry = Silent::new()?;
    let image = format!("{}/longshore-e2e/silent:1", registry.address());
    let file = large(stage)?;
    let command = stage.with_image(&image, &["--file", &file], "exit 3")?;
    let running = stage.spawn(command)?;
    registry.until_connected()?;
    outrank(stage)?;
    stage.finish(running)
}

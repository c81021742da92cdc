//! Checks what is left when all cases are done.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;

use crate::backend::Backend;
use crate::bench::runtime;
use crate::lab::Lab;

/// How long to wait for things that are ending: a Pod has its grace period, a supervisor its idle
/// time, and the Pods of a removed Job may wait for a garbage collector that has just reconnected
/// to its API server.
const PATIENCE: Duration = Duration::from_secs(150);

/// How to find what a case has left.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) case: String,
    /// A folder that appears in the environment of all its processes.
    pub(crate) root: PathBuf,
    pub(crate) installation: Option<String>,
}

/// Fails if anything of `traces` still exists after the time limit.
pub(crate) fn check(lab: &Lab, backends: &[Backend], traces: &[Trace]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = look(lab, backends, traces)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left behind:\n{}", left.join("\n"));
        thread::sleep(Duration::from_millis(500));
    }
}

/// Returns what currently exists of `traces`, one line each.
pub(crate) fn look(lab: &Lab, backends: &[Backend], traces: &[Trace]) -> Result<Vec<String>> {
    let mut left = processes(traces)?;
    for backend in backends.iter().filter(|backend| lab.missing(**backend).is_none()) {
        left.extend(match backend {
            Backend::Process => Vec::new(),
            Backend::Docker => containers(lab, traces)?,
            Backend::Kubernetes => objects(lab, traces)?,
        });
    }
    Ok(left)
}

/// Returns the processes that a case started, directly or indirectly.
fn processes(traces: &[Trace]) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        // It may end meanwhile.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let environment = String::from_utf8_lossy(&environment);
        let of = |trace: &&Trace| environment.contains(&*trace.root.to_string_lossy());
        if let Some(trace) = traces.iter().find(of) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            left.push(format!("{}: process {}: {line}", trace.case, name.to_string_lossy()));
        }
    }
    Ok(left)
}

/// Returns the containers of a case's installation, including the backend's marks, except fences:
/// these must stay for ten minutes.
fn containers(lab: &Lab, traces: &[Trace]) -> Result<Vec<String>> {
    let host = lab.docker_host.as_deref().unwrap_or_default();
    let listed = runtime()?.block_on(async {
        let docker = bollard::Docker::connect_with_host(host)?.negotiate_version().await?;
        let label = vec![INSTALLATION.to_owned()];
        let filters = HashMap::from([("label".to_owned(), label)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        docker.list_containers(Some(options)).await
    });
    let listed = listed.context("failed to list the containers")?;
    let of = |labels: Option<&HashMap<String, String>>| {
        let id = labels.and_then(|labels| labels.get(INSTALLATION)).cloned();
        case_of(traces, id.as_deref())
    };
    let is_fence = |it: &ContainerSummary| {
        it.labels.as_ref().is_some_and(|labels| labels.contains_key(MARKED))
            && !it.names.iter().flatten().any(|name| name.ends_with("-end"))
    };
    Ok(listed
        .iter()
        .filter(|it| !is_fence(it))
        .filter_map(|it| Some((of(it.labels.as_ref())?, it)))
        .map(|(case, it)| format!("{case}: container {:?}: {:?}", it.names, it.status))
        .collect())
}

/// Returns the objects of a case's installation.
fn objects(lab: &Lab, traces: &[Trace]) -> Result<Vec<String>> {
    let mut kubectl = Command::new(lab.kubectl.as_deref().context("no kubectl")?);
    // The mark of an attempt that was fenced before its Job was created has no Pod, and the cluster
    // removes it after ten minutes.
    let selector = format!("{INSTALLATION},!longshore.dev/tombstone");
    kubectl.args(["get", "jobs,pods,secrets", "--selector", &selector, "--output", "json"]);
    kubectl.args(["--request-timeout=20s", "--namespace"]).args(&lab.namespace);
    kubectl.env("KUBECONFIG", lab.kubeconfig.as_deref().unwrap_or_default());
    let output = kubectl.output().context("failed to run kubectl")?;
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let items = list["items"].as_array().context("kubectl gave no list")?;
    Ok(items
        .iter()
        .filter_map(|it| {
            Some((case_of(traces, it["metadata"]["labels"][INSTALLATION].as_str())?, it))
        })
        .map(|(case, it)| format!("{case}: {} {}", it["kind"], it["metadata"]["name"]))
        .collect())
}

const INSTALLATION: &str = "longshore.dev/installation";
/// The label of a mark that names its attempt.
const MARKED: &str = "longshore.dev/marked-attempt";

fn case_of<'a>(traces: &'a [Trace], installation: Option<&str>) -> Option<&'a str> {
    let trace = traces.iter().find(|it| it.installation.as_deref() == installation)?;
    trace.installation.as_ref().map(|_| trace.case.as_str())
}

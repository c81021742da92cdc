//! Checks what is left on the machine when all suites are done.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use longshore_lab::{Server, abandoned_cgroups, shell};
use serde::Deserialize;
use serde_json::Value;

use super::book::Counts;
use super::judge::Verdict;
use super::session::Backends;
use super::suites::Floor;

/// How long to wait for things that are ending: a Pod has its grace period, a
/// supervisor its idle time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The label of everything that Longshore creates on a backend.
const INSTALLATION: &str = "longshore.dev/installation";

/// Counts each kind of thing as passed if nothing of it is left. Objects on a
/// backend that others also use may be theirs, and are not checked.
pub(crate) fn check(floor: &Floor<'_>, backends: &Backends, fresh: bool) -> Result<Verdict> {
    if floor.interrupt.happened() {
        return Ok(Verdict::NotRun("interrupted".to_owned()));
    }
    let scratch = floor.scratch;
    let mut counts = Counts::default();
    judge(&mut counts, "processes", || Ok(scratch.processes()));
    judge(&mut counts, "mounts", || {
        Ok(scratch.mounts(&fs::read_to_string("/proc/self/mountinfo")?))
    });
    judge(&mut counts, "temporary files", || scratch.files());
    judge(&mut counts, "cgroups of local jobs", || {
        Ok(abandoned_cgroups()?.iter().map(|group| group.display().to_string()).collect())
    });
    for (what, variable) in ON_BACKENDS {
        let is_up = backends.get(variable).is_some();
        match (is_up, fresh) {
            (true, true) => judge(&mut counts, what, || on_backend(variable, backends)),
            (true, false) => {
                let reason = "it was up before, and others may use it";
                counts.unsupported.push((what.to_owned(), reason.to_owned()));
            }
            (false, _) => counts.unsupported.push((what.to_owned(), "it is not up".to_owned())),
        }
    }
    Ok(Verdict::Counted(counts))
}

/// The objects of Longshore on each backend, and the variable with the backend's address.
const ON_BACKENDS: [(&str, &str); 3] = [
    ("containers on docker", "DOCKER_HOST"),
    ("containers on docker29", "LONGSHORE_LAB_DOCKER29_HOST"),
    ("Jobs, Pods and Secrets on kubernetes", "KUBECONFIG"),
];

fn on_backend(variable: &str, backends: &Backends) -> Result<Vec<String>> {
    let value = backends.get(variable).context("it is not up")?;
    if variable == "KUBECONFIG" {
        let kubectl = backends.get("LONGSHORE_LAB_KUBECTL").context("there is no kubectl")?;
        return objects(kubectl, value);
    }
    containers(value)
}

/// Checks until nothing is left, or until the time limit.
fn judge(counts: &mut Counts, what: &str, look: impl Fn() -> Result<Vec<String>>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(left) if left.is_empty() => {
                counts.passed += 1;
                return;
            }
            Ok(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(500)),
            Ok(left) => {
                counts.failures.push(format!("{what}: left behind: {}", left.join(", ")));
                return;
            }
            Err(error) => {
                counts.failures.push(format!("{what}: {error:#}"));
                return;
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    names: Vec<String>,
    status: String,
    #[serde(default)]
    labels: HashMap<String, String>,
}

impl Container {
    /// Returns whether it is the fence of an attempt, which must stay for ten minutes.
    fn is_fence(&self) -> bool {
        self.labels.contains_key("longshore.dev/marked-attempt")
            && !self.names.iter().any(|name| name.ends_with("-end"))
    }
}

/// Returns the containers of any installation on the engine at `host`, running or not, except
/// fences.
fn containers(host: &str) -> Result<Vec<String>> {
    let socket = host.strip_prefix("unix://").context("not a Unix socket")?;
    let label = INSTALLATION.replace('/', "%2F");
    let path = format!("/containers/json?all=1&filters=%7B%22label%22:%5B%22{label}%22%5D%7D");
    let answer = Server::Unix(socket.into()).get(&path)?;
    ensure!(answer.status == 200, "the engine answers {}", answer.status);
    let listed: Vec<Container> = serde_json::from_slice(&answer.body)?;
    let left = listed.iter().filter(|it| !it.is_fence());
    Ok(left.map(|it| format!("{} ({})", it.names.join(" "), it.status)).collect())
}

/// Returns the objects of any installation in any namespace, except the marks of
/// fenced attempts: these must stay, and the cluster removes them within ten
/// minutes.
fn objects(kubectl: &str, kubeconfig: &str) -> Result<Vec<String>> {
    let mut command = Command::new(kubectl);
    let selector = format!("{INSTALLATION},!longshore.dev/tombstone");
    command.args(["get", "jobs,pods,secrets", "--all-namespaces", "--output", "json"]);
    command.args(["--request-timeout=20s", "--selector", &selector]);
    let listed = shell::capture(command.env("KUBECONFIG", kubeconfig))?;
    let listed: Value = serde_json::from_str(&listed)?;
    let items = listed["items"].as_array().context("kubectl gave no list")?;
    let name = |it: &Value| format!("{} {}", it["kind"], it["metadata"]["name"]).replace('"', "");
    Ok(items.iter().map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_looked_for_is_a_failure() {
        let mut counts = Counts::default();
        judge(&mut counts, "a", || Ok(Vec::new()));
        judge(&mut counts, "b", || anyhow::bail!("no answer"));
        assert_eq!((counts.passed, counts.failures), (1, vec!["b: no answer".to_owned()]));
    }
}

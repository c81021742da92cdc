//! One job, and the kill of its command.

use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::backend::Backend;
use crate::bench::Bench;
use crate::folders::JobDirectory;

/// The exit code of a job of the suite.
pub(super) const CODE: i64 = 7;

/// When a command is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// As soon as it has taken this step, the name of one of the dispatcher's fail points.
    At(&'static str),
    /// After this time.
    After(Duration),
}

/// The steps of a job's life at which a command can be made to die. A refusal is not included: with
/// one runner, nothing follows it.
const STEPS: [&str; 7] =
    ["Submitted", "Intent", "Launched", "Started", "Ended", "Outcome", "Removed"];

/// Returns when the command of kill number `number` dies: at each step in turn, and every other
/// time at some point of the time that a job takes.
pub(super) fn when(backend: Backend, number: usize) -> When {
    if number.is_multiple_of(2) {
        return When::At(STEPS[number / 2 % STEPS.len()]);
    }
    let whole = match backend {
        Backend::Process => Duration::from_secs(1),
        Backend::Docker => Duration::from_secs(4),
        Backend::Kubernetes => Duration::from_secs(6),
    };
    // Spread evenly, and not in the order of time: 37 and 100 have no common factor.
    let part = u32::try_from(number * 37 % 100).unwrap_or_default();
    When::After(whole * part / 100)
}

/// A job whose command was killed, or should have been.
pub(super) struct Killed {
    pub(super) name: String,
    directory: JobDirectory,
    /// Whether the kill ended the command.
    pub(super) by_kill: bool,
}

/// Runs job number `number` and kills its command.
pub(super) fn kill(bench: &Bench, number: usize) -> Result<Killed> {
    let name = format!("kill-{number}");
    let directory = bench.folders.job_directory(&name)?;
    let folder = directory.path().to_string_lossy().into_owned();
    let script = "read host < /proc/sys/kernel/hostname; \
                  echo start $host >> {jobDir}/output/trace; sleep 0.2; \
                  echo end >> {jobDir}/output/trace; exit 7";
    let flags = ["--name", &name, "--job-dir", &folder];
    let command = bench.longshore()?.arg("run").args(flags).args(bench.way()?);
    let command = command.args(["--", "sh", "-c", script]);
    let status = match when(bench.backend, number) {
        When::At(step) => command.env("LONGSHORE_FAIL_AT", step).run()?.status,
        When::After(delay) => {
            let running = command.spawn()?;
            // This does not wait for an event: the delay is the fault.
            thread::sleep(delay);
            running.signal(Signal::KILL)?;
            running.finish()?.status
        }
    };
    let by_kill = signal(status).is_some();
    ensure!(by_kill || status.code() == Some(7), "{name}: the command ended with {status}");
    Ok(Killed { name, directory, by_kill })
}

fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

/// What is known about a killed job in the end.
#[derive(Debug)]
pub(super) struct Fate {
    /// Where it was started: the host's name, which on Kubernetes is the Pod's name.
    pub(super) starts: Vec<String>,
    pub(super) ends: usize,
    /// The result on record; `None` if the job is not on record.
    pub(super) result: Option<Value>,
}

impl Killed {
    /// Returns the fate of the job, whose result on record is `result`.
    pub(super) fn fate(&self, result: Option<Value>) -> Fate {
        let trace = self.directory.output("trace").unwrap_or_default();
        let starts = trace.lines().filter_map(|line| line.strip_prefix("start "));
        let ends = trace.lines().filter(|line| *line == "end").count();
        Fate { starts: starts.map(str::to_owned).collect(), ends, result }
    }
}

impl Fate {
    /// Returns how often the job was started in a second Pod, which Kubernetes created on its own.
    pub(super) fn second_pods(&self) -> usize {
        let result = self.result.as_ref();
        let told = result.and_then(|result| result["startedAgain"].as_array());
        let is_told = |host: &&String| told.is_some_and(|all| all.iter().any(|it| it == *host));
        self.starts.iter().filter(is_told).count()
    }

    /// Returns whether the job was started again, and not by Kubernetes.
    pub(super) fn is_doubled(&self) -> bool {
        self.starts.len() - self.second_pods() > 1
    }

    /// Returns whether an outcome of the job is on record.
    pub(super) fn has_outcome(&self) -> bool {
        self.outcome().is_some_and(|outcome| !outcome.is_null())
    }

    fn outcome(&self) -> Option<&Value> {
        self.result.as_ref().map(|result| &result["outcome"])
    }

    /// Returns why the job is lost, or `None` if it is not. A job is lost if its run is not on
    /// record, or if the record is wrong.
    pub(super) fn loss(&self) -> Option<String> {
        let outcome = self.outcome();
        let kind = outcome.and_then(|outcome| outcome["kind"].as_str());
        let code = outcome.and_then(|outcome| outcome["code"].as_i64());
        let starts = self.starts.len();
        let told = match (starts, kind) {
            (0, None) => outcome.is_none(),
            (0, Some(kind)) => kind == "NotRun",
            // A second Pod ends with its Job, at any time.
            (_, Some("Exited")) => {
                code == Some(CODE) && (starts - self.second_pods()..=starts).contains(&self.ends)
            }
            (_, _) => false,
        };
        (!told).then(|| format!("{starts} starts, {} ends, on record: {outcome:?}", self.ends))
    }
}

/// Returns the results of the jobs on record, by the jobs' names.
pub(super) fn recorded(bench: &Bench) -> Result<Vec<(String, Value)>> {
    let listed = bench.longshore()?.args(["ps", "--all", "--output", "json"]).run()?;
    listed.exits(0)?;
    let records: Value = serde_json::from_slice(&listed.stdout)?;
    let ids = records.as_array().context("ps gave no list")?;
    let mut recorded = Vec::new();
    for record in ids {
        let id = record["job"].as_str().context("a record without an id")?;
        // A successor follows it to its end.
        bench.longshore()?.args(["wait", id]).run()?;
        let inspected = bench.longshore()?.args(["inspect", id]).run()?;
        inspected.exits(0)?;
        let record: Value = serde_json::from_slice(&inspected.stdout)?;
        let name = record["spec"]["name"].as_str().context("a job without a name")?;
        recorded.push((name.to_owned(), record["result"].clone()));
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fate(hosts: &[&str], ends: usize, outcome: Option<Value>) -> Fate {
        let result = outcome.map(|outcome| json!({"outcome": outcome, "startedAgain": ["x-2"]}));
        Fate { starts: hosts.iter().map(|host| (*host).to_owned()).collect(), ends, result }
    }

    #[test]
    fn a_loss_and_a_second_start_are_seen() {
        let exited = |code: i64| Some(json!({"kind": "Exited", "code": code}));
        let kind = |kind: &str| Some(json!({"kind": kind}));
        let (none, one): (&[&str], &[&str]) = (&[], &["x-1"]);
        assert!(fate(one, 1, exited(7)).loss().is_none());
        assert!(fate(none, 0, None).loss().is_none());
        assert!(fate(none, 0, kind("NotRun")).loss().is_none());
        for lost in [
            fate(one, 1, None),
            fate(one, 1, kind("NotRun")),
            fate(one, 1, kind("Lost")),
            fate(one, 0, exited(7)),
            fate(one, 1, exited(0)),
            fate(none, 0, exited(7)),
            fate(none, 0, Some(Value::Null)),
        ] {
            assert!(lost.loss().is_some(), "{lost:?}");
        }
        let twice = fate(&["x-1", "x-1"], 2, exited(7));
        assert!(twice.is_doubled() && !fate(one, 1, exited(7)).is_doubled());
    }

    #[test]
    fn a_second_pod_is_counted_apart_only_if_the_result_tells_of_it() {
        let exited = || Some(json!({"kind": "Exited", "code": 7}));
        let told = fate(&["x-1", "x-2"], 1, exited());
        assert!(told.second_pods() == 1 && !told.is_doubled() && told.loss().is_none());
        let untold = fate(&["x-1", "x-3"], 2, exited());
        assert!(untold.second_pods() == 0 && untold.is_doubled());
        let thrice = fate(&["x-1", "x-2", "x-1"], 3, exited());
        assert!(thrice.second_pods() == 1 && thrice.is_doubled());
    }

    #[test]
    fn each_step_is_reached_and_the_moments_are_spread() {
        let all: Vec<When> = (0..100).map(|number| when(Backend::Process, number)).collect();
        for step in STEPS {
            assert!(all.iter().any(|when| matches!(when, When::At(at) if *at == step)), "{step}");
        }
        let moments: std::collections::BTreeSet<Duration> = all
            .iter()
            .filter_map(|when| if let When::After(delay) = when { Some(*delay) } else { None })
            .collect();
        assert_eq!(moments.len(), 50);
    }
}

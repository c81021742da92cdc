//! Backends that stop and start again while the command or a service uses them.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use longshore_lab as lab;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::programs;
use crate::running::{Ran, Running};

cases! { "disruptive":
    a_service_goes_on_without_the_cluster_and_returns_to_it,
    a_job_runs_on_docker_in_the_same_call_when_the_api_server_is_down,
    a_job_runs_as_a_process_when_docker_is_down_too,
    a_job_whose_api_server_goes_away_is_followed_to_its_end,
    a_job_whose_kubelet_dies_is_followed_to_its_end,
    a_job_whose_node_is_gone_is_evicted_and_never_run_again,
    a_job_whose_engine_dies_is_lost_and_never_run_again,
    a_job_whose_shim_dies_is_never_a_success_and_never_run_again,
}

/// How long a cluster may take after a restart: while the API server is down, the controllers retry
/// less and less often, and one job waited 98 seconds for its Pod.
const RECOVERY: Duration = Duration::from_secs(240);

const EVERYTHING: [Backend; 3] = [Backend::Kubernetes, Backend::Docker, Backend::Process];

/// A stopped component of the lab. It is always started again on drop.
struct Stopped {
    lab: lab::Lab,
    name: &'static str,
}

impl Stopped {
    fn new(bench: &Bench, name: &'static str, kill: bool) -> Result<Self> {
        let lab = lab::Lab::open(bench.lab.folder.clone())?;
        let stopped = Self { lab, name };
        lab::stop(&stopped.lab, name, kill)?;
        Ok(stopped)
    }

    fn restore(&self) -> Result<()> {
        lab::start(&self.lab, self.name).with_context(|| format!("failed to start {}", self.name))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            // The next case will fail because of it; this shows why.
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}

/// Runs a job that may run either way, with every backend configured.
fn either_way(bench: &Bench) -> Result<Ran> {
    let command = bench.with(&EVERYTHING)?.arg("run").result(bench.folders.result());
    let command = command.args(["--image", bench.image()?, "--process", "echo process"]);
    command.args(["--", "echo", "container"]).spawn()?.finish_within(RECOVERY)
}

/// Fails unless the job ran on `runner`, with exactly `passed` passed over as unavailable.
fn ran_on(ran: &Ran, runner: &str, passed: &[&str]) -> Checked {
    ran.exits(0)?;
    let result = ran.result()?;
    same("the runner", &result["runner"], runner)?;
    let over = result["passedOver"].as_array().context("passedOver is no list")?;
    let names: Vec<_> = over.iter().filter_map(|it| it["runner"].as_str()).collect();
    same("who was passed over", names, passed)?;
    ensure!(over.iter().all(|it| it["kind"] == "Unavailable"), "{over:?}");
    passed.iter().try_for_each(|name| says(&ran.stderr, &[&format!("passed over {name}")]))
}

fn a_job_runs_on_docker_in_the_same_call_when_the_api_server_is_down(bench: &Bench) -> Checked {
    ran_on(&either_way(bench)?, "kubernetes", &[])?;
    let api_server = Stopped::new(bench, "apiserver", false)?;
    let ran = either_way(bench)?;
    ran_on(&ran, "docker", &["kubernetes"])?;
    same("stdout", ran.text(), "container\n")?;
    api_server.restore()?;
    ran_on(&either_way(bench)?, "kubernetes", &[])
}

fn a_job_runs_as_a_process_when_docker_is_down_too(bench: &Bench) -> Checked {
    let _api_server = Stopped::new(bench, "apiserver", false)?;
    let _engine = Stopped::new(bench, "docker", false)?;
    let ran = either_way(bench)?;
    ran_on(&ran, "process", &["kubernetes", "docker"])?;
    same("stdout", ran.text(), "process\n")
}

fn a_job_whose_api_server_goes_away_is_followed_to_its_end(bench: &Bench) -> Checked {
    ran_on(&either_way(bench)?, "kubernetes", &[])?;
    let command = bench.with(&EVERYTHING)?.arg("run").result(bench.folders.result());
    let command = command.args(["--image", bench.image()?, "--process", "echo again", "--"]);
    let running = command.args(["sh", "-c", "echo begun; sleep 8; echo over; exit 6"]).spawn()?;
    running.until_stdout("begun")?;
    let api_server = Stopped::new(bench, "apiserver", true)?;
    std::thread::sleep(Duration::from_secs(2));
    api_server.restore()?;
    let ran = running.finish_within(RECOVERY)?;
    ran.exits(6)?;
    same("stdout", ran.text(), "begun\nover\n")?;
    same("the runner", &ran.result()?["runner"], "kubernetes")
}

fn a_job_whose_kubelet_dies_is_followed_to_its_end(bench: &Bench) -> Checked {
    // The cluster may have just got its API server back.
    ran_on(&either_way(bench)?, "kubernetes", &[])?;
    let command = bench.with(&EVERYTHING)?.arg("run").result(bench.folders.result());
    let command = command.args(["--image", bench.image()?, "--process", "echo again", "--"]);
    let running = command.args(["sh", "-c", "echo begun; sleep 8; echo over; exit 6"]).spawn()?;
    running.until_stdout("begun")?;
    let kubelet = Stopped::new(bench, "kubelet", true)?;
    std::thread::sleep(Duration::from_secs(2));
    kubelet.restore()?;
    let ran = running.finish_within(RECOVERY)?;
    ran.exits(6)?;
    same("stdout", ran.text(), "begun\nover\n")?;
    same("the runner", &ran.result()?["runner"], "kubernetes")
}

/// The cluster deletes the Pods of a node that it does not know any more.
fn a_job_whose_node_is_gone_is_evicted_and_never_run_again(bench: &Bench) -> Checked {
    ran_on(&either_way(bench)?, "kubernetes", &[])?;
    let command = bench.with(&EVERYTHING)?.arg("run").result(bench.folders.result());
    let command = command.args(["--image", bench.image()?, "--process", "echo again", "--"]);
    let running = command.args(["sh", "-c", "echo begun; sleep 600"]).spawn()?;
    running.until_stdout("begun")?;
    let kubelet = Stopped::new(bench, "kubelet", true)?;
    // The lab has one node. Its kubelet registers it again.
    kubectl(bench, &["delete", "nodes", "--all"])?;
    let ran = running.finish_within(RECOVERY)?;
    kubelet.restore()?;
    same("stdout", ran.text(), "begun\n")?;
    same("the runner", &ran.result()?["runner"], "kubernetes")?;
    same("the kind", &ran.outcome()?["kind"], "Evicted")?;
    ran.exits(125)?;
    ran_on(&either_way(bench)?, "kubernetes", &[])
}

fn kubectl(bench: &Bench, args: &[&str]) -> Checked {
    let program = bench.lab.kubectl.as_deref().context("no kubectl")?;
    let config = bench.lab.kubeconfig.as_deref().unwrap_or_default();
    let command = Command::new(program).args(args).env("KUBECONFIG", config).output();
    let output = command.context("failed to run kubectl")?;
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Without live-restore, the containers die with their engine. The job had started, so no other
/// runner may run it. The exit code that the engine then makes up means nothing.
fn a_job_whose_engine_dies_is_lost_and_never_run_again(bench: &Bench) -> Checked {
    let runners = [Backend::Docker, Backend::Process];
    let command = bench.with(&runners)?.arg("run").result(bench.folders.result());
    let command = command.args(["--image", bench.image()?, "--process", "echo again", "--"]);
    let running = command.args(["sh", "-c", "echo begun; sleep 600"]).spawn()?;
    running.until_stdout("begun")?;
    Stopped::new(bench, "docker", true)?.restore()?;
    let ran = running.finish()?;
    same("stdout", ran.text(), "begun\n")?;
    same("the runner", &ran.result()?["runner"], "docker")?;
    same("the kind", &ran.outcome()?["kind"], "Lost")?;
    ran.exits(125)
}

/// The engine kills a container whose shim is gone.
fn a_job_whose_shim_dies_is_never_a_success_and_never_run_again(bench: &Bench) -> Checked {
    let runners = [Backend::Docker, Backend::Process];
    let command = bench.with(&runners)?.arg("run").result(bench.folders.result());
    let command = command.args(["--image", bench.image()?, "--process", "echo again", "--"]);
    let mark = bench.repository();
    let script = format!("echo begun; sleep 600; echo {mark}");
    let running = command.args(["sh", "-c", &script]).spawn()?;
    running.until_stdout("begun")?;
    kill_process(shim_of(&mark)?, Signal::KILL)?;
    let ran = running.finish()?;
    same("stdout", ran.text(), "begun\n")?;
    same("the runner", &ran.result()?["runner"], "docker")?;
    let outcome = ran.outcome()?;
    ensure!(
        ["Lost", "Exited"].contains(&outcome["kind"].as_str().unwrap_or_default()),
        "{outcome}"
    );
    ensure!(ran.code() != Some(0), "it is reported as a success");
    Ok(())
}

/// Reads `file` of the process `pid` in `/proc`.
fn said_by(pid: &str, file: &str) -> std::io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
}

/// Returns the init of the container whose command line contains `mark`, or `None` if it has ended.
pub(super) fn init_of(mark: &str) -> Result<Option<String>> {
    let numbers = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    let mut all = numbers.filter_map(|name| name.into_string().ok());
    let is_init = |pid: &String| {
        let marked = said_by(pid, "cmdline").is_ok_and(|line| line.contains(mark));
        marked && said_by(pid, "comm").is_ok_and(|name| name.trim() == "docker-init")
    };
    Ok(all.find(is_init))
}

/// Returns the shim of the container whose command line contains `mark`.
fn shim_of(mark: &str) -> Result<Pid> {
    let init = init_of(mark)?.context("the container has no process")?;
    let status = said_by(&init, "status")?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    let shim = parent.context("it has no parent")?.trim();
    let name = said_by(shim, "comm")?;
    ensure!(name.starts_with("containerd-shim"), "its parent is no shim: {name}");
    Pid::from_raw(shim.parse()?).context("no process")
}

fn a_service_goes_on_without_the_cluster_and_returns_to_it(bench: &Bench) -> Checked {
    let command =
        bench.program(&programs::service()?)?.env("JOB_RUNNERS", "kubernetes,docker,process");
    let command = EVERYTHING.iter().fold(command, |command, it| bench.reaching(command, *it));
    let mut service = command.env("SERVICE_IMAGE", bench.image()?).with_stdin().spawn()?;
    same("the runner at first", served(&mut service)?, "kubernetes")?;
    let api_server = Stopped::new(bench, "apiserver", false)?;
    for _ in 0..3 {
        same("the runner without the cluster", served(&mut service)?, "docker")?;
    }
    api_server.restore()?;
    // The breaker probes again only after a while, at most some tens of seconds.
    let deadline = Instant::now() + Duration::from_secs(120);
    while served(&mut service)? != "kubernetes" {
        ensure!(Instant::now() < deadline, "it never returned to the cluster");
        std::thread::sleep(Duration::from_secs(1));
    }
    let ran = service.finish()?;
    ran.exits(0)
}

/// Sends a job to the service, and returns the runner in its result.
fn served(service: &mut Running) -> Result<String> {
    let before = service.lines().len();
    service.stdin()?.write_all(b"exit 0\n")?;
    let line =
        until(RECOVERY, "the service's answer", || Ok(service.lines().get(before).cloned()))?;
    let result: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    ensure!(result["outcome"]["kind"] == "Exited" && result["outcome"]["code"] == 0, "{line}");
    result["runner"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no runner in {line}"))
}

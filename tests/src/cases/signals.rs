//! Ctrl-C: the first cancels the job, the second kills it, wherever it runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::command::Longshore;
use crate::network::Silent;

cases! { "signals":
    ctrl_c_ends_the_job_by_term,
    the_commands_own_term_cancels_the_job_too,
    a_second_ctrl_c_kills_a_job_that_ignores_term [ShortenGrace],
    a_cancelled_job_leaves_no_grandchild,
    ctrl_c_in_a_pull_ends_it_and_leaves_nothing [Images],
    ctrl_c_while_the_backend_gives_no_answer_ends_the_search [Images],
}

/// Clearly shorter than a grace period of ten seconds, on a busy machine.
const SOON: Duration = Duration::from_secs(8);
/// The time limit for a cancel during a pull. A kubelet releases a Pod only when its runtime has
/// given up the pull; the lab's runtime does so after 15 seconds without progress.
const PULL_GIVEN_UP: Duration = Duration::from_secs(75);

fn ctrl_c_ends_the_job_by_term(bench: &Bench) -> Checked {
    let script = "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let running = bench.script(&[], script)?.spawn()?;
    running.until_stdout("ready")?;
    running.signal(Signal::INT)?;
    let ran = running.finish()?;
    ran.exits(5)?;
    same("stdout", ran.text(), "ready\ntold\n")?;
    same("the outcome", ran.outcome()?, &json!({"kind": "Cancelled", "code": 5}))?;
    says(&ran.stderr, &["cancelling the job", "was cancelled"])
}

fn the_commands_own_term_cancels_the_job_too(bench: &Bench) -> Checked {
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let running = bench.script(&[], script)?.spawn()?;
    running.until_stdout("ready")?;
    running.signal(Signal::TERM)?;
    let ran = running.finish()?;
    // A cancelled job is never a success.
    ran.exits(143)?;
    same("the outcome", ran.outcome()?, &json!({"kind": "Cancelled", "code": 0}))
}

fn a_second_ctrl_c_kills_a_job_that_ignores_term(bench: &Bench) -> Checked {
    let patient = bench.folders.file("patient.toml", "gracePeriod = '1m'\n")?;
    let patient = patient.to_string_lossy().into_owned();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = bench.script(&[&patient], script)?.spawn()?;
    running.until_stdout("ready")?;
    running.signal(Signal::INT)?;
    running.until_stderr("once more to kill it")?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(running.is_running()?, "the job that ignores TERM ended by it");
    running.signal(Signal::INT)?;
    running.until_stderr("killing the job")?;
    let killed = Instant::now();
    let ran = running.finish()?;
    let took = killed.elapsed();
    ensure!(took < Duration::from_secs(20), "it took {took:?} to kill the job");
    ran.exits(137)?;
    same("the outcome", ran.outcome()?, &json!({"kind": "Cancelled", "code": 137}))
}

fn a_cancelled_job_leaves_no_grandchild(bench: &Bench) -> Checked {
    // The number is this case's mark, to find it among the machine's processes.
    let mark = format!("86{}", std::process::id());
    let script = format!("sh -c 'setsid sleep {mark} & sleep {mark}' & echo ready; wait");
    let running = bench.script(&[], &script)?.spawn()?;
    running.until_stdout("ready")?;
    running.signal(Signal::INT)?;
    let ran = running.finish()?;
    same("the kind", &ran.outcome()?["kind"], "Cancelled")?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while sleepers(&mark)? > 0 {
        ensure!(Instant::now() < deadline, "a grandchild is left");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Returns the number of processes `sleep MARK`.
fn sleepers(mark: &str) -> Checked<usize> {
    let line = format!("sleep\0{mark}\0");
    let lines = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    Ok(lines.filter(|it| it == line.as_bytes()).count())
}

fn ctrl_c_in_a_pull_ends_it_and_leaves_nothing(bench: &Bench) -> Checked {
    let registry = Silent::new()?;
    let image = format!("{}/longshore-e2e/silent:1", registry.address());
    let command = bench.longshore()?.arg("run").result(bench.folders.result());
    let running = command.args(["--image", &image, "--", "true"]).spawn()?;
    registry.until_connected()?;
    cancelled_soon(bench, running)
}

fn ctrl_c_while_the_backend_gives_no_answer_ends_the_search(bench: &Bench) -> Checked {
    let server = Silent::new()?;
    let command = pointed_at(bench, &server)?
        .env("JOB_RUNNERS", bench.backend.name())
        .env("JOB_CONNECTTIMEOUT", "5m")
        .env("JOB_DOCKER_CONNECTTIMEOUT", "5m")
        .env("JOB_KUBERNETES_CONNECTTIMEOUT", "5m");
    let command = command.arg("run").result(bench.folders.result()).args(bench.way()?);
    let running = command.args(["--", "true"]).spawn()?;
    server.until_connected()?;
    let ran = interrupted(running, SOON)?;
    same("the outcome", ran.outcome()?, &json!({"kind": "Cancelled"}))
}

/// Returns the command, for which `server` is the only backend that it finds.
pub(crate) fn pointed_at(bench: &Bench, server: &Silent) -> Checked<Longshore> {
    let address = server.address();
    if bench.backend == Backend::Docker {
        return Ok(bench.bare()?.env("DOCKER_HOST", format!("tcp://{address}")));
    }
    Ok(bench.bare()?.env("KUBECONFIG", silent_cluster(bench, server)?))
}

/// Writes a kubeconfig for `server`.
pub(crate) fn silent_cluster(bench: &Bench, server: &Silent) -> Checked<PathBuf> {
    let address = server.address();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "silent",
        "clusters": [{"name": "silent", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "silent", "context": {"cluster": "silent", "user": "silent"}}],
        "users": [{"name": "silent", "user": {"token": "none"}}],
    });
    bench.folders.file("silent.kubeconfig", config.to_string())
}

fn cancelled_soon(bench: &Bench, running: crate::running::Running) -> Checked {
    let limit = if bench.backend == Backend::Kubernetes { PULL_GIVEN_UP } else { SOON };
    let ran = interrupted(running, limit)?;
    same("the outcome", ran.outcome()?, &json!({"kind": "Cancelled"}))?;
    let left = bench.on_backend()?;
    // A Pod that waits for its image is deleted, which takes a moment.
    let unended: Vec<_> = left.iter().filter(|line| !line.contains("Pod")).collect();
    ensure!(unended.is_empty(), "left behind: {unended:?}");
    Ok(())
}

fn interrupted(running: crate::running::Running, limit: Duration) -> Checked<crate::running::Ran> {
    running.signal(Signal::INT)?;
    let begun = Instant::now();
    let ran = running.finish().context("the command did not end after Ctrl-C")?;
    ran.exits(143)?;
    if begun.elapsed() > limit {
        bail!("it took {:?} to end after Ctrl-C", begun.elapsed());
    }
    Ok(ran)
}

//! `longshore attach`.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::case::cases;
use super::jobs::{detached, longshore, removed};
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::running::Running;

cases! { "attach":
    it_prints_output_from_now_on_and_exits_as_the_job_does,
    ctrl_c_is_the_jobs,
    without_the_proxy_ctrl_c_leaves_the_job,
    a_job_that_has_ended_is_refused,
}

/// Writes lines until its input `go` exists, or INT or TERM comes.
const TICKS: &str = "trap 'echo told; exit 9' INT TERM; echo before; n=0; \
                     until [ -e {jobDir}/input/go ]; do n=$((n+1)); echo tick $n; sleep 0.1; done; \
                     echo last; exit 6";

/// Attaches to the job `id` once it has written something.
fn attached(bench: &Bench, id: &str, flags: &[&str]) -> Result<Running> {
    let following = bench.longshore()?.args(["logs", "--follow", id]).spawn()?;
    following.until_stdout("tick 1\n")?;
    following.signal(Signal::KILL)?;
    following.finish()?;
    let attached = bench.longshore()?.arg("attach").args(flags).arg(id).spawn()?;
    attached.until_stdout("tick")?;
    Ok(attached)
}

fn it_prints_output_from_now_on_and_exits_as_the_job_does(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let path = job.path().to_string_lossy().into_owned();
    let id = detached(bench, &["--job-dir", &path], TICKS)?;
    let attached = attached(bench, &id, &[])?;
    job.input("go", "")?;
    let ran = attached.finish()?;
    ran.exits(6)?;
    ensure!(!ran.text().contains("before"), "earlier output: {:?}", ran.text());
    ensure!(ran.text().ends_with("\nlast\n"), "the end is missing: {:?}", ran.text());
    let first = ran.text().lines().next().context("no line")?.to_owned();
    let from = ran.text().replacen(&first, "", 1);
    let whole = longshore(bench, &["logs", &id])?.text();
    ensure!(whole.ends_with(&from), "{whole:?} does not end with {from:?}");
    removed(bench, &id)
}

fn ctrl_c_is_the_jobs(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let path = job.path().to_string_lossy().into_owned();
    let id = detached(bench, &["--job-dir", &path], TICKS)?;
    let attached = attached(bench, &id, &[])?;
    attached.signal(Signal::INT)?;
    let ran = attached.finish()?;
    ran.exits(9)?;
    ensure!(ran.text().ends_with("told\n"), "it was not told: {:?}", ran.text());
    let end = match bench.backend {
        Backend::Kubernetes => "the job was cancelled",
        _ => "the job exited with code 9",
    };
    says(&ran.stderr, &[end])?;
    removed(bench, &id)
}

fn without_the_proxy_ctrl_c_leaves_the_job(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let path = job.path().to_string_lossy().into_owned();
    let id = detached(bench, &["--job-dir", &path], TICKS)?;
    let attached = attached(bench, &id, &["--sig-proxy=false"])?;
    attached.signal(Signal::INT)?;
    let ran = attached.finish()?;
    ran.exits(130)?;
    says(&ran.stderr, &[&format!("job {id} still runs")])?;
    job.input("go", "")?;
    longshore(bench, &["wait", &id])?.exits(6)?;
    removed(bench, &id)
}

fn a_job_that_has_ended_is_refused(bench: &Bench) -> Checked {
    let id = detached(bench, &[], "exit 3")?;
    longshore(bench, &["wait", &id])?.exits(3)?;
    let ran = longshore(bench, &["attach", &id])?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, &["has ended", "longshore logs"])?;
    removed(bench, &id)
}

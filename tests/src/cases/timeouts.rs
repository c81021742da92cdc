//! Timeouts of jobs that no command follows.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::case::cases;
use super::jobs::{detached, listed, longshore, removed};
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::folders::JobDirectory;
use crate::running::PATIENCE;

cases! { "timeouts":
    a_detached_job_ends_at_its_timeout_though_nobody_waits_for_it,
    a_configured_timeout_is_kept_wherever_the_configuration_comes_from,
    no_process_is_left_behind_for_a_job_without_a_timeout,
    what_is_left_behind_is_in_nobodys_way [Images],
    a_job_whose_follower_was_killed_ends_at_its_timeout_once_it_is_waited_for [Images],
    a_run_with_the_key_of_a_detached_job_gives_its_output,
}

/// A job that records a TERM and exits; otherwise it runs until its input `go` exists.
const NOTES: &str = "trap 'echo told >> {jobDir}/output/told; exit 9' TERM; echo first; \
                     until [ -e {jobDir}/input/go ]; do sleep 0.1; done; echo last; exit 7";

/// Launches [`NOTES`].
fn notes(bench: &Bench, job: &JobDirectory, flags: &[&str]) -> Result<String> {
    let path = job.path().to_string_lossy().into_owned();
    detached(bench, &[&["--job-dir", &path], flags].concat(), NOTES)
}

/// Waits until the job in `job` has received TERM.
fn until_told(job: &JobDirectory) -> Checked {
    until(PATIENCE, "the job to receive TERM", || Ok(job.output("told")))?;
    Ok(())
}

/// Returns the processes that this case's commands left behind to follow a job.
fn followers(bench: &Bench) -> Result<Vec<Pid>> {
    let root = bench.folders.root().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let read = |name: &str| {
            // It may end meanwhile.
            let bytes = fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if read("environ").contains(&root) && read("cmdline").contains("--left-behind") {
            found.extend(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

fn until_no_follower(bench: &Bench) -> Checked {
    until(PATIENCE, "what was left behind to end", || {
        Ok(followers(bench)?.is_empty().then_some(()))
    })
}

fn exceeded(bench: &Bench, id: &str) -> Checked {
    longshore(bench, &["wait", id])?.exits(124)?;
    let ran = longshore(bench, &["inspect", id])?;
    ran.exits(0)?;
    let seen: Value = serde_json::from_slice(&ran.stdout)?;
    let outcome = json!({"kind": "DeadlineExceeded", "code": 9});
    same("the outcome", &seen["result"]["outcome"], &outcome)
}

fn a_detached_job_ends_at_its_timeout_though_nobody_waits_for_it(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    // Enough time to check what is left behind.
    let id = notes(bench, &job, &["--timeout", "8s"])?;
    let started = Instant::now();
    let left = followers(bench)?;
    // A supervisor enforces its job's timeout itself.
    let expected = usize::from(bench.backend != Backend::Process);
    same("what is left behind", left.len(), expected)?;
    for pid in left {
        let session = rustix::process::getsid(Some(pid)).context("it is gone")?;
        same("its session", session, pid)?;
    }
    until_told(&job)?;
    let after = started.elapsed();
    ensure!(after < Duration::from_secs(40), "the job received TERM after {after:?}");
    until_no_follower(bench)?;
    exceeded(bench, &id)?;
    removed(bench, &id)
}

fn a_configured_timeout_is_kept_wherever_the_configuration_comes_from(bench: &Bench) -> Checked {
    let state = bench.folders.state();
    let state = state.to_string_lossy();
    bench
        .folders
        .file("relative.toml", format!("[job]\ntimeout = '3s'\nstateDirectory = '{state}'\n"))?;
    let ways: [&[&str]; 2] = [
        &["--config", "relative.toml"],
        &["--set", "job.timeout=3s", "--set", &format!("job.stateDirectory={state}")],
    ];
    for (number, way) in ways.iter().enumerate() {
        let job = bench.folders.job_directory(&format!("job{number}"))?;
        let command = bench.longshore()?.without("JOB_STATEDIRECTORY");
        let command = command.current_dir(bench.folders.root()).args(["run", "--detach"]);
        let command = command.args(*way).arg("--job-dir").arg(job.path()).args(bench.way()?);
        let ran = command.args(["--", "sh", "-c", NOTES]).run()?;
        ran.exits(0)?;
        ensure!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        until_told(&job)?;
        let id = ran.text().trim_end().to_owned();
        exceeded(bench, &id)?;
        removed(bench, &id)?;
    }
    Ok(())
}

fn no_process_is_left_behind_for_a_job_without_a_timeout(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = notes(bench, &job, &[])?;
    same("what is left behind", followers(bench)?, Vec::new())?;
    removed(bench, &id)
}

fn what_is_left_behind_is_in_nobodys_way(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = notes(bench, &job, &["--timeout", "10m"])?;
    let following = bench.longshore()?.args(["logs", "--follow", &id]).spawn()?;
    following.until_stdout("first\n")?;
    let waiting = bench.longshore()?.args(["wait", &id]).spawn()?;
    same("the state", &listed(bench, &[])?[0]["state"], "Running")?;
    let swept = longshore(bench, &["gc", "--older-than", "0s"])?;
    swept.exits(0)?;
    same("what gc removes", swept.text().as_str(), "")?;
    let refused = longshore(bench, &["rm", &id])?;
    refused.exits(125)?;
    says(&refused.stderr, &["has not ended"])?;
    same("what is left behind", followers(bench)?.len(), 1)?;
    longshore(bench, &["cancel", &id, "--grace", "20s"])?.exits(0)?;
    waiting.finish()?.exits(9)?;
    following.finish()?.exits(0)?;
    until_no_follower(bench)?;
    longshore(bench, &["rm", &id])?.exits(0)?;
    // The same, killed.
    let id = notes(bench, &bench.folders.job_directory("other")?, &["--timeout", "10m"])?;
    removed(bench, &id)?;
    until_no_follower(bench)
}

fn a_job_whose_follower_was_killed_ends_at_its_timeout_once_it_is_waited_for(
    bench: &Bench,
) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = notes(bench, &job, &["--timeout", "5s"])?;
    for pid in followers(bench)? {
        kill_process(pid, Signal::KILL).context("failed to kill what is left behind")?;
    }
    until_no_follower(bench)?;
    exceeded(bench, &id)?;
    same("what it notes", job.output("told").as_deref(), Some("told\n"))?;
    removed(bench, &id)
}

fn a_run_with_the_key_of_a_detached_job_gives_its_output(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let flags = ["--idempotency-key", "k", "--timeout", "10m"];
    let id = notes(bench, &job, &flags)?;
    same("the job of the second", &notes(bench, &job, &flags)?, &id)?;
    ensure!(followers(bench)?.len() <= 1, "each submission leaves a process behind");
    let path = job.path().to_string_lossy().into_owned();
    let waiting = bench.script(&[&["--job-dir", &path], &flags[..]].concat(), NOTES)?.spawn()?;
    waiting.until_stderr(&format!("belongs to job {id}"))?;
    job.input("go", "")?;
    let ran = waiting.finish()?;
    ran.exits(7)?;
    same("stdout", ran.text().as_str(), "first\nlast\n")?;
    removed(bench, &id)
}

//! The outcomes of jobs, and the exit codes of the command.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "outcomes":
    the_exit_code_is_the_jobs_own,
    a_job_killed_by_a_signal_exits_with_128_and_its_number,
    the_signal_is_told_where_it_is_known [Signals],
    a_job_out_of_time_exits_with_124,
    a_command_that_is_not_there_exits_with_127,
    a_command_that_cannot_be_executed_exits_with_126,
    a_job_that_needs_too_much_memory_exits_with_137,
    a_job_that_no_runner_can_take_exits_with_125,
}

fn the_exit_code_is_the_jobs_own(bench: &Bench) -> Checked {
    for code in [0, 3, 124, 125, 255] {
        let ran = bench.run(&[], &format!("exit {code}"))?;
        ran.exits(code)?;
        same("the outcome", ran.outcome()?, &json!({"kind": "Exited", "code": code}))?;
    }
    Ok(())
}

/// The signal is sent to a child, because the first process of a container ignores signals that it
/// does not handle.
fn a_job_killed_by_a_signal_exits_with_128_and_its_number(bench: &Bench) -> Checked {
    for (signal, code) in [("KILL", 137), ("TERM", 143)] {
        let ran = bench.run(&[], &format!("sh -c 'kill -{signal} $$'; exit $?"))?;
        ran.exits(code)?;
        same("the kind", &ran.outcome()?["kind"], "Exited")?;
        same("the code", &ran.outcome()?["code"], code)?;
    }
    Ok(())
}

fn the_signal_is_told_where_it_is_known(bench: &Bench) -> Checked {
    for (signal, number) in [("KILL", 9), ("TERM", 15)] {
        let ran = bench.run(&[], &format!("kill -{signal} $$"))?;
        ran.exits(128 + number)?;
        let expected = json!({"kind": "Exited", "code": 128 + number, "signal": number});
        same("the outcome", ran.outcome()?, &expected)?;
    }
    Ok(())
}

fn a_job_out_of_time_exits_with_124(bench: &Bench) -> Checked {
    let begun = Instant::now();
    let ran = bench.run(&["--timeout", "1s"], "trap 'exit 0' TERM; sleep 600 & wait")?;
    ran.exits(124)?;
    same("the kind", &ran.outcome()?["kind"], "DeadlineExceeded")?;
    ensure!(begun.elapsed() > Duration::from_secs(1), "it ended before its time was over");
    says(&ran.stderr, &["ran out of time"])
}

fn a_command_that_is_not_there_exits_with_127(bench: &Bench) -> Checked {
    let ran = bench.job(&[], &["/no/such/command"])?.run()?;
    ran.exits(127)?;
    same("the kind", &ran.outcome()?["kind"], "Rejected")?;
    same("the reason", &ran.outcome()?["reason"], "CommandNotFound")?;
    same("when it started", &ran.result()?["startedAt"], &json!(null))?;
    says(&ran.stderr, &["could not be started", "/no/such/command"])
}

fn a_command_that_cannot_be_executed_exits_with_126(bench: &Bench) -> Checked {
    let ran = bench.job(&[], &["/etc/passwd"])?.run()?;
    ran.exits(126)?;
    same("the kind", &ran.outcome()?["kind"], "Rejected")?;
    same("the reason", &ran.outcome()?["reason"], "CommandNotExecutable")
}

/// A local process has the limit by a cgroup, where Longshore may create one.
fn a_job_that_needs_too_much_memory_exits_with_137(bench: &Bench) -> Checked {
    let limits = bench.folders.file("limits.toml", "[resources.limits]\nmemory = '32Mi'\n")?;
    let limits = limits.to_string_lossy().into_owned();
    let ran = bench.run(&[&limits], "exec tail /dev/zero")?;
    // Where Longshore may not create a cgroup, a local process has no limits.
    if bench.backend == Backend::Process && ran.outcome()?["kind"] == "NotRun" {
        ran.exits(125)?;
        same("why", &ran.result()?["passedOver"][0]["kind"], "Unsupported")?;
        return says(&ran.stderr, &["memory", "cgroup"]);
    }
    ran.exits(137)?;
    same("the outcome", ran.outcome()?, &json!({"kind": "OutOfMemory", "code": 137}))
}

fn a_job_that_no_runner_can_take_exits_with_125(bench: &Bench) -> Checked {
    let command = bench.longshore()?.arg("run").result(bench.folders.result());
    // Each backend gets the other kind of job.
    let ran = match bench.backend {
        Backend::Process => command.args(["--image", "busybox:1"]).run()?,
        Backend::Docker | Backend::Kubernetes => command.args(["--", "true"]).run()?,
    };
    ran.exits(125)?;
    let result = ran.result()?;
    same("the kind", &result["outcome"]["kind"], "NotRun")?;
    same("the reason", &result["outcome"]["reason"], "NoRunner")?;
    same("the runner", &result["runner"], &json!(null))?;
    let passed = &result["passedOver"];
    same("the runner passed over", &passed[0]["runner"], bench.backend.name())?;
    same("why", &passed[0]["kind"], "Unsupported")?;
    same("how many", passed.as_array().map(Vec::len), Some(1))?;
    says(&ran.stderr, &[&format!("passed over {} (Unsupported)", bench.backend)])
}

//! The runner that a job falls back to without a cluster and without an engine.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::case::cases;
use super::signals::pointed_at;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::network::Silent;
use crate::programs;

cases! { "fallback":
    the_example_runs_with_nothing_installed_and_says_why_there,
    a_runner_named_alone_is_never_replaced,
    a_cluster_that_gives_no_answer_costs_the_connect_timeout_once,
    a_command_does_not_wait_for_the_silence_that_another_one_has_just_met,
}

fn the_example_runs_with_nothing_installed_and_says_why_there(bench: &Bench) -> Checked {
    let example = programs::checkout().join("conf/examples/observables");
    let job = bench.folders.job_directory("observables")?;
    for name in ["extract.sh", "message.eml"] {
        job.input(name, std::fs::read(example.join("job/input").join(name))?)?;
    }
    let command = bench.bare()?.arg("run").result(bench.folders.result());
    let ran = command.arg(example.join("job.toml")).arg("--job-dir").arg(job.path()).run()?;
    ran.exits(0)?;
    same("stdout", ran.text(), std::fs::read_to_string(example.join("expected-report.json"))?)?;
    let order: Vec<_> = ran
        .stderr
        .lines()
        .map(|line| line.split_whitespace().take(4).collect::<Vec<_>>())
        .collect();
    same("the lines on stderr", order.len(), 4)?;
    same("the line with the ID", order[0][..2].join(" ").as_str(), "longshore: job")?;
    says(&order[1].join(" "), &["longshore: passed over kubernetes"])?;
    says(&order[2].join(" "), &["longshore: passed over docker"])?;
    says(&ran.stderr, &["(Unsupported)", "(Unavailable)", "nowhere", "longshore: process: the job"])
}

fn a_runner_named_alone_is_never_replaced(bench: &Bench) -> Checked {
    let command = bench.bare()?.arg("run").result(bench.folders.result());
    let command = command.args(["--runners", "docker", "--image", "busybox:1"]);
    let ran = command.args(["--process", "echo started", "--", "echo", "started"]).run()?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    same("the reason", &ran.outcome()?["reason"], "NoRunner")?;
    says(&ran.stderr, &["passed over docker (Unavailable)"])
}

fn a_cluster_that_gives_no_answer_costs_the_connect_timeout_once(bench: &Bench) -> Checked {
    let begun = Instant::now();
    passed_over(bench, &Silent::new()?)?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    Ok(())
}

fn a_command_does_not_wait_for_the_silence_that_another_one_has_just_met(bench: &Bench) -> Checked {
    let server = Silent::new()?;
    let first = passed_over(bench, &server)?;
    ensure!(!first.contains("by another process"), "{first}");
    let known = "ago by another process)";
    says(&passed_over(bench, &server)?, &[known])?;
    // Another server may answer.
    let other = passed_over(bench, &Silent::new()?)?;
    ensure!(!other.contains(known), "{other}");
    Ok(())
}

/// Runs a job that falls back from a cluster at `server` to a local process. Returns why.
fn passed_over(bench: &Bench, server: &Silent) -> Checked<String> {
    let command = pointed_at(bench, server)?
        .env("JOB_RUNNERS", "kubernetes,process")
        .env("JOB_CONNECTTIMEOUT", "1s");
    let command = command.arg("run").result(bench.folders.result());
    let command =
        command.args(["--image", "busybox:1", "--process", "echo ran", "--", "echo", "no"]);
    let ran = command.run()?;
    ran.exits(0)?;
    same("stdout", ran.text(), "ran\n")?;
    let passed = &ran.result()?["passedOver"][0];
    same("who was passed over", &passed["runner"], "kubernetes")?;
    same("why", &passed["kind"], "Unavailable")?;
    Ok(passed["message"].to_string())
}

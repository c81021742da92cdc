//! `longshore kill --signal`.

use anyhow::ensure;

use super::case::cases;
use super::jobs::{detached, longshore, removed};
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "kill":
    it_sends_a_signal_and_leaves_the_outcome_to_the_job,
}

fn it_sends_a_signal_and_leaves_the_outcome_to_the_job(bench: &Bench) -> Checked {
    let script = "trap 'echo got USR1; exit 7' USR1; echo ready; while :; do sleep 0.1; done";
    let id = detached(bench, &[], script)?;
    let mut following = bench.longshore()?.args(["logs", "--follow", &id]).spawn()?;
    following.until_stdout("ready\n")?;
    let ran = longshore(bench, &["kill", "--signal", "usr1", &id])?;
    if bench.backend == Backend::Kubernetes {
        ran.exits(125)?;
        says(&ran.stderr, &["does not support sending signals"])?;
        ensure!(following.is_running()?, "the job ended");
        let term = longshore(bench, &["kill", "-s", "TERM", &id])?;
        term.exits(0)?;
        says(&term.stderr, &["does not support sending signals", "the job was cancelled"])?;
        following.finish()?.exits(0)?;
        longshore(bench, &["wait", &id])?.exits(143)?;
        return removed(bench, &id);
    }
    ran.exits(0)?;
    same("stdout", ran.text(), format!("{id}\n"))?;
    let followed = following.finish()?;
    same("the output", followed.text(), "ready\ngot USR1\n")?;
    longshore(bench, &["wait", &id])?.exits(7)?;
    let late = longshore(bench, &["kill", "-s", "HUP", &id])?;
    late.exits(125)?;
    says(&late.stderr, &["has ended"])?;
    let wrong = longshore(bench, &["kill", "-s", "NOTHING", &id])?;
    wrong.exits(2)?;
    says(&wrong.stderr, &["`NOTHING` is not a signal"])?;
    removed(bench, &id)
}

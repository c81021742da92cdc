//! `longshore exec`.

use std::fs::File;

use super::case::cases;
use super::jobs::{detached, longshore, removed};
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "exec":
    it_gives_the_command_its_stdin_and_exits_as_the_command_does,
}

fn it_gives_the_command_its_stdin_and_exits_as_the_command_does(bench: &Bench) -> Checked {
    let id = detached(bench, &[], "while :; do sleep 0.1; done")?;
    let input = bench.folders.file("input", "data\n")?;
    let script = ["sh", "-c", "cat; echo over >&2; exit 7"];
    let exec = bench.longshore()?.args(["exec", "-i", &id, "--"]).args(script);
    let ran = exec.stdin(File::open(&input)?).run()?;
    ran.exits(7)?;
    same("stdout", ran.text(), "data\n")?;
    same("stderr", &*ran.stderr, "over\n")?;
    let without = bench.longshore()?.args(["exec", &id]).args(script);
    let ran = without.stdin(File::open(&input)?).run()?;
    ran.exits(7)?;
    same("stdout without -i", ran.text(), "")?;
    let own =
        longshore(bench, &["exec", "-e", "A=1", "-w", "/tmp", &id, "sh", "-c", "echo $A; pwd"])?;
    match bench.backend {
        Backend::Kubernetes => {
            own.exits(125)?;
            says(&own.stderr, &["env NAME=VALUE COMMAND", "cd DIR"])?;
        }
        _ => same("its own environment and folder", own.text(), "1\n/tmp\n")?,
    }
    longshore(bench, &["kill", &id])?.exits(0)?;
    let ran = longshore(bench, &["exec", &id, "true"])?;
    ran.exits(125)?;
    says(&ran.stderr, &["the job has ended: it was cancelled"])?;
    removed(bench, &id)
}

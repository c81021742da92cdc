//! What only a Docker engine has: a socket.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::case::cases;
use super::jobs::{detached, removed};
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::command::Longshore;
use crate::programs;

cases! { "docker":
    a_configured_socket_that_we_may_not_open_ends_the_search [Root],
    a_socket_that_nobody_configured_and_we_may_not_open_is_passed_over [Root],
    an_address_that_makes_no_sense_is_refused_with_it,
    a_job_of_another_engine_was_lost [TwoEngines],
}

const NOBODY: u32 = 65534;

/// Returns the command as a user who may not open `root/run/docker.sock`, and that socket. The
/// command is a copy, as the user `nobody` may be unable to reach the folder in which it was built.
fn as_nobody(bench: &Bench) -> Result<(Longshore, PathBuf)> {
    let root = bench.folders.root();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    let program = root.join("longshore");
    // If this process opened the copy for writing, a process that another case starts at that
    // moment would inherit the descriptor, and the copy could not be executed ("text file busy").
    let copied = Command::new("cp").arg(programs::longshore()?).arg(&program).status();
    ensure!(copied.context("failed to start cp")?.success(), "failed to copy the command");
    for folder in [bench.folders.home(), bench.folders.state()] {
        fs::create_dir_all(&folder)?;
        chown(&folder, Some(NOBODY), Some(NOBODY))?;
    }
    let run = root.join("run");
    fs::create_dir(&run)?;
    let socket = run.join("docker.sock");
    // No client gets far enough to need an answer.
    drop(UnixListener::bind(&socket)?);
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    let command = bench.program(&program)?.user(NOBODY).env("JOB_RUNNERS", "docker,process");
    Ok((command, socket))
}

/// Returns a job that may run either way, and that prints where it ran.
fn either_way(command: Longshore, result: &Path) -> Longshore {
    let job = ["--image", "busybox:1", "--process", "echo process", "--", "echo", "docker"];
    command.arg("run").arg("--result").arg(result).args(job)
}

fn a_configured_socket_that_we_may_not_open_ends_the_search(bench: &Bench) -> Checked {
    let (command, socket) = as_nobody(bench)?;
    let command = command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let result = bench.folders.home().join("result.json");
    let ran = either_way(command, &result).run()?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    let result: serde_json::Value = serde_json::from_slice(&fs::read(result)?)?;
    same("the kind", &result["outcome"]["kind"], "NotRun")?;
    same("the reason", &result["outcome"]["reason"], "Denied")?;
    same("the runner", &result["runner"], "docker")?;
    says(&ran.stderr, &[&socket.display().to_string()])
}

fn a_socket_that_nobody_configured_and_we_may_not_open_is_passed_over(bench: &Bench) -> Checked {
    let (command, socket) = as_nobody(bench)?;
    let run = socket.parent().context("the socket has no folder")?;
    let command = command.without("DOCKER_HOST").env("XDG_RUNTIME_DIR", run);
    let result = bench.folders.home().join("result.json");
    let ran = either_way(command, &result).run()?;
    ran.exits(0)?;
    same("stdout", ran.text(), "process\n")?;
    let result: serde_json::Value = serde_json::from_slice(&fs::read(result)?)?;
    same("who was passed over", &result["passedOver"][0]["runner"], "docker")?;
    same("why", &result["passedOver"][0]["kind"], "Unavailable")?;
    says(&ran.stderr, &["docker.sock"])
}

fn an_address_that_makes_no_sense_is_refused_with_it(bench: &Bench) -> Checked {
    let command = bench.bare()?.env("DOCKER_HOST", "gopher://x");
    let ran = command.args(["run", "--image", "busybox:1", "--runners", "docker"]).run()?;
    ran.exits(125)?;
    says(&ran.stderr, &["gopher://x", "DOCKER_HOST"])
}

/// The 404 of the engine that `DOCKER_HOST` named in the next command was the end of the job.
fn a_job_of_another_engine_was_lost(bench: &Bench) -> Checked {
    let there = bench.lab.docker29_host.clone().context("no second engine")?;
    let id = detached(bench, &[], "sleep 600")?;
    for command in ["wait", "cancel", "logs"] {
        let elsewhere = bench.longshore()?.env("DOCKER_HOST", &there);
        let ran = elsewhere.args([command, &id]).run()?;
        ran.exits(125)?;
        says(&ran.stderr, &["the job is on the Docker engine at unix://", &there, "DOCKER_HOST"])?;
    }
    bench.longshore()?.args(["cancel", &id]).run()?.exits(0)?;
    let ran = bench.longshore()?.args(["inspect", &id]).run()?;
    ran.exits(0)?;
    says(&ran.text(), &["Cancelled"])?;
    removed(bench, &id)
}

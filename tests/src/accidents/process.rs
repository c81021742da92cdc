//! What happens to local processes, to their supervisor and to their files.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::situation::{Expected, PROCESS, Situation, ends, exits, lost, on, refused};
use super::stage::{Stage, WAITS};
use crate::check::{Checked, until};
use crate::running::{Ran, Running};

const NO_FOLDER: Expected = refused("Rejected", 125, &["ContainerConfig", "/no/such/folder"]);
const NO_PATH: Expected = refused("Rejected", 127, &["CommandNotFound", "sh"]);
const NO_STATE: Expected = refused("NotRun", 125, &["attempts"]);

pub(super) const SITUATIONS: &[Situation] = &[
    on(PROCESS, "kill -HUP from outside", |s| kill(s, Signal::HUP), killed(129)),
    on(PROCESS, "kill -INT from outside", |s| kill(s, Signal::INT), killed(130)),
    on(PROCESS, "kill -QUIT from outside", |s| kill(s, Signal::QUIT), killed(131)),
    on(PROCESS, "kill -ILL from outside", |s| kill(s, Signal::ILL), killed(132)),
    on(PROCESS, "kill -ABRT from outside", |s| kill(s, Signal::ABORT), killed(134)),
    on(PROCESS, "kill -FPE from outside", |s| kill(s, Signal::FPE), killed(136)),
    on(PROCESS, "kill -KILL from outside", |s| kill(s, Signal::KILL), killed(137)),
    on(PROCESS, "kill -USR1 from outside", |s| kill(s, Signal::USR1), killed(138)),
    on(PROCESS, "kill -SEGV from outside", |s| kill(s, Signal::SEGV), killed(139)),
    on(PROCESS, "kill -USR2 from outside", |s| kill(s, Signal::USR2), killed(140)),
    on(PROCESS, "kill -PIPE from outside", |s| kill(s, Signal::PIPE), killed(141)),
    on(PROCESS, "kill -ALRM from outside", |s| kill(s, Signal::ALARM), killed(142)),
    on(PROCESS, "kill -TERM from outside", |s| kill(s, Signal::TERM), killed(143)),
    on(PROCESS, "kill -STOP and -CONT from outside", stopped, exits(5)),
    on(PROCESS, "its supervisor is killed", supervisor_killed, lost(&["supervisor"])),
    on(PROCESS, "its supervisor is stopped and continued", supervisor_stopped, exits(5)),
    on(PROCESS, "its folder is removed while it runs", folder_removed, lost(&["removed"])),
    on(PROCESS, "its record is truncated while it runs", record_truncated, exits(5)),
    on(PROCESS, "the folder of attempts is a file", no_attempts, NO_STATE),
    on(PROCESS, "its PATH has no such command", no_path, NO_PATH),
    on(PROCESS, "its working directory does not exist", no_folder, NO_FOLDER),
];

/// The job ended by a signal, which is reported.
const fn killed(code: i32) -> Expected {
    ends("Exited", code, &["signal"])
}

/// Starts a job, and returns its process and its supervisor's.
fn begun(stage: &mut Stage) -> Checked<(Running, Pid, Pid)> {
    let running = stage.start(&[], &format!("echo $$ $PPID; {WAITS}"))?;
    let lines = running.lines();
    let line = lines.first().context("the job has printed nothing")?;
    let pids: Vec<i32> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    ensure!(pids.len() == 2 && pids[1] > 1, "{line}");
    let pid = |at: usize| Pid::from_raw(pids[at]).context("no process");
    Ok((running, pid(0)?, pid(1)?))
}

fn kill(stage: &mut Stage, signal: Signal) -> Checked<Ran> {
    let (running, job, _) = begun(stage)?;
    kill_process(job, signal)?;
    let ran = stage.finish(running)?;
    let seen = ran.outcome()?["signal"].as_i64();
    ensure!(seen == Some(signal.as_raw().into()), "another signal: {}", ran.outcome()?);
    Ok(ran)
}

fn stopped(stage: &mut Stage) -> Checked<Ran> {
    let (running, job, _) = begun(stage)?;
    kill_process(job, Signal::STOP)?;
    kill_process(job, Signal::CONT)?;
    stage.let_go(running)
}

fn supervisor_killed(stage: &mut Stage) -> Checked<Ran> {
    let (running, _, supervisor) = begun(stage)?;
    kill_process(supervisor, Signal::KILL)?;
    stage.finish(running)
}

/// The job ends while its supervisor is stopped.
fn supervisor_stopped(stage: &mut Stage) -> Checked<Ran> {
    let (running, job, supervisor) = begun(stage)?;
    kill_process(supervisor, Signal::STOP)?;
    stage.directory.input("go", "")?;
    let status = PathBuf::from(format!("/proc/{job}/stat"));
    let is_over = || fs::read_to_string(&status).is_ok_and(|text| text.contains(") Z "));
    let ended = until(crate::running::PATIENCE, "the job's end", || Ok(is_over().then_some(())));
    kill_process(supervisor, Signal::CONT)?;
    ended?;
    stage.finish(running)
}

/// Returns the folder of the only attempt.
fn folder(stage: &Stage) -> Checked<PathBuf> {
    stage.kept().pop().context("there is no attempt")
}

fn folder_removed(stage: &mut Stage) -> Checked<Ran> {
    let (running, ..) = begun(stage)?;
    fs::remove_dir_all(folder(stage)?)?;
    stage.let_go(running)
}

/// Its supervisor still has the job, and records its end.
fn record_truncated(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&[], WAITS)?.env("JOB_LOSTAFTER", "2s");
    let running = stage.started(command)?;
    fs::write(folder(stage)?.join("record.jsonl"), "")?;
    stage.let_go(running)
}

/// Permissions do not restrict root, but a file in the folder's place does.
fn no_attempts(stage: &mut Stage) -> Checked<Ran> {
    let attempts = stage.attempts();
    fs::create_dir_all(attempts.parent().context("it has no parent")?)?;
    fs::write(&attempts, "")?;
    stage.script("exit 0")
}

fn no_path(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&["--env", "PATH=/no/such/folder"], "exit 0")?;
    stage.run(command)
}

fn no_folder(stage: &mut Stage) -> Checked<Ran> {
    let file = "[process]\ncommand = ['true']\nworkingDir = '/no/such/folder'\n";
    let file = stage.file(file)?;
    let command = stage.bench.longshore()?.arg("run").result(stage.bench.folders.result());
    stage.run(command.arg(&file))
}

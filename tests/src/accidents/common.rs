//! What can happen to a job on every runner.

use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;

use super::situation::{
    CONTAINERS, EVERYWHERE, PROCESS, Situation, Starts, ends, exits, on, refused,
};
use super::stage::{Stage, WAITS};
use crate::check::Checked;
use crate::network::Silent;
use crate::running::Ran;

/// Ignores TERM.
const DEAF: &str =
    "trap '' TERM; echo begun; n=0; while [ $n -lt 600 ]; do n=$((n + 1)); sleep 0.2; done";
/// Exits with 0 on TERM.
const POLITE: &str = "trap 'exit 0' TERM; echo begun; n=0; \
                      while [ $n -lt 600 ]; do n=$((n + 1)); sleep 0.2; done";
/// A kubelet gives up a pull only when its runtime does.
const PULL_GIVEN_UP: u64 = 75;

pub(super) const SITUATIONS: &[Situation] = &[
    on(EVERYWHERE, "it exits with 0", |s| s.script("exit 0"), exits(0)),
    on(EVERYWHERE, "it exits with 1", |s| s.script("exit 1"), exits(1)),
    on(EVERYWHERE, "it exits with 3", |s| s.script("exit 3"), exits(3)),
    on(EVERYWHERE, "it exits with 126 of its own", |s| s.script("exit 126"), exits(126)),
    on(EVERYWHERE, "it exits with 127 of its own", |s| s.script("exit 127"), exits(127)),
    on(EVERYWHERE, "it exits with 137 without a signal", |s| s.script("exit 137"), exits(137)),
    on(EVERYWHERE, "it exits with 143 without a signal", |s| s.script("exit 143"), exits(143)),
    on(EVERYWHERE, "it exits with 255", |s| s.script("exit 255"), exits(255)),
    on(EVERYWHERE, "it sends itself HUP", |s| s.script("kill -HUP $$"), exits(129)),
    on(EVERYWHERE, "it sends itself INT", |s| s.script("kill -INT $$"), exits(130)),
    on(EVERYWHERE, "it aborts", |s| s.script("kill -ABRT $$"), exits(134)),
    on(EVERYWHERE, "it kills itself", |s| s.script("kill -KILL $$"), exits(137)),
    on(EVERYWHERE, "it has a segmentation fault", |s| s.script("kill -SEGV $$"), exits(139)),
    on(EVERYWHERE, "it writes to a broken pipe", |s| s.script("kill -PIPE $$"), exits(141)),
    on(EVERYWHERE, "it sends itself TERM", |s| s.script("kill -TERM $$"), exits(143)),
    on(CONTAINERS, "it needs more memory than its limit", out_of_memory, OUT_OF_MEMORY),
    on(PROCESS, "it has a memory limit", out_of_memory, NO_LIMIT),
    on(EVERYWHERE, "its child outlives it", child_outlives_it, exits(3)),
    on(EVERYWHERE, "its output is binary", binary, exits(0)),
    on(EVERYWHERE, "its output has no final newline", no_newline, exits(4)),
    on(EVERYWHERE, "its output is one line of 1 MiB", long_line, exits(0)),
    on(EVERYWHERE, "its command does not exist", no_command, NOT_FOUND),
    on(EVERYWHERE, "its command cannot be executed", no_program, NOT_EXECUTABLE),
    on(EVERYWHERE, "its command is a directory", directory, NOT_EXECUTABLE_DIRECTORY),
    on(EVERYWHERE, "Ctrl-C while it runs", ctrl_c, ends("Cancelled", 143, &["was cancelled"])),
    on(EVERYWHERE, "Ctrl-C, and it exits with 0", polite, ends("Cancelled", 143, &[])),
    on(EVERYWHERE, "another command cancels it", cancelled, ends("Cancelled", 143, &[])),
    on(EVERYWHERE, "it ignores a cancel", deaf, ends("Cancelled", 137, &[])),
    on(EVERYWHERE, "a cancel after its end", cancelled_late, exits(5)),
    on(CONTAINERS, "Ctrl-C during the pull of its image", ctrl_c_in_pull, IN_PULL),
    on(EVERYWHERE, "its timeout passes", timeout, ends("DeadlineExceeded", 124, &["time"])),
    on(EVERYWHERE, "it ignores its timeout", deaf_timeout, ends("DeadlineExceeded", 124, &[])),
    on(EVERYWHERE, "kill -9 of the command", command_killed, exits(5)),
    on(EVERYWHERE, "kill -9 of the command before the start", killed_before, INTERRUPTED),
];

const OUT_OF_MEMORY: super::situation::Expected = ends("OutOfMemory", 137, &["memory"]);
const NO_LIMIT: super::situation::Expected = refused("NotRun", 125, &["Unsupported", "memory"]);
const NOT_FOUND: super::situation::Expected =
    refused("Rejected", 127, &["CommandNotFound", "/no/such/command"]);
const NOT_EXECUTABLE: super::situation::Expected =
    refused("Rejected", 126, &["CommandNotExecutable", "/etc/passwd"]);
const NOT_EXECUTABLE_DIRECTORY: super::situation::Expected =
    refused("Rejected", 126, &["CommandNotExecutable", "/etc"]);
const IN_PULL: super::situation::Expected = refused("Cancelled", 143, &[]).within(PULL_GIVEN_UP);
const INTERRUPTED: super::situation::Expected =
    ends("NotRun", 125, &["Interrupted"]).started(Starts::Never);

fn out_of_memory(stage: &mut Stage) -> Checked<Ran> {
    let limits = stage.file("[resources.limits]\nmemory = '32Mi'\n")?;
    let command = stage.command(&[&limits], "exec tail /dev/zero")?;
    stage.run(command)
}

fn child_outlives_it(stage: &mut Stage) -> Checked<Ran> {
    stage.script("(trap '' HUP TERM; exec sleep 600) > /dev/null 2>&1 & exit 3")
}

fn binary(stage: &mut Stage) -> Checked<Ran> {
    let ran = stage.script(r"printf '\377\376\000\001\r\033[1m\303'")?;
    ensure!(ran.stdout == b"\xff\xfe\0\x01\r\x1b[1m\xc3", "{}", ran.stdout.escape_ascii());
    Ok(ran)
}

fn no_newline(stage: &mut Stage) -> Checked<Ran> {
    let ran = stage.script("printf 'a\nb'; exit 4")?;
    ensure!(ran.stdout == b"a\nb", "{}", ran.stdout.escape_ascii());
    Ok(ran)
}

fn long_line(stage: &mut Stage) -> Checked<Ran> {
    let ran = stage.script("head -c 1048576 /dev/zero | tr '\\0' x")?;
    ensure!(ran.stdout.len() == 1 << 20, "{} bytes", ran.stdout.len());
    ensure!(ran.stdout.iter().all(|byte| *byte == b'x'), "other bytes");
    Ok(ran)
}

fn no_command(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.argv(&[], &["/no/such/command"])?;
    stage.run(command)
}

fn no_program(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.argv(&[], &["/etc/passwd"])?;
    stage.run(command)
}

fn directory(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.argv(&[], &["/etc"])?;
    stage.run(command)
}

fn ctrl_c(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    running.signal(Signal::INT)?;
    stage.finish(running)
}

fn polite(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.start(&[], POLITE)?;
    running.signal(Signal::INT)?;
    stage.finish(running)
}

fn cancelled(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    let id = stage.id()?;
    stage.bench.longshore()?.args(["cancel", &id, "--grace", "20s"]).run()?;
    stage.finish(running)
}

fn deaf(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.start(&[], DEAF)?;
    let id = stage.id()?;
    stage.bench.longshore()?.args(["cancel", &id, "--grace", "1s"]).run()?;
    stage.finish(running)
}

fn cancelled_late(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    let ran = stage.let_go(running)?;
    let id = stage.id()?;
    let cancel = stage.bench.longshore()?.args(["cancel", &id]).run()?;
    ensure!(cancel.stderr.contains("ended"), "cancel says {:?}", cancel.stderr);
    let waited = stage.waited(&id)?;
    ensure!(waited.outcome()? == ran.outcome()?, "another outcome: {:?}", waited.result);
    Ok(ran)
}

fn ctrl_c_in_pull(stage: &mut Stage) -> Checked<Ran> {
    let registry = Silent::new()?;
    let image = format!("{}/longshore-e2e/silent:1", registry.address());
    let command = stage.bench.longshore()?.arg("run").result(stage.bench.folders.result());
    let running = stage.spawn(command.args(["--image", &image, "--", "true"]))?;
    registry.until_connected()?;
    running.signal(Signal::INT)?;
    stage.finish(running)
}

fn timeout(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&["--timeout", "1s"], WAITS)?;
    stage.run(command)
}

fn deaf_timeout(stage: &mut Stage) -> Checked<Ran> {
    let grace = stage.file("gracePeriod = '1s'\n")?;
    let command = stage.command(&[&grace, "--timeout", "1s"], DEAF)?;
    stage.run(command)
}

/// Its successor follows the job to its end.
fn command_killed(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    running.signal(Signal::KILL)?;
    running.finish_within(Duration::from_secs(10))?;
    stage.directory.input("go", "")?;
    let id = stage.id()?;
    stage.waited(&id)
}

/// It dies when its launch is on record and not yet made.
fn killed_before(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&[], "exit 0")?.env("LONGSHORE_FAIL_AT", "Intent");
    let running = stage.spawn(command)?;
    running.finish()?;
    let id = stage.id()?;
    stage.waited(&id)
}

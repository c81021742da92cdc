//! What can happen to a job on every runner.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;

use super::situation::{
    CLUSTER, CONTAINERS, ENGINES, EVERYWHERE, Expected, NO_CLUSTER, NO_ENGINE, Situation, Starts,
    ends, exits, on, refused,
};
use super::stage::{Stage, WAITS};
use crate::check::Checked;
use crate::network::{Silent, refusing};
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
    on(NO_ENGINE, "it wants no network", no_network, NETWORK),
    on(EVERYWHERE, "its child outlives it", child_outlives_it, exits(3)),
    on(EVERYWHERE, "its output is binary", binary, exits(0)),
    on(EVERYWHERE, "its output has no final newline", no_newline, exits(4)),
    on(EVERYWHERE, "its output is one line of 1 MiB", long_line, exits(0)),
    on(EVERYWHERE, "its command does not exist", no_command, NOT_FOUND),
    on(EVERYWHERE, "its command cannot be executed", no_program, NOT_EXECUTABLE),
    on(EVERYWHERE, "its command is a directory", directory, NOT_EXECUTABLE_DIRECTORY),
    on(EVERYWHERE, "its program may not be executed", |s| program(s, "", 0o644), FORBIDDEN),
    on(EVERYWHERE, "its program has no interpreter", no_interpreter, NO_INTERPRETER),
    // The init of an engine runs such a file with a shell, as execvp(3) does.
    on(ENGINES, "its program is plain text", plain_text, exits(3)),
    on(NO_ENGINE, "its program is plain text", plain_text, NO_FORMAT),
    on(CONTAINERS, "its image does not exist", no_image, NO_IMAGE),
    on(CONTAINERS, "its image is absent under Never", never, ABSENT),
    on(CONTAINERS, "its registry refuses connections", no_registry, NO_REGISTRY),
    on(NO_CLUSTER, "rm --force while it runs", removed, ends("Cancelled", 137, &[])),
    // A Pod has a grace period of at least a second.
    on(CLUSTER, "rm --force while it runs", removed, ends("Cancelled", 143, &[])),
    on(EVERYWHERE, "gc while it runs", swept, exits(5)),
    on(EVERYWHERE, "two commands with one idempotency key", twice, exits(5)),
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

const OUT_OF_MEMORY: Expected = ends("OutOfMemory", 137, &["memory"]);
const NETWORK: Expected = refused("NotRun", 125, &["Unsupported", "network"]);
const NOT_FOUND: Expected = refused("Rejected", 127, &["CommandNotFound", "/no/such/command"]);
const NOT_EXECUTABLE: Expected = refused("Rejected", 126, &["CommandNotExecutable", "/etc/passwd"]);
const NOT_EXECUTABLE_DIRECTORY: Expected =
    refused("Rejected", 126, &["CommandNotExecutable", "/etc"]);
const FORBIDDEN: Expected = refused("Rejected", 126, &["CommandNotExecutable", "input/program"]);
const NO_INTERPRETER: Expected = refused("Rejected", 127, &["CommandNotFound", "input/program"]);
const NO_FORMAT: Expected = refused("Rejected", 126, &["CommandNotExecutable", "input/program"]);
const NO_IMAGE: Expected = refused("ImageUnavailable", 125, &["NotFound", "no-such-image"]);
const ABSENT: Expected = refused("ImageUnavailable", 125, &["NotPresent", "Never"]);
const NO_REGISTRY: Expected =
    refused("ImageUnavailable", 125, &["Unreachable"]).within(PULL_GIVEN_UP);
const IN_PULL: Expected = refused("Cancelled", 143, &[]).within(PULL_GIVEN_UP);
const INTERRUPTED: Expected = ends("NotRun", 125, &["Interrupted"]).started(Starts::Never);

fn out_of_memory(stage: &mut Stage) -> Checked<Ran> {
    let limits = stage.file("[resources.limits]\nmemory = '32Mi'\n")?;
    let command = stage.command(&[&limits], "exec tail /dev/zero")?;
    stage.run(command)
}

fn no_network(stage: &mut Stage) -> Checked<Ran> {
    let none = stage.file("network = 'none'\n")?;
    let command = stage.command(&[&none], "true")?;
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

/// Runs a program that is a file in the job's input.
fn program(stage: &mut Stage, text: &str, mode: u32) -> Checked<Ran> {
    stage.directory.input("program", text)?;
    let path = stage.directory.path().join("input/program");
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    let command = stage.argv(&[], &["{jobDir}/input/program"])?;
    stage.run(command)
}

fn no_interpreter(stage: &mut Stage) -> Checked<Ran> {
    program(stage, "#!/no/such/interpreter\n", 0o755)
}

/// On an engine, the text is the job.
fn plain_text(stage: &mut Stage) -> Checked<Ran> {
    program(stage, "echo start >> $(dirname $0)/../output/trace; exit 3\n", 0o755)
}

/// Runs a job with another image of the lab's registry.
fn other_image(stage: &mut Stage, flags: &[&str]) -> Checked<Ran> {
    let registry = stage.bench.image()?.split('/').next().unwrap_or_default().to_owned();
    let image = format!("{registry}/longshore/no-such-image:1");
    let command = stage.with_image(&image, flags, "exit 3")?;
    stage.run(command)
}

fn no_image(stage: &mut Stage) -> Checked<Ran> {
    other_image(stage, &[])
}

fn never(stage: &mut Stage) -> Checked<Ran> {
    other_image(stage, &["--pull-policy", "Never"])
}

fn no_registry(stage: &mut Stage) -> Checked<Ran> {
    let image = format!("{}/longshore/no-such-image:1", refusing()?);
    let command = stage.with_image(&image, &[], "exit 3")?;
    stage.run(command.env("JOB_PULLTIMEOUT", "4s"))
}

fn removed(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    let id = stage.id()?;
    stage.bench.longshore()?.args(["rm", "--force", &id]).run()?;
    stage.finish(running)
}

fn swept(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.waiting()?;
    let gc = stage.bench.longshore()?.args(["gc", "--older-than", "0s"]).run()?;
    gc.exits(0)?;
    ensure!(gc.stdout.is_empty(), "gc removed {:?}", gc.text());
    stage.let_go(running)
}

/// The second command waits for the job of the first, and reports the same.
fn twice(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.start(&["--idempotency-key", "k"], WAITS)?;
    let second = stage.command(&["--idempotency-key", "k"], WAITS)?.spawn()?;
    second.until_stderr(&stage.id()?)?;
    let ran = stage.let_go(running)?;
    second.finish()?.exits(5)?;
    Ok(ran)
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

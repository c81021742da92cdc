//! Clocks that disagree: the command's is ten minutes ahead of its server's, or behind it, or is
//! set while the job runs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rustix::process::Signal;

use super::situation::{CONTAINERS, EVERYWHERE, Expected, Situation, ends, exits, on};
use super::stage::{Stage, WAITS};
use crate::check::{Checked, same};
use crate::running::Ran;

const AHEAD: i64 = 600;
const BEHIND: i64 = -600;
const TIMED_OUT: Expected = ends("DeadlineExceeded", 124, &[]);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CONTAINERS, "its clock is ten minutes ahead", apart, exits(5)).clock(AHEAD),
    on(CONTAINERS, "its clock is ten minutes behind", apart, exits(5)).clock(BEHIND),
    on(CONTAINERS, "its clock is ahead, and its timeout passes", timeout, TIMED_OUT).clock(AHEAD),
    on(CONTAINERS, "its clock is behind, and its timeout passes", timeout, TIMED_OUT).clock(BEHIND),
    on(CONTAINERS, "a successor keeps its timeout, ahead", successor, TIMED_OUT).clock(AHEAD),
    on(CONTAINERS, "a successor keeps its timeout, behind", successor, TIMED_OUT).clock(BEHIND),
    on(CONTAINERS, "its output is read late", read_late, exits(5)),
    on(CONTAINERS, "its output is read late, ahead", read_late, exits(5)).clock(AHEAD),
    on(CONTAINERS, "its output is read late, behind", read_late, exits(5)).clock(BEHIND),
    on(EVERYWHERE, "its clock is set ten minutes ahead", |s| set(s, AHEAD), exits(5)).clock(0),
    on(EVERYWHERE, "its clock is set ten minutes back", |s| set(s, BEHIND), exits(5)).clock(0),
];

/// Fails if `gc` removes anything now.
fn gc_keeps_everything(stage: &Stage) -> Checked {
    for age in [&["--older-than", "0s"][..], &[]] {
        let gc = stage.bench.longshore()?.arg("gc").args(age).run()?;
        gc.exits(0)?;
        ensure!(gc.stdout.is_empty(), "gc removed {:?}", gc.text());
    }
    Ok(())
}

/// Fails unless the job ran as long as its times say: for at most `took`, and not less than nothing.
fn has_sane_times(ran: &Ran, took: Duration) -> Checked {
    let result = ran.result()?;
    let time = |name: &str| -> Result<Timestamp> {
        let text = result[name].as_str().with_context(|| format!("no {name} in {result}"))?;
        Ok(text.parse()?)
    };
    let lasted = time("finishedAt")?.duration_since(time("startedAt")?);
    // Kubernetes has whole seconds.
    let longest = took + Duration::from_secs(1);
    ensure!(!lasted.is_negative() && lasted.unsigned_abs() <= longest, "it lasted {lasted:#}");
    Ok(())
}

/// A job with a timeout that does not pass.
fn apart(stage: &mut Stage) -> Checked<Ran> {
    let running = stage.start(&["--timeout", "100s"], WAITS)?;
    gc_keeps_everything(stage)?;
    let ran = stage.let_go(running)?;
    same("the output", ran.text(), "begun\n")?;
    has_sane_times(&ran, stage.took().unwrap_or_default())?;
    Ok(ran)
}

fn set(stage: &mut Stage, ahead: i64) -> Checked<Ran> {
    let running = stage.start(&["--timeout", "100s"], WAITS)?;
    stage.bench.clock.as_ref().context("no clock")?.set(ahead)?;
    gc_keeps_everything(stage)?;
    let ran = stage.let_go(running)?;
    same("the output", ran.text(), "begun\n")?;
    has_sane_times(&ran, stage.took().unwrap_or_default())?;
    Ok(ran)
}

fn timeout(stage: &mut Stage) -> Checked<Ran> {
    let command = stage.command(&["--timeout", "3s"], WAITS)?;
    let ran = stage.run(command)?;
    let took = stage.took().unwrap_or_default();
    ensure!(took >= Duration::from_secs(3), "its timeout of 3 s passed within {took:?}");
    has_sane_times(&ran, took)?;
    Ok(ran)
}

/// The successor learns of the start from the server's times alone.
fn successor(stage: &mut Stage) -> Checked<Ran> {
    let begun = Instant::now();
    let running = stage.start(&["--timeout", "15s"], WAITS)?;
    running.signal(Signal::KILL)?;
    running.finish_within(Duration::from_secs(10))?;
    gc_keeps_everything(stage)?;
    let ran = stage.waited(&stage.id()?)?;
    // The job's own start comes later.
    let took = begun.elapsed();
    ensure!(took >= Duration::from_secs(15), "its timeout of 15 s passed within {took:?}");
    Ok(ran)
}

/// How much is read late: more than a kubelet rotates.
const LINES: usize = 6000;

/// The job pauses between two pieces of output, of which another command reads both: once as they
/// are, and once with what follows. Its later pauses are shorter.
fn read_late(stage: &mut Stage) -> Checked<Ran> {
    let line = "x".repeat(63);
    let ticks = "sleep 2; echo tick; ".repeat(4);
    let script = format!(
        "n=0; while [ $n -lt {LINES} ]; do n=$((n + 1)); echo {line}; done; sleep 5; echo more; \
         {ticks} {WAITS}"
    );
    let whole = format!("{}more\n{}begun\n", format!("{line}\n").repeat(LINES), "tick\n".repeat(4));
    let running = stage.spawn(stage.command(&[], &script)?)?;
    running.until_stdout("more")?;
    let id = stage.id()?;
    let logs = stage.bench.longshore()?.args(["logs", &id]).run()?;
    is_whole(&logs, &whole[..LINES * (line.len() + 1) + "more\n".len()])?;
    running.until_stdout("begun")?;
    let follower = stage.bench.longshore()?.args(["logs", "--follow", &id]).spawn()?;
    follower.until_stdout("begun")?;
    let ran = stage.let_go(running)?;
    is_whole(&follower.finish()?, &whole)?;
    ensure!(ran.text() == whole, "{} bytes of {}", ran.stdout.len(), whole.len());
    Ok(ran)
}

/// Fails unless a command has printed `whole`, perhaps with more at the end, and no warning.
fn is_whole(logs: &Ran, whole: &str) -> Checked {
    ensure!(logs.text().starts_with(whole), "{} bytes of {}", logs.stdout.len(), whole.len());
    same("what it says besides", logs.stderr.as_str(), "")
}

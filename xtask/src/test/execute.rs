//! Runs one program with a time limit.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use longshore_lab::{make_dir, say};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::interrupt::Interrupt;

/// The maximum number of bytes shown of a failed program's output.
const SHOWN: usize = 256 * 1024;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(ExitStatus),
    /// The program was killed after this time.
    TimedOut(Duration),
    /// The user asked to stop.
    Interrupted,
}

/// Runs `command` with its output in the file `log`.
pub(crate) fn run(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<Ended> {
    if let Some(folder) = log.parent() {
        make_dir(folder)?;
    }
    let out = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    let err = out.try_clone().context("failed to share the log")?;
    wait(command.stdout(out).stderr(err), limit, interrupt)
}

/// Runs `command` and its process group to the end.
pub(crate) fn wait(command: &mut Command, limit: Duration, interrupt: &Interrupt) -> Result<Ended> {
    // In its own group, so that all of it can be ended, and so that Ctrl-C reaches
    // only this program, which passes it on.
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let mut child = child.with_context(|| {
        format!("failed to start {}", Path::new(command.get_program()).display())
    })?;
    let group = Pid::from_child(&child);
    let ended = watch(&child, group, limit, interrupt);
    // Killed before the wait, so that the id still belongs to this group.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait().context("failed to wait for a process")?;
    Ok(ended?.unwrap_or(Ended::Exited(status)))
}

/// Returns why the program must be killed, or `None` if it has ended on its own.
fn watch(
    child: &Child,
    group: Pid,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<Option<Ended>> {
    let fd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())
        .context("failed to watch a process")?;
    match first(&fd, Some(interrupt), limit)? {
        First::Ended => Ok(None),
        First::TimedOut => Ok(Some(Ended::TimedOut(limit))),
        First::Interrupted => {
            // Give it time to remove what it created.
            let _ = kill_process_group(group, Signal::TERM);
            first(&fd, None, Duration::from_secs(5))?;
            Ok(Some(Ended::Interrupted))
        }
    }
}

enum First {
    Ended,
    Interrupted,
    TimedOut,
}

/// Waits for the first of these events.
fn first(process: &OwnedFd, interrupt: Option<&Interrupt>, limit: Duration) -> Result<First> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).context("the deadline is too far away")?;
        let mut fds = vec![PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
        fds.extend(interrupt.map(|it| PollFd::from_borrowed_fd(it.as_fd(), PollFlags::IN)));
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Ok(First::TimedOut),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(First::Ended),
            Ok(_) => return Ok(First::Interrupted),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("failed to wait for a process"),
        }
    }
}

/// Prints the end of a log.
pub(crate) fn show(log: &Path) {
    let Ok(text) = fs::read(log) else { return };
    let start = text.len().saturating_sub(SHOWN);
    say!("---- {}", log.display());
    say!("{}", String::from_utf8_lossy(&text[start..]).trim_end());
    say!("----");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_of_both_streams_is_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("new/log");
        let (never, _open) = Interrupt::never();
        let ended =
            run(&mut shell("echo a; echo b >&2; exit 3"), &log, Duration::from_secs(20), &never);
        assert!(matches!(ended.unwrap(), Ended::Exited(status) if status.code() == Some(3)));
        assert_eq!(fs::read_to_string(log).unwrap(), "a\nb\n");
    }

    #[test]
    fn what_takes_too_long_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let (never, _open) = Interrupt::never();
        let limit = Duration::from_millis(300);
        let begun = Instant::now();
        let ended = run(&mut shell("sleep 60 & echo $!; wait"), &log, limit, &never).unwrap();
        assert_eq!(ended, Ended::TimedOut(limit));
        assert!(begun.elapsed() < Duration::from_secs(20));
        let child = fs::read_to_string(&log).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let deadline = Instant::now() + Duration::from_secs(10);
        // The kernel takes a moment to end it; a zombie has ended.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "{stat} is still there");
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_interrupt_asks_the_program_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let (interrupt, mut writer) = Interrupt::never();
        writer.write_all(b"x").unwrap();
        let script = "trap 'echo ended; exit' TERM; while :; do sleep 0.05; done";
        let ended = run(&mut shell(script), &log, Duration::from_secs(60), &interrupt).unwrap();
        assert_eq!(ended, Ended::Interrupted);
        assert!(interrupt.happened());
    }
}

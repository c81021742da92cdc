//! Starts, stops and identifies processes.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::layout::{Lab, make_dir};

/// The variable with the lab's folder, in the environment of every process of a
/// lab and of their descendants. `env` never prints it.
const TAG: &str = "LONGSHORE_LAB_PROCESS";

/// The folders in which Debian's packages install programs. The lab ignores
/// programs that a developer put in front of them, such as a newer client.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    program: PathBuf,
    args: Vec<String>,
    path: String,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), path: PATH.to_owned() }
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Makes the program look for other programs in `dir` first.
    pub(crate) fn prefer(mut self, dir: &Path) -> Self {
        self.path = format!("{}:{}", dir.display(), self.path);
        self
    }

    /// Adds `--name=value`.
    pub(crate) fn flag(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().to_string_lossy();
        self.arg(format!("--{name}={value}"))
    }
}

/// Identifies a process. An id alone is not enough, because ids are reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub pid: u32,
    /// In clock ticks since the boot.
    pub start_time: u64,
    pub boot_id: String,
}

impl Identity {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = read_stat(pid)?;
        Ok(Self { pid, start_time: stat.start_time, boot_id: boot_id()? })
    }

    /// Returns whether the process is alive. A zombie is not.
    pub(crate) fn is_alive(&self) -> bool {
        let same =
            |stat: Stat| stat.start_time == self.start_time && !matches!(stat.state, 'Z' | 'X');
        read_stat(self.pid).is_ok_and(same) && boot_id().is_ok_and(|id| id == self.boot_id)
    }

    /// Sends `signal` and returns the process's descriptor, or `None` if it has ended.
    fn send(&self, signal: Signal) -> Result<Option<OwnedFd>> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is no process id", self.pid))?;
        let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else {
            return Ok(None);
        };
        // Checked only now: the descriptor pins the process that has the id.
        if !self.is_alive() {
            return Ok(None);
        }
        match pidfd_send_signal(&fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(Some(fd)),
            Err(error) => Err(error).with_context(|| format!("failed to signal process {pid:?}")),
        }
    }

    /// Sends `signal` and waits for the end. Returns true if the process has ended in time.
    fn signal(&self, signal: Signal, within: Duration) -> Result<bool> {
        let Some(fd) = self.send(signal)? else {
            return Ok(true);
        };
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).context("the deadline is too far away")?;
            let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("failed to wait for a process"),
            }
        }
    }

    /// Asks the process to end, and kills it if it does not end within `grace`.
    pub(crate) fn stop(&self, grace: Duration) -> Result<()> {
        if self.signal(Signal::TERM, grace)? {
            return Ok(());
        }
        self.kill()
    }

    /// Asks the process to reload its configuration.
    pub(crate) fn hang_up(&self) -> Result<()> {
        self.send(Signal::HUP).map(drop)
    }

    pub(crate) fn kill(&self) -> Result<()> {
        if !self.signal(Signal::KILL, Duration::from_secs(10))? {
            bail!("process {} did not end on SIGKILL", self.pid);
        }
        Ok(())
    }
}

/// Starts `launch` in its own session, with a clean environment and its output
/// in `log`.
pub(crate) fn spawn(lab: &Lab, launch: &Launch, log: &Path) -> Result<Identity> {
    make_dir(log.parent().unwrap_or(lab.root()))?;
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("failed to open {}", log.display()))?;
    let err = out.try_clone().context("failed to share the log")?;
    // setsid(1) creates the session and then executes the program: the id stays the same.
    let child = Command::new("setsid")
        .arg(&launch.program)
        .args(&launch.args)
        .env_clear()
        .env("PATH", &launch.path)
        .env("HOME", lab.root())
        .env(TAG, lab.root())
        .current_dir(lab.root())
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("failed to start {}", launch.program.display()))?;
    Identity::of(child.id())
}

/// Returns the live processes that the lab started, directly or indirectly.
/// Containers have their own environment and are not included.
pub(crate) fn of_lab(root: &Path) -> Vec<Identity> {
    let mut tag = format!("{TAG}=").into_bytes();
    tag.extend_from_slice(root.as_os_str().as_encoded_bytes());
    let tagged = |pid: &u32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == tag))
    };
    process_ids()
        .filter(tagged)
        .filter_map(|pid| Identity::of(pid).ok())
        .filter(Identity::is_alive)
        .collect()
}

/// Returns the lab that the process `pid` belongs to.
pub(crate) fn lab_of(pid: u32) -> Option<PathBuf> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let tag = format!("{TAG}=");
    let entry =
        environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(tag.as_bytes()))?;
    Some(PathBuf::from(String::from_utf8(entry.to_vec()).ok()?))
}

/// Returns the name of the process, for messages.
#[must_use]
pub fn command_name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}

/// Returns the ids of all processes of the machine.
pub fn process_ids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

struct Stat {
    state: char,
    start_time: u64,
}

fn read_stat(pid: u32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    parse_stat(&text).with_context(|| format!("failed to understand {path}"))
}

/// Parses a stat line. Its second field, the name, may contain spaces and parentheses; the rest
/// does not.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut rest = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = rest.next()?.chars().next()?;
    let start_time = rest.nth(18)?.parse().ok()?;
    Some(Stat { state, start_time })
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let id = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let stat = parse_stat(stat).unwrap();
        assert_eq!((stat.state, stat.start_time), ('S', 98765));
    }

    #[test]
    fn a_cut_stat_is_not_understood() {
        assert!(parse_stat("42 (a) S 1 42").is_none());
        assert!(parse_stat("").is_none());
    }

    #[test]
    fn a_started_process_is_ours_and_ends_when_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(Some(dir.path().into())).unwrap();
        let launch = Launch::new("sleep").arg("60");
        let identity = spawn(&lab, &launch, &lab.log("sleep")).unwrap();
        assert!(identity.is_alive());
        // Until it executes its program, and while it does so, it has another environment or none.
        while of_lab(lab.root()) != std::slice::from_ref(&identity) {
            std::thread::yield_now();
        }
        identity.stop(Duration::from_secs(5)).unwrap();
        assert!(!identity.is_alive());
        assert!(of_lab(lab.root()).is_empty());
    }
}

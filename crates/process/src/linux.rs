//! Linux-specific parts: pidfd, /proc, subreapers.
//!
//! A pid alone does not identify a process, since pids are reused. A process to be signalled is
//! first opened as a pidfd and then compared with what is known about it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The variable that identifies the processes of an attempt when its supervisor is dead.
pub(crate) const ATTEMPT_VARIABLE: &str = "LONGSHORE_ATTEMPT";

/// The name under which the program is started as a supervisor.
pub(crate) const SUPERVISOR: &str = "longshore-supervisor";

/// How often to look for processes that were forked while the others were stopped.
const STOP_ROUNDS: usize = 10;

/// The unit of times in `/proc`, in nanoseconds: `USER_HZ` is 100.
const TICK_NANOS: i64 = 10_000_000;

/// A process, distinguished from every other process that had or will have its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessIdentity {
    pid: i32,
    /// Clock ticks between boot and its start: field 22 of `/proc/PID/stat` (proc_pid_stat(5)), as it is
    /// outside of time namespaces.
    start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    boot_id: String,
    /// The PID namespace in which `pid` is valid.
    pid_namespace: String,
}

/// The state of a process.
#[derive(Debug)]
pub(crate) enum Liveness {
    /// It is alive. Readable once it is dead.
    Alive(OwnedFd),
    Dead,
    /// It is in another PID namespace, so its state cannot be determined from here.
    Unknown,
}

impl ProcessIdentity {
    /// Returns the identity of the calling process.
    pub(crate) fn own() -> io::Result<Self> {
        let pid = rustix::process::getpid();
        let start_time = Stat::read(pid)?.start_time;
        let pid = pid.as_raw_nonzero().get();
        Ok(Self {
            pid,
            start_time,
            boot_id: boot_id()?.to_owned(),
            pid_namespace: pid_namespace()?.to_owned(),
        })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(pid: i32) -> Self {
        Self { pid, start_time: 1, boot_id: "boot".into(), pid_namespace: "pid:[1]".into() }
    }

    #[cfg(test)]
    pub(crate) fn in_another_namespace(self) -> Self {
        Self { pid_namespace: "pid:[0]".into(), ..self }
    }

    pub(crate) const fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) const fn start_time(&self) -> u64 {
        self.start_time
    }

    /// Opens the process if it is still alive.
    pub(crate) fn open(&self) -> io::Result<Liveness> {
        if self.boot_id != boot_id()? {
            return Ok(Liveness::Dead);
        }
        if self.pid_namespace != pid_namespace()? {
            return Ok(Liveness::Unknown);
        }
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(Liveness::Dead) };
        Ok(match open(pid, self.start_time)? {
            Some(pidfd) => Liveness::Alive(pidfd),
            None => Liveness::Dead,
        })
    }

    /// Whether the process is stopped (`SIGSTOP`).
    pub(crate) fn is_stopped(&self) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        let stat = gone_is_none(Stat::read(pid))?;
        let is_it = |stat: &Stat| stat.start_time == self.start_time;
        Ok(stat.filter(is_it).is_some_and(|stat| stat.state == b'T'))
    }

    /// Kills the process.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self.open()? {
            Liveness::Alive(pidfd) => ignore_gone(pidfd_send_signal(&pidfd, Signal::KILL)),
            Liveness::Dead | Liveness::Unknown => Ok(()),
        }
    }

    /// Asks the process to check for requests: `SIGUSR1`.
    pub(crate) fn nudge(&self) -> io::Result<()> {
        match self.open()? {
            Liveness::Alive(pidfd) => nudge(&pidfd),
            Liveness::Dead => Ok(()),
            Liveness::Unknown => Err(elsewhere()),
        }
    }
}

/// Returns the error of a request to a process in another PID namespace.
pub(crate) fn elsewhere() -> io::Error {
    io::Error::other(
        "its supervisor is in another PID namespace, and no signal from here reaches it",
    )
}

/// Asks the supervisor behind `pidfd` to check for requests, and continues it if it is stopped.
fn nudge(pidfd: impl AsFd) -> io::Result<()> {
    ignore_gone(pidfd_send_signal(&pidfd, Signal::USR1))?;
    ignore_gone(pidfd_send_signal(&pidfd, Signal::CONT))
}

/// Opens the process `pid` if it is the one that started at `start_time` and is not a zombie.
fn open(pid: Pid, start_time: u64) -> io::Result<Option<OwnedFd>> {
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        // The number is that of no process; `INVAL` and `NOENT`: it is that of a thread, or of a process
        // that has just been reaped (which of the two depends on the kernel).
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Read after the pidfd is open, so that the content applies to the process behind the pidfd.
    let stat = gone_is_none(Stat::read(pid))?;
    Ok(stat.filter(|stat| stat.start_time == start_time && !stat.is_dead()).map(|_| pidfd))
}

/// Returns `None` if a file of `/proc/PID` could not be read because the process is gone: `ENOENT`
/// from opening the file, `ESRCH` from reading it. Any other failure, such as a lack of descriptors
/// or of memory, says nothing about the process.
pub(crate) fn gone_is_none<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    none_if(&[Errno::NOENT, Errno::SRCH], read)
}

/// Returns `None` if `read` failed with one of `errors`.
pub(crate) fn none_if<T>(errors: &[Errno], read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) if Errno::from_io_error(&error).is_some_and(|it| errors.contains(&it)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Registers `fd` with the runtime, which reports when it becomes readable.
pub(crate) fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch(fd, Interest::READABLE)
}

/// Registers `fd` with the runtime, which reports when it becomes ready for `interest`.
#[expect(unsafe_code, reason = "tokio has no safe way for a descriptor that is plainly owned")]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` returns the same open descriptor for its whole life. `AsyncFd` owns it
    // from here on, and closes it only after it is deregistered.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(|error| error.into_parts().1)
}

fn ignore_gone(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn boot_id() -> io::Result<&'static str> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    read_once(&KNOWN, || fs::read_to_string("/proc/sys/kernel/random/boot_id"))
}

fn pid_namespace() -> io::Result<&'static str> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    read_once(&KNOWN, || Ok(fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned()))
}

/// Returns a value that never changes during the life of a process. Reads it on first use.
fn read_once(
    known: &'static OnceLock<String>,
    read: impl FnOnce() -> io::Result<String>,
) -> io::Result<&'static str> {
    if let Some(text) = known.get() {
        return Ok(text);
    }
    let text = read()?.trim_end().to_owned();
    Ok(known.get_or_init(|| text))
}

/// Returns by how many clock ticks the time since boot is later for this process than outside of time
/// namespaces (time_namespaces(7)). The start times that it reads differ by as much.
fn boottime_offset() -> i64 {
    static KNOWN: OnceLock<i64> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        // A kernel without time namespaces has no such file.
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        boottime_offset_in(&offsets).unwrap_or(0)
    })
}

fn boottime_offset_in(offsets: &str) -> Option<i64> {
    let mut fields =
        offsets.lines().find_map(|line| line.strip_prefix("boottime"))?.split_whitespace();
    let seconds: i64 = fields.next()?.parse().ok()?;
    let nanos: i64 = fields.next()?.parse().ok()?;
    seconds.checked_mul(1_000_000_000 / TICK_NANOS)?.checked_add(nanos / TICK_NANOS)
}

/// Some fields of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    state: u8,
    parent: i32,
    group: i32,
    pub(crate) session: i32,
    threads: u32,
    pub(crate) start_time: u64,
}

impl Stat {
    fn read(pid: Pid) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat");
        let stat = Self::parse(&text).ok_or_else(unreadable)?;
        let start_time = stat.start_time.saturating_add_signed(-boottime_offset());
        Ok(Self { start_time, ..stat })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name in parentheses may contain anything, including spaces and parentheses.
        let after_name = &text[text.iter().rposition(|b| *b == b')')? + 1..];
        let mut fields = std::str::from_utf8(after_name).ok()?.split_ascii_whitespace();
        Some(Self {
            state: *fields.next()?.as_bytes().first()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            // Field 20; four fields from field 3 on were read.
            threads: fields.nth(13)?.parse().ok()?,
            // Field 22.
            start_time: fields.nth(1)?.parse().ok()?,
        })
    }

    /// Whether the process has ended. The state is that of its first thread, which may have ended before
    /// the others.
    const fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// Every visible process except zombies.
pub(crate) struct ProcessTable(pub(crate) HashMap<i32, Stat>);

impl ProcessTable {
    pub(crate) fn read() -> io::Result<Self> {
        let mut seen = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(pid) = pid else { continue };
            let stat = match Stat::read(pid) {
                // A process of another user, where /proc is mounted with `hidepid=1`: proc(5).
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
                stat => gone_is_none(stat)?,
            };
            // A process that ended meanwhile does not have to be signalled.
            if let Some(stat) = stat
                && !stat.is_dead()
            {
                seen.insert(pid.as_raw_nonzero().get(), stat);
            }
        }
        Ok(Self(seen))
    }

    /// Returns all descendants of `root`, without `root` itself.
    fn descendants(&self, root: i32) -> Vec<i32> {
        self.closure(HashSet::from([root])).into_iter().filter(|pid| *pid != root).collect()
    }

    /// Returns `members` and all their descendants.
    pub(crate) fn closure(&self, mut members: HashSet<i32>) -> HashSet<i32> {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, stat) in &self.0 {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let mut open: Vec<i32> = members.iter().copied().collect();
        while let Some(parent) = open.pop() {
            for child in children.get(&parent).into_iter().flatten() {
                if members.insert(*child) {
                    open.push(*child);
                }
            }
        }
        members
    }

    pub(crate) fn signal(
        &self,
        pids: impl IntoIterator<Item = i32>,
        signal: Signal,
    ) -> io::Result<()> {
        let mut result = Ok(());
        for pid in pids {
            let Some((id, stat)) = Pid::from_raw(pid).zip(self.0.get(&pid)) else { continue };
            if let Some(pidfd) = open(id, stat.start_time)? {
                // The others are signalled even if this process refuses the signal.
                result = result.and(ignore_gone(pidfd_send_signal(pidfd.as_fd(), signal)));
                if signal == Signal::TERM {
                    // A stopped process receives TERM only when it continues.
                    let _ = pidfd_send_signal(pidfd.as_fd(), Signal::CONT);
                }
            }
        }
        result
    }
}

/// Kills every descendant of the calling process.
pub(crate) fn kill_descendants() -> io::Result<()> {
    let table = ProcessTable::read()?;
    table.signal(table.descendants(own_pid()), Signal::KILL)
}

/// Sends TERM to every descendant of the calling process. They are stopped first: a process that is
/// forked while its parent is being signalled would be missed, and what a process forks because of TERM,
/// to clean up, is not meant.
pub(crate) fn terminate_descendants() -> io::Result<()> {
    let mut stopped = HashSet::new();
    for _ in 0..STOP_ROUNDS {
        let table = ProcessTable::read()?;
        let all = table.descendants(own_pid());
        let new: Vec<i32> = all.iter().copied().filter(|pid| stopped.insert(*pid)).collect();
        if new.is_empty() {
            return table.signal(all, Signal::TERM);
        }
        // One that this process may not stop gets TERM all the same.
        let _ = table.signal(new, Signal::STOP);
    }
    let table = ProcessTable::read()?;
    table.signal(table.descendants(own_pid()), Signal::TERM)
}

/// Returns the descendants of the calling process.
pub(crate) fn descendants() -> io::Result<Vec<i32>> {
    Ok(ProcessTable::read()?.descendants(own_pid()))
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Returns the supervisor that has files in `directory` open, and so has its attempt.
pub(crate) fn find_supervisor(directory: &Path) -> io::Result<Option<ProcessIdentity>> {
    // As the kernel names the files.
    let Some(directory) = gone_is_none(fs::canonicalize(directory))? else { return Ok(None) };
    for (pid, stat) in ProcessTable::read()?.0 {
        if is_supervisor(pid)? && has_open(pid, &directory)? {
            let (boot_id, pid_namespace) = (boot_id()?.to_owned(), pid_namespace()?.to_owned());
            let start_time = stat.start_time;
            return Ok(Some(ProcessIdentity { pid, start_time, boot_id, pid_namespace }));
        }
    }
    Ok(None)
}

fn is_supervisor(pid: i32) -> io::Result<bool> {
    let line = gone_is_none(fs::read(format!("/proc/{pid}/cmdline")))?.unwrap_or_default();
    Ok(line.split(|b| *b == 0).next() == Some(SUPERVISOR.as_bytes()))
}

/// Whether the process `pid` is this one, a supervisor, or a descendant of either.
pub(crate) fn is_of_longshore(mut pid: i32) -> io::Result<bool> {
    let own = own_pid();
    while let Some(id) = Pid::from_raw(pid) {
        if pid == own || is_supervisor(pid)? {
            return Ok(true);
        }
        let Some(stat) = gone_is_none(Stat::read(id))? else { break };
        pid = stat.parent;
    }
    Ok(false)
}

/// Whether the process `pid` has a file in `directory` open.
fn has_open(pid: i32, directory: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        // A process of another user.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        entries => gone_is_none(entries)?,
    };
    for entry in entries.into_iter().flatten() {
        let target = gone_is_none(entry.and_then(|entry| fs::read_link(entry.path())))?;
        if target.is_some_and(|path| path.starts_with(directory)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let line = b"12 (a) b (c) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 4711 10000 1";
        let stat =
            Stat { state: b'S', parent: 7, group: 8, session: 9, threads: 3, start_time: 4711 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse(b"12 (a"), None);
    }

    #[test]
    fn start_times_in_a_time_namespace_are_those_outside() {
        let text = "monotonic           3         0\nboottime       -20000 500000000\n";
        assert_eq!(boottime_offset_in(text), Some(-1_999_950));
        assert_eq!(boottime_offset_in(""), None);
    }

    #[test]
    fn this_process_is_alive_and_one_of_another_boot_or_start_is_dead() {
        let own = ProcessIdentity::own().unwrap();
        assert!(matches!(own.open().unwrap(), Liveness::Alive(_)));
        let other_start = ProcessIdentity { start_time: own.start_time + 1, ..own.clone() };
        assert!(matches!(other_start.open().unwrap(), Liveness::Dead));
        let other_boot = ProcessIdentity { boot_id: "x".into(), ..own.clone() };
        assert!(matches!(other_boot.open().unwrap(), Liveness::Dead));
        assert!(matches!(own.in_another_namespace().open().unwrap(), Liveness::Unknown));
    }

    #[test]
    fn a_supervisor_whose_number_a_thread_has_now_is_dead() {
        let (say, hear) = std::sync::mpsc::channel();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            say.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = wait.recv();
        });
        let own = ProcessIdentity { pid: hear.recv().unwrap(), ..ProcessIdentity::own().unwrap() };
        let state = own.open();
        drop(go);
        thread.join().unwrap();
        assert!(matches!(state, Ok(Liveness::Dead)), "{state:?}");
    }

    #[test]
    fn descendants_are_found_over_several_generations() {
        let stat =
            |parent| Stat { state: b'S', parent, group: 1, session: 1, threads: 1, start_time: 1 };
        let processes = [(2, stat(1)), (3, stat(2)), (4, stat(3)), (5, stat(1))];
        let table = ProcessTable(processes.into_iter().collect());
        let mut found = table.descendants(2);
        found.sort_unstable();
        assert_eq!(found, [3, 4]);
    }
}

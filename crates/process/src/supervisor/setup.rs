//! How a process becomes a supervisor.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

use super::serve::serve;

/// The name under which the program is started to be a supervisor.
pub(crate) const ARGV0: &str = "longshore-supervisor";

/// The name under which the program is started to go on apart from who started it.
const APART: &str = "longshore-apart";

/// The program itself, also when its file was replaced meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Whether `init` was called, so that this program may be started again as a supervisor.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Makes this program able to be its own supervisor. To be called first thing in `main`, before
/// any thread is started.
///
/// The process backend starts the running program again, as `longshore-supervisor`, to keep its
/// jobs; so that one file is all there is to install. In such a process this function does not
/// return. In every other it returns at once. A program that does not call it gets `Unavailable`
/// from the runner's `probe` and `launch`.
pub fn init() {
    match std::env::args_os().next() {
        // Nobody reads what a supervisor would print; the runner sees that it is gone.
        Some(name) if name == ARGV0 => {
            std::process::exit(i32::from(become_supervisor().is_err()));
        }
        // Who started it sees that it is gone.
        Some(name) if name == APART && go_apart().is_err() => std::process::exit(1),
        _ => {}
    }
    INITIALISED.store(true, Ordering::Relaxed);
}

/// A command that starts this very program again, to outlive this process: in a session of its
/// own, so that no terminal's hangup or Ctrl-C reaches it, and with no descriptor open but its
/// standard streams. Arguments, environment and streams are the caller's to set.
///
/// The program must call [`init`] first thing in `main`, which sees to all that.
#[must_use]
pub fn command_apart() -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg0(APART);
    command
}

fn go_apart() -> io::Result<()> {
    close_inherited(None)?;
    rustix::process::setsid()?;
    // So it is shown by ps, which would say "exe".
    Ok(rustix::thread::set_name(c"longshore")?)
}

pub(crate) fn is_initialised() -> bool {
    INITIALISED.load(Ordering::Relaxed)
}

fn become_supervisor() -> io::Result<()> {
    // The runner gave us our end of the connection as standard input.
    let connection = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?);
    close_inherited(Some(&connection))?;
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // So it is shown by ps, which would say "exe".
    rustix::thread::set_name(c"longshore-super")?;
    serve(connection, &take_signals()?)
}

/// Closes every descriptor from 3 on but `kept`: what our parent's own parent had left open (a
/// lock, the end of a pipe) must not live as long as the job.
#[expect(
    unsafe_code,
    reason = "descriptors nobody in this process owns can be closed no other way"
)]
fn close_inherited(kept: Option<&UnixStream>) -> io::Result<()> {
    let kept = kept.map(UnixStream::as_raw_fd);
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && Some(*fd) != kept)
        .collect();
    for fd in open {
        // The one by which the directory was read is closed already.
        if !std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists() {
            continue;
        }
        // SAFETY: this runs first in `main`, with no other thread, and no value in this process
        // but `kept` (left out above) and the standard streams (below 3) owns a descriptor: each
        // of these was inherited over exec and is owned by nobody. None is used after.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    Ok(())
}

/// What wakes the supervisor while a job runs.
pub(super) struct Wake {
    /// Readable after a child has ended or a request was left.
    pub(super) readable: UnixStream,
    /// Set when a request was left.
    asked: Arc<AtomicBool>,
}

impl Wake {
    /// Takes what woke us. True if a request was left.
    pub(super) fn take(&self) -> bool {
        let mut bytes = [0; 64];
        while (&self.readable).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        self.asked.swap(false, Ordering::Relaxed)
    }
}

/// Sets what signals do here, and so in the job: what has a handler is reset to its default by
/// exec (execve(2)); what is ignored would stay so, such as `SIGHUP` under nohup.
fn take_signals() -> io::Result<Wake> {
    // The mask is inherited over exec too.
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    let (readable, write) = UnixStream::pair()?;
    readable.set_nonblocking(true)?;
    let asked = Arc::new(AtomicBool::new(false));
    // Before the one that wakes: they are run in this order.
    signal_hook::flag::register(SIGUSR1, Arc::clone(&asked))?;
    for signal in [SIGCHLD, SIGUSR1] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    // A supervisor ends when its job has: what is sent to all processes at shutdown reaches the
    // job itself.
    let nothing = Arc::new(AtomicBool::new(false));
    let mut handled = vec![SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    handled.extend(ignored_signals()?);
    for signal in handled {
        signal_hook::flag::register(signal, Arc::clone(&nothing))?;
    }
    Ok(Wake { readable, asked })
}

/// The signals that this process ignores, but for those set above and `SIGPIPE`, which the
/// standard library resets in what it starts.
fn ignored_signals() -> io::Result<Vec<i32>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let known = [SIGCHLD, SIGUSR1, SIGHUP, SIGINT, SIGQUIT, SIGTERM, signal_hook::consts::SIGPIPE];
    let is_ignored = |signal: &i32| mask >> (signal - 1) & 1 == 1 && !known.contains(signal);
    // From 32 on are the C library's own and the real-time signals, of default action or not ours.
    let catchable = |signal: &i32| !signal_hook::consts::FORBIDDEN.contains(signal);
    Ok((1..32).filter(is_ignored).filter(catchable).collect())
}

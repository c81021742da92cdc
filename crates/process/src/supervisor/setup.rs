//! Turns a process into a supervisor.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fork::fork_each;
use super::serve::serve;
use super::wake::take_signals;
use crate::limits::raise_limits;
use crate::linux::SUPERVISOR;
use crate::wire::GREETING;

/// The name under which the program is started to run independently of its parent.
const APART: &str = "longshore-apart";

/// The argument with which a supervisor only forks other supervisors.
pub(crate) const FORK_SERVER: &str = "forked";

/// The program itself, even if its file was replaced meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Whether `init` was called, so that this program may be started again as a supervisor.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Enables this program to be its own supervisor. Call it at the start of `main`, before any thread
/// is started.
///
/// To supervise its jobs, the process backend starts the running program again as
/// `longshore-supervisor`. So only one file must be installed. In such a process, this function
/// does not return. In every other process, it returns at once. In a program that does not call it,
/// the runner's `probe` and `launch` return `Unavailable`.
pub fn init() {
    match std::env::args_os().next() {
        // The runner reads the message if it has not been greeted.
        Some(name) if name == SUPERVISOR => {
            let ended = become_supervisor();
            if let Err(error) = &ended {
                let _ = writeln!(io::stderr(), "failed to be a supervisor: {error}");
            }
            std::process::exit(i32::from(ended.is_err()));
        }
        // The parent notices that the process is gone.
        Some(name) if name == APART && go_apart().is_err() => std::process::exit(1),
        _ => {}
    }
    INITIALISED.store(true, Ordering::Relaxed);
}

/// Returns a command that starts this program again, to outlive this process. It runs in its own
/// session, so that no terminal hangup or Ctrl-C reaches it, and with no open descriptors except
/// its standard streams. The caller sets arguments, environment and streams.
///
/// The program must call [`init`] at the start of `main`, which sets this up.
#[must_use]
pub fn command_apart() -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg0(APART);
    command
}

fn go_apart() -> io::Result<()> {
    close_inherited(None)?;
    rustix::process::setsid()?;
    // The name that ps shows; otherwise ps shows "exe".
    Ok(rustix::thread::set_name(c"longshore")?)
}

pub(crate) fn is_initialised() -> bool {
    INITIALISED.load(Ordering::Relaxed)
}

fn become_supervisor() -> io::Result<()> {
    let connection = take_over()?;
    if std::env::args_os().nth(1).is_none_or(|mode| mode != FORK_SERVER) {
        return supervise(connection);
    }
    rustix::process::setsid()?;
    greet(&connection)?;
    // In a supervisor that was forked.
    if let Some(connection) = fork_each(connection)? {
        supervise(connection)?;
    }
    Ok(())
}

/// Gives this process the limits, descriptors and name of a supervisor. Returns its connection.
///
/// It is a function of its own, as are those below, so that its part of the stack is free again.
#[inline(never)]
fn take_over() -> io::Result<UnixStream> {
    raise_limits();
    // The runner passed our end of the connection as standard input.
    let stdin = rustix::stdio::stdin();
    let connection = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(stdin, 3)?);
    close_inherited(Some(&connection))?;
    // The name that ps shows; otherwise ps shows "exe".
    rustix::thread::set_name(c"longshore-super")?;
    Ok(connection)
}

/// Serves requests as the leader of a session of its own.
fn supervise(connection: UnixStream) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let wake = take_signals()?;
    greet(&connection)?;
    serve(connection, &wake)
}

/// Tells the runner that this process is a supervisor, and which one.
#[inline(never)]
fn greet(mut connection: &UnixStream) -> io::Result<()> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    connection.write_all(&[GREETING, &pid.to_le_bytes()].concat())?;
    // From here on, nothing but answers may reach the runner.
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Closes every descriptor from 3 on except `kept`. Descriptors that our parent's own parent left
/// open (a lock, the end of a pipe) must not live as long as the job.
#[expect(
    unsafe_code,
    reason = "descriptors that have no owner in this process can be closed in no other way"
)]
fn close_inherited(kept: Option<&UnixStream>) -> io::Result<()> {
    let kept = kept.map(UnixStream::as_raw_fd);
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && Some(*fd) != kept)
        .collect();
    for fd in open {
        // The descriptor by which the directory was read is already closed.
        if !std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists() {
            continue;
        }
        // SAFETY: this runs at the start of `main`, with no other thread. Only `kept` (excluded
        // above) and the standard streams (below 3) are owned by a value in this process. Each of
        // these descriptors was inherited over exec and has no owner. None is used afterwards.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    Ok(())
}

//! The signals of a supervisor, and how they wake it.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

/// Wakes the supervisor while a job runs.
pub(super) struct Wake {
    /// Readable after a child has ended or a request was stored.
    pub(super) readable: UnixStream,
    /// Set when a request was stored.
    asked: Arc<AtomicBool>,
}

impl Wake {
    /// Consumes the wake-up. Returns whether a request was stored.
    pub(super) fn take(&self) -> bool {
        let mut bytes = [0; 64];
        while (&self.readable).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        self.asked.swap(false, Ordering::Relaxed)
    }
}

/// Sets the signal actions of this process, and thus of the job: exec resets a handled signal to
/// its default (execve(2)). An ignored signal would stay ignored, such as `SIGHUP` under nohup.
#[inline(never)]
pub(super) fn take_signals() -> io::Result<Wake> {
    // The mask is inherited over exec too.
    nix::sys::signal::SigSet::empty().thread_set_mask()?;
    let (readable, write) = UnixStream::pair()?;
    readable.set_nonblocking(true)?;
    let asked = Arc::new(AtomicBool::new(false));
    // Registered before the pipe that wakes: handlers run in this order.
    signal_hook::flag::register(SIGUSR1, Arc::clone(&asked))?;
    for signal in [SIGCHLD, SIGUSR1] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    // A supervisor ends when its job has ended. Signals sent to all processes at shutdown reach the
    // job itself.
    let nothing = Arc::new(AtomicBool::new(false));
    let mut handled = vec![SIGHUP, SIGINT, SIGQUIT, SIGTERM];
    handled.extend(ignored_signals()?);
    for signal in handled {
        signal_hook::flag::register(signal, Arc::clone(&nothing))?;
    }
    Ok(Wake { readable, asked })
}

/// Returns the signals that this process ignores, except those set above and `SIGPIPE`, which the
/// standard library resets in the processes it starts.
fn ignored_signals() -> io::Result<Vec<i32>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    let known = [SIGCHLD, SIGUSR1, SIGHUP, SIGINT, SIGQUIT, SIGTERM, signal_hook::consts::SIGPIPE];
    let is_ignored = |signal: &i32| mask >> (signal - 1) & 1 == 1 && !known.contains(signal);
    // Signals from 32 on are the C library's own and the real-time signals, which have the default
    // action or are not ours.
    let catchable = |signal: &i32| !signal_hook::consts::FORBIDDEN.contains(signal);
    Ok((1..32).filter(is_ignored).filter(catchable).collect())
}

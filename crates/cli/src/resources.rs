//! What the command needs from the system before it does anything. The libraries in use panic if
//! the first thread or descriptor is missing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Barrier};
use std::thread;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, getrlimit};

use crate::error::CliError;

/// As many threads as the command has at once: those of the journal and of the runtime.
const THREADS: usize = 4;
/// As many descriptors as the command has at once for a local job, with some to spare.
const DESCRIPTORS: usize = 40;

/// Checks that the system has enough threads and descriptors for the command.
///
/// # Errors
/// If it has not; the message names the limit.
pub fn check() -> Result<(), CliError> {
    let lacks = |what: &str, least: usize, option: &str, error: &io::Error| {
        CliError::failed(format!(
            "failed to get {least} {what}, which the command needs: {error}; raise the limit \
             (ulimit {option})"
        ))
    };
    open(DESCRIPTORS).map_err(|error| lacks("file descriptors", DESCRIPTORS, "-n", &error))?;
    // Without the first one, the runtime panics. Without one of the others, a step fails.
    let count = if has_plenty_of_threads() { 1 } else { THREADS };
    start(count).map_err(|error| lacks("threads", count, "-u, or -v", &error))
}

/// Whether the user's limit on threads is far above the number of those that exist.
fn has_plenty_of_threads() -> bool {
    let Some(limit) = getrlimit(Resource::Nproc).current else { return true };
    // The fourth field is `RUNNING/ALL`, with the threads of all users: proc_loadavg(5).
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let all = load.split(['/', ' ']).nth(4).and_then(|all| all.parse::<u64>().ok());
    all.and_then(|all| all.checked_add(THREADS as u64)).is_some_and(|all| all < limit / 2)
}

/// Checks that `count` descriptors can be opened. Opens them only if it could fail.
fn open(count: usize) -> io::Result<()> {
    // The lowest number that is free. No file is opened, so no other reason can make it fail.
    let first = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0)?.as_raw_fd();
    let last = u64::try_from(first).ok().and_then(|first| first.checked_add(count as u64));
    let limit = getrlimit(Resource::Nofile).current;
    if limit.is_none_or(|limit| last.is_some_and(|last| last.saturating_mul(2) <= limit)) {
        return Ok(());
    }
    let opened: Result<Vec<OwnedFd>, Errno> =
        (0..count).map(|_| fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0)).collect();
    Ok(opened.map(drop)?)
}

/// Starts `count` threads that exist at the same time, and waits for their end.
fn start(count: usize) -> io::Result<()> {
    let mut started = Vec::with_capacity(count);
    let all = Arc::new(Barrier::new(count));
    let mut result = Ok(());
    for _ in 0..count {
        let all = Arc::clone(&all);
        match thread::Builder::new().spawn(move || all.wait()) {
            Ok(thread) => started.push(thread),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    if result.is_ok() {
        for thread in started {
            let _ = thread.join();
        }
    }
    // Otherwise, those that were started wait for the end of this process.
    result
}

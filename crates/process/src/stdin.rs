//! Opens the stdin of a job: the write end of a pipe that its supervisor holds.
//!
//! The supervisor marks it by a file `stdin.FD` in the attempt's directory. The process that removes
//! that file is the one that gives the job its stdin. It opens the pipe as `/proc/PID/fd/FD`, which
//! works from any process of the same user, and wakes the supervisor, which then closes its own end.
//! A named pipe would not do: a job that opens `/dev/stdin` would wait for a writer at its end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

use longshore_core::{Error, ErrorKind, JobStdin, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::net::unix::pipe::Sender;

use crate::linux::{Liveness, ProcessIdentity};
use crate::location::Location;
use crate::store::missing_is_none;

const PREFIX: &str = "stdin.";

impl Location {
    /// Returns the path of the file that marks the descriptor `fd` of the supervisor as the write
    /// end of the job's stdin.
    pub(crate) fn stdin_mark(&self, fd: RawFd) -> PathBuf {
        self.directory().join(format!("{PREFIX}{fd}"))
    }

    fn find_stdin_mark(&self) -> io::Result<Option<RawFd>> {
        let Some(entries) = missing_is_none(fs::read_dir(self.directory()))? else {
            return Ok(None);
        };
        for entry in entries {
            let name = entry?.file_name();
            let fd = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if let Some(fd) = fd.and_then(|fd| fd.parse().ok()) {
                return Ok(Some(fd));
            }
        }
        Ok(None)
    }
}

/// What was found of a job's stdin.
#[derive(Debug)]
pub(crate) enum Found {
    /// This process gives it.
    Pipe(File),
    /// Nothing reads from it any more.
    Closed,
    /// The job has none, or another process gives it.
    Taken,
}

/// Opens the stdin of the job at `location`.
pub(crate) fn open(location: &Location) -> io::Result<Found> {
    let record = location.read_record()?.filter(|record| record.ended.is_none());
    let Some(starting) = record.and_then(|record| record.starting) else {
        return Ok(Found::Closed);
    };
    let supervisor = starting.supervisor;
    if !is_alive(&supervisor)? {
        return Ok(Found::Closed);
    }
    let Some(fd) = location.find_stdin_mark()? else { return Ok(Found::Taken) };
    let pipe = open_pipe(&format!("/proc/{}/fd/{fd}", supervisor.pid()))?;
    // Otherwise, another process may have had the pid when the pipe was opened.
    if !is_alive(&supervisor)? {
        return Ok(Found::Closed);
    }
    if missing_is_none(fs::remove_file(location.stdin_mark(fd)))?.is_none() {
        return Ok(Found::Taken);
    }
    supervisor.nudge()?;
    Ok(pipe.map_or(Found::Closed, Found::Pipe))
}

fn is_alive(supervisor: &ProcessIdentity) -> io::Result<bool> {
    match supervisor.open()? {
        Liveness::Alive(_) => Ok(true),
        Liveness::Dead => Ok(false),
        Liveness::Unknown => {
            Err(io::Error::other("the supervisor is in another PID namespace than this process"))
        }
    }
}

/// Opens the pipe at `path` for writing. Returns `None` if no process has it open for reading.
fn open_pipe(path: &str) -> io::Result<Option<File>> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Ok(file) if file.metadata()?.file_type().is_fifo() => Ok(Some(file)),
        // The job has ended, and the supervisor has used the descriptor for something else.
        Ok(_) => Ok(None),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NXIO | Errno::NOENT) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Returns what was found as a stdin to write to. Must be called in a runtime.
pub(crate) fn writer(found: Found) -> Result<JobStdin> {
    let sender = match found {
        Found::Pipe(file) => Sender::from_file(file),
        // Without its other end, a pipe refuses what is written.
        Found::Closed => tokio::net::unix::pipe::pipe().map(|(sender, _)| sender),
        Found::Taken => {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the job has no stdin, or another process has opened it",
            ));
        }
    };
    match sender {
        Ok(sender) => Ok(Box::new(sender)),
        Err(error) => {
            Err(Error::new(ErrorKind::Unavailable, "failed to open the job's stdin")
                .caused_by(error))
        }
    }
}

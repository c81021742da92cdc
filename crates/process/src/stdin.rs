//! Opens the stdin of a job: the write end of a pipe that its supervisor holds.
//!
//! The supervisor marks it by a file `stdin.FD` in the attempt's directory. The process that removes
//! that file is the one that gives the job its stdin. It opens the pipe as `/proc/PID/fd/FD`, which
//! works from any process of the same user, and wakes the supervisor, which then closes its own end.
//! At the end of the job, the supervisor renames a file that no process has removed to
//! `stdin.closed`. The end of the job is thus never mistaken for another process.
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

const CLOSED: &str = "stdin.closed";

impl Location {
    /// Returns the path of the file that marks the descriptor `fd` of the supervisor as the write
    /// end of the job's stdin.
    pub(crate) fn stdin_mark(&self, fd: RawFd) -> PathBuf {
        self.directory().join(format!("{PREFIX}{fd}"))
    }

    /// Returns the path of the file that says that the job ended before a process opened its stdin.
    pub(crate) fn stdin_closed(&self) -> PathBuf {
        self.directory().join(CLOSED)
    }

    /// Returns what a job's stdin is if no file marks its descriptor.
    fn unmarked_stdin(&self) -> io::Result<Found> {
        Ok(if self.stdin_closed().try_exists()? { Found::Closed } else { Found::Taken })
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
    let Some(fd) = location.find_stdin_mark()? else { return location.unmarked_stdin() };
    let pipe = match open_pipe(&format!("/proc/{}/fd/{fd}", supervisor.pid())) {
        // The job has ended, and the supervisor has used the descriptor for something else.
        Err(_) if !location.stdin_mark(fd).try_exists()? => return location.unmarked_stdin(),
        opened => opened?,
    };
    // Otherwise, another process may have had the pid when the pipe was opened.
    if !is_alive(&supervisor)? {
        return Ok(Found::Closed);
    }
    if missing_is_none(fs::remove_file(location.stdin_mark(fd)))?.is_none() {
        return location.unmarked_stdin();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Entry, Starting};
    use crate::supervisor::Input;

    /// Returns a running job, whose supervisor is this process.
    fn running(state: &tempfile::TempDir) -> Location {
        let location = Location::new(state.path(), &"job-1".parse().unwrap());
        fs::create_dir_all(crate::location::attempts(state.path())).unwrap();
        let starting = Starting::for_tests(ProcessIdentity::own().unwrap());
        location.commit(&Entry::Starting(starting), false).unwrap().unwrap();
        location
    }

    #[test]
    fn the_end_of_the_job_is_not_mistaken_for_another_process() {
        let state = tempfile::tempdir().unwrap();
        let location = running(&state);
        // The supervisor closes the stdin before a reader of the record can see the end.
        drop(Input::create(&location).unwrap());
        assert!(matches!(open(&location).unwrap(), Found::Closed));
    }

    #[test]
    fn a_stdin_that_another_process_has_opened_stays_taken_at_the_end_of_the_job() {
        let state = tempfile::tempdir().unwrap();
        let location = running(&state);
        let input = Input::create(&location).unwrap();
        let fd = location.find_stdin_mark().unwrap().unwrap();
        fs::remove_file(location.stdin_mark(fd)).unwrap();
        assert!(matches!(open(&location).unwrap(), Found::Taken));
        drop(input);
        assert!(matches!(open(&location).unwrap(), Found::Taken));
    }
}

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

/// The beginning of the name of a file as above, about a job with a terminal. It stays until the end of
/// the job: any number of processes may open the pipe.
const TERMINAL: &str = "terminal.";

impl Location {
    /// Returns the path of the file that marks the descriptor `fd` of the supervisor as the write
    /// end of the job's stdin.
    pub(crate) fn stdin_mark(&self, fd: RawFd) -> PathBuf {
        self.directory().join(format!("{PREFIX}{fd}"))
    }

    /// Returns the path of the file that marks the job as one with a terminal, and `fd` of the
    /// supervisor as where its input goes, if it takes any.
    pub(crate) fn terminal_mark(&self, fd: Option<RawFd>) -> PathBuf {
        let fd = fd.map_or_else(|| "none".to_owned(), |fd| fd.to_string());
        self.directory().join(format!("{TERMINAL}{fd}"))
    }

    /// Whether the job has a terminal.
    pub(crate) fn has_terminal(&self) -> io::Result<bool> {
        let marked = |name: &str| name.starts_with(TERMINAL).then_some(());
        Ok(self.find_name(marked)?.is_some())
    }

    /// Returns the path of the file that says that the job ended before a process opened its stdin.
    pub(crate) fn stdin_closed(&self) -> PathBuf {
        self.directory().join(CLOSED)
    }

    /// Returns what a job's stdin is if no file marks its descriptor.
    fn unmarked_stdin(&self) -> io::Result<Found> {
        Ok(if self.stdin_closed().try_exists()? { Found::Closed } else { Found::Taken })
    }

    /// Returns the mark of the job's stdin, and the descriptor that it is about.
    fn find_stdin_mark(&self) -> io::Result<Option<(Mark, RawFd)>> {
        let fd = |name: &str, prefix: &str| name.strip_prefix(prefix)?.parse().ok();
        self.find_name(|name| {
            let once = fd(name, PREFIX).map(|fd| (Mark::Once, fd));
            once.or_else(|| Some((Mark::Terminal, fd(name, TERMINAL)?)))
        })
    }

    /// Returns what `find` finds in the name of a file in the attempt's directory.
    fn find_name<T>(&self, find: impl Fn(&str) -> Option<T>) -> io::Result<Option<T>> {
        let Some(entries) = missing_is_none(fs::read_dir(self.directory()))? else {
            return Ok(None);
        };
        for entry in entries {
            if let Some(found) = entry?.file_name().to_str().and_then(&find) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// A file about a job's stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// One process gives the job its stdin.
    Once,
    /// The job has a terminal.
    Terminal,
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
    let Some((kind, fd)) = location.find_stdin_mark()? else {
        return location.unmarked_stdin();
    };
    let mark = match kind {
        Mark::Once => location.stdin_mark(fd),
        Mark::Terminal => location.terminal_mark(Some(fd)),
    };
    let pipe = match open_pipe(&format!("/proc/{}/fd/{fd}", supervisor.pid())) {
        // The job has ended, and the supervisor has used the descriptor for something else.
        Err(_) if !mark.try_exists()? => return location.unmarked_stdin(),
        opened => opened?,
    };
    // Otherwise, another process may have had the pid when the pipe was opened.
    if !is_alive(&supervisor)? {
        return Ok(Found::Closed);
    }
    if kind == Mark::Terminal {
        return Ok(pipe.map_or(Found::Closed, Found::Pipe));
    }
    if missing_is_none(fs::remove_file(mark))?.is_none() {
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
        let (_, fd) = location.find_stdin_mark().unwrap().unwrap();
        fs::remove_file(location.stdin_mark(fd)).unwrap();
        assert!(matches!(open(&location).unwrap(), Found::Taken));
        drop(input);
        assert!(matches!(open(&location).unwrap(), Found::Taken));
    }
}

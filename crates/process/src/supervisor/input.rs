//! Holds the write end of a job's stdin until a process opens it ([`crate::stdin`]).

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::location::Location;

/// The write end of a job's stdin. While it exists, the job waits for input.
pub(crate) struct Input {
    _pipe: PipeWriter,
    mark: PathBuf,
    closed: PathBuf,
}

impl Input {
    /// Creates a pipe, and marks it for the process that opens it. Returns also the job's end.
    pub(crate) fn create(location: &Location) -> io::Result<(Self, PipeReader)> {
        let (reader, pipe) = io::pipe()?;
        let mark = location.stdin_mark(pipe.as_raw_fd());
        File::create_new(&mark)?;
        let closed = location.stdin_closed();
        Ok((Self { _pipe: pipe, mark, closed }, reader))
    }

    /// Creates a pipe for what is typed at a job's terminal, and marks it, for any number of processes
    /// to open if it `takes_input`. Returns also the supervisor's end.
    pub(super) fn of_terminal(
        location: &Location,
        takes_input: bool,
    ) -> io::Result<(Self, PipeReader)> {
        let (reader, pipe) = io::pipe()?;
        let mark = location.terminal_mark(takes_input.then(|| pipe.as_raw_fd()));
        File::create_new(&mark)?;
        let closed = location.stdin_closed();
        Ok((Self { _pipe: pipe, mark, closed }, reader))
    }

    /// Whether a process has opened it, so that this end is no longer needed.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.mark.try_exists(), Ok(false))
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // The descriptor may soon be that of something else. If a process has opened the stdin, there
        // is no mark.
        if std::fs::rename(&self.mark, &self.closed).is_err() {
            let _ = std::fs::remove_file(&self.mark);
        }
    }
}

//! What a submission says about the job's stdin.

use std::fmt;
use std::sync::Arc;

use longshore_core::{Error, ErrorKind, JobSpec, TerminalSize};
use parking_lot::Mutex;
use tokio::io::AsyncRead;

/// What a job receives as stdin. Nothing is read from it before the job has started.
pub(crate) type Source = Box<dyn AsyncRead + Send + Unpin>;

/// Why a job may have received only a part of its stdin, if it may.
pub(crate) type Incomplete = Arc<Mutex<Option<String>>>;

/// The reason for a job that was taken up.
pub(crate) const INTERRUPTED: &str = "the process that gave it ended before the job";

/// Who gives a job its stdin.
#[derive(Default)]
pub(crate) enum Input {
    /// Nobody: it is empty.
    #[default]
    Nobody,
    /// The job's task.
    Here(Mutex<Source>),
    /// Another task of this process.
    Beside(Incomplete),
    /// A process that attaches to the job.
    Later,
    /// A process that has ended.
    Interrupted,
    /// Processes that attach to the job's terminal, which has this size at the job's start.
    Terminal(Option<TerminalSize>),
}

impl Input {
    /// Returns the size that the job's terminal has at its start, if it is known.
    pub(crate) const fn terminal_size(&self) -> Option<TerminalSize> {
        match self {
            Self::Terminal(size) => *size,
            _ => None,
        }
    }

    /// Checks that the job of `spec` can have this input.
    pub(crate) fn admit(&self, spec: &mut JobSpec, detached: bool) -> Result<(), Error> {
        match self {
            // A terminal takes input from any process that attaches.
            Self::Nobody if spec.tty => {}
            // No input and an empty input are the same to the job.
            Self::Nobody => spec.stdin = false,
            Self::Here(_) if detached => {
                let message = "a detached job outlives this process, which would give it its stdin";
                return Err(Error::new(ErrorKind::InvalidSpec, message));
            }
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Here(_) => "Here",
            Self::Beside(_) => "Beside",
            Self::Later => "Later",
            Self::Interrupted => "Interrupted",
            Self::Terminal(_) => "Terminal",
        })
    }
}

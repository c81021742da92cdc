//! The terminal of a job or a command, and connections to jobs that run.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::{JobStdin, LogChunk, Result};

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TerminalSize {
    /// The number of columns.
    pub width: u16,
    /// The number of rows.
    pub height: u16,
}

impl TerminalSize {
    /// Creates a size from its columns and rows.
    #[must_use]
    pub const fn new(width: u16, height: u16) -> Self {
        Self { width, height }
    }
}

/// Changes the size of a terminal, on behalf of a process that is attached to it.
///
/// A size that the backend does not accept has no effect.
#[derive(Clone)]
pub struct TerminalSizes(Arc<dyn Fn(TerminalSize) + Send + Sync>);

impl TerminalSizes {
    /// Creates what passes each size on by `set`, which returns at once.
    #[must_use]
    pub fn new(set: impl Fn(TerminalSize) + Send + Sync + 'static) -> Self {
        Self(Arc::new(set))
    }

    /// Sets the size. Returns at once.
    pub fn set(&self, size: TerminalSize) {
        (self.0)(size);
    }
}

impl fmt::Debug for TerminalSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TerminalSizes")
    }
}

/// Which part of a job's output a process that attaches wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachOutput {
    /// None of it.
    #[default]
    None,
    /// What the job writes from now on.
    FromNow,
    /// For a job with a terminal: what it shows, if [`logs`](crate::Runner::logs) returns a line only
    /// once it is finished, as a kubelet does. Begins with what is in the log; of an unfinished line
    /// from before, nothing is known. On other runners: none, as `logs` returns it at once.
    Unlogged,
}

/// What a process that attaches to a job wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachSpec {
    /// Which part of the job's output it wants.
    pub output: AttachOutput,
    /// Whether it gives the job's terminal input. Has no effect on a job without a terminal or
    /// without a stdin.
    pub stdin: bool,
}

impl AttachSpec {
    /// Asks for this part of the output.
    #[must_use]
    pub const fn output(mut self, output: AttachOutput) -> Self {
        self.output = output;
        self
    }

    /// Asks for the input of the job's terminal.
    #[must_use]
    pub const fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }
}

/// A connection to a job that runs. Dropping it changes nothing for the job.
#[non_exhaustive]
pub struct Attachment {
    /// The output that was asked for. Only the distance between two offsets has
    /// a meaning.
    ///
    /// It ends when all output has arrived. An error is a hint for a person; if it is the last item, what
    /// follows is missing, and the job may still run.
    pub output: Option<BoxStream<'static, Result<LogChunk>>>,
    /// The input of the job's terminal, if it was asked for and the job has it. Dropping it, or
    /// shutting it down, gives the job no end of file.
    pub stdin: Option<JobStdin>,
    /// Changes the size of the job's terminal, if it has one.
    pub sizes: Option<TerminalSizes>,
}

impl Attachment {
    /// Creates a connection that has only `output`.
    #[must_use]
    pub fn new(output: Option<BoxStream<'static, Result<LogChunk>>>) -> Self {
        Self { output, stdin: None, sizes: None }
    }

    /// Adds the job's terminal.
    #[must_use]
    pub fn with_terminal(mut self, stdin: Option<JobStdin>, sizes: TerminalSizes) -> Self {
        (self.stdin, self.sizes) = (stdin, Some(sizes));
        self
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("output", &self.output.is_some())
            .field("stdin", &self.stdin.is_some())
            .field("sizes", &self.sizes.is_some())
            .finish()
    }
}

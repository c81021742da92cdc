//! Commands in a job that runs.

use std::fmt;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::{JobStdin, LogStream, Result, TerminalSize, TerminalSizes};

/// A command to run in a job that runs, as `docker exec` does: beside the job's main process.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecSpec {
    /// The program and its arguments. No shell interprets them.
    pub command: Vec<String>,
    /// Environment variables in addition to those of the job.
    pub env: Vec<(String, String)>,
    /// The working directory. Default: that of the job.
    pub working_dir: Option<String>,
    /// The user, as `docker exec --user` takes it: a name or an ID, and a group after a colon.
    /// Default: that of the job.
    pub user: Option<String>,
    /// Whether the command has a stdin. Without one, it reads end of file.
    pub stdin: bool,
    /// Whether the command has a terminal. Its output is then one stream, stdout, and its stdin has no
    /// end of file.
    pub tty: bool,
    /// The size of that terminal at the start of the command, if the backend can set it then.
    pub terminal_size: Option<TerminalSize>,
}

impl ExecSpec {
    /// Creates a specification of `command`, without a stdin.
    #[must_use]
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// Shows no value of the environment, which may be a secret.
impl fmt::Debug for ExecSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, env, working_dir, user, stdin, tty, terminal_size } = self;
        let names: Vec<_> = env.iter().map(|(name, _)| name).collect();
        f.debug_struct("ExecSpec")
            .field("command", command)
            .field("env", &names)
            .field("working_dir", working_dir)
            .field("user", user)
            .field("stdin", stdin)
            .field("tty", tty)
            .field("terminal_size", terminal_size)
            .finish()
    }
}

/// A command that runs in a job.
///
/// Dropping it ends the connection to the command, not the command. The command notices the end of
/// its stdin, may not be able to write any more, and ends with the job at the latest.
#[non_exhaustive]
pub struct Exec {
    /// The command's stdin, if it has one.
    pub stdin: Option<JobStdin>,
    /// What the command writes, and how it ends.
    ///
    /// - The last item is [`ExecEvent::Exited`] or an error, and then the stream ends.
    /// - The command waits if the stream is not polled and the buffers in between are full.
    pub events: BoxStream<'static, Result<ExecEvent>>,
    /// Changes the size of the command's terminal, if it has one.
    pub sizes: Option<TerminalSizes>,
}

impl Exec {
    /// Creates a command from its connection.
    #[must_use]
    pub fn new(stdin: Option<JobStdin>, events: BoxStream<'static, Result<ExecEvent>>) -> Self {
        Self { stdin, events, sizes: None }
    }

    /// Adds the way to change the size of the command's terminal.
    #[must_use]
    pub fn with_sizes(mut self, sizes: Option<TerminalSizes>) -> Self {
        self.sizes = sizes;
        self
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecEvent {
    /// The command has written output. The two streams are separate on every runner, unless the
    /// command has a terminal.
    Output {
        /// The stream.
        stream: LogStream,
        /// The bytes; never empty.
        bytes: Bytes,
    },
    /// The command has ended.
    Exited {
        /// Its exit code; 128 and the number of the signal if a signal ended it. As with docker, 127
        /// if the command does not exist, and 126 if it cannot be executed.
        code: i32,
        /// Why it could not be executed, if the backend says so.
        message: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_a_command_is_not_in_its_debug_output() {
        let mut spec = ExecSpec::new(["env"]);
        spec.env.push(("TOKEN".to_owned(), "hunter2".to_owned()));
        let shown = format!("{spec:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}

//! Starts the command in the case's own environment.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::running::{Ran, Running};
use crate::terminal::Terminal;

/// A command to be started. Of this program's environment it inherits only `PATH` and `TMPDIR`.
pub(crate) struct Longshore {
    command: Command,
    result: Option<PathBuf>,
}

impl Longshore {
    pub(crate) fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["PATH", "TMPDIR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        Self { command, result: None }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Requests a result file at `path`.
    pub(crate) fn result(mut self, path: PathBuf) -> Self {
        self.command.arg("--result").arg(&path);
        self.result = Some(path);
        self
    }

    /// Runs it as another user.
    pub(crate) fn user(mut self, id: u32) -> Self {
        self.command.uid(id).gid(id);
        self
    }

    /// Keeps the standard input open for writing.
    pub(crate) fn with_stdin(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Takes the standard input from `from`.
    pub(crate) fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Sends the standard output to `to` instead of reading it.
    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    pub(crate) fn spawn(mut self) -> Result<Running> {
        let child = self.command.spawn();
        let child = child.with_context(|| format!("failed to start {:?}", self.command))?;
        Ok(Running::new(child, self.result))
    }

    /// Starts it with `terminal` as its standard input and output.
    pub(crate) fn spawn_at(mut self, terminal: &Terminal) -> Result<Running> {
        let (end, other) = (terminal.open()?, terminal.open()?);
        let child = self.command.stdin(end).stdout(other).spawn();
        let child = child.with_context(|| format!("failed to start {:?}", self.command))?;
        // If this kept the terminal open, its output had no end.
        drop(self.command);
        Ok(Running::at_terminal(child, self.result, terminal.master()?))
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Result<Ran> {
        self.spawn()?.finish()
    }
}

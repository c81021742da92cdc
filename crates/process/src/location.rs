//! The location of an attempt: its directory, which is the content of its handle.

use std::io;
use std::path::{Path, PathBuf};

use longshore_core::{AttemptId, Error, ErrorKind, Handle, LogStream, Result, RunnerName};

/// The version of a handle's format: `{"directory": "/…/attempts/ID"}`.
const HANDLE_VERSION: u32 = 1;

/// The directory of one attempt, whether or not it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    directory: PathBuf,
}

impl Location {
    /// Returns the location of `attempt` in `state_directory`.
    pub(crate) fn new(state_directory: &Path, attempt: &AttemptId) -> Self {
        Self { directory: attempts(state_directory).join(attempt.as_str()) }
    }

    /// Returns the location with this directory.
    pub(crate) const fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Returns the attempt that the directory is named after, or `None` if it is not an attempt's.
    pub(crate) fn attempt(&self) -> Option<AttemptId> {
        self.directory.file_name()?.to_str()?.parse().ok()
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the path of the file that holds `stream` from the byte `start` on: `stdout` or
    /// `stdout.START`.
    pub(crate) fn output_from(&self, stream: LogStream, start: u64) -> PathBuf {
        let name = output_name(stream);
        if start == 0 {
            return self.directory.join(name);
        }
        self.directory.join(format!("{name}.{start}"))
    }

    /// Returns the path of the file with the times of the file that holds `stream` from the byte
    /// `start` on.
    pub(crate) fn times_from(&self, stream: LogStream, start: u64) -> PathBuf {
        let output = self.output_from(stream, start);
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        self.directory.join(format!("times.{name}"))
    }

    /// Returns where the files of `stream` begin, in no particular order.
    pub(crate) fn output_starts(&self, stream: LogStream) -> io::Result<Vec<u64>> {
        let mut starts = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(output_name(stream)));
            starts.extend(match rest {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix('.').and_then(|start| start.parse().ok()),
                None => None,
            });
        }
        Ok(starts)
    }

    /// Returns the location that `handle` names.
    ///
    /// # Errors
    /// `Internal` for a handle that this version did not write.
    pub(crate) fn read(handle: &Handle) -> Result<Self> {
        let refuse = |message| Err(Error::new(ErrorKind::Internal, message));
        if handle.version != HANDLE_VERSION {
            return refuse("the handle is of a version that this Longshore does not know");
        }
        match handle.opaque.get("directory").and_then(serde_json::Value::as_str) {
            Some(directory) if directory.starts_with('/') => Ok(Self::at(directory.into())),
            _ => refuse("the handle does not name a directory"),
        }
    }

    /// Returns the handle of `attempt`, which is at this location.
    pub(crate) fn handle(&self, runner: &RunnerName, attempt: AttemptId) -> Handle {
        let directory = self.directory.to_string_lossy();
        let opaque = serde_json::json!({ "directory": directory });
        Handle::new(runner.clone(), HANDLE_VERSION, attempt, opaque)
    }
}

/// Returns the folder of all attempts.
pub(crate) fn attempts(state_directory: &Path) -> PathBuf {
    state_directory.join("attempts")
}

pub(crate) const fn output_name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    }
}

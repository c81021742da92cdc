//! A clock of the command that is not the machine's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Longshore;

/// A clock that differs from the machine's, by means of libfaketime. Only the time of day differs:
/// a clock that nobody can set goes on as before.
pub(crate) struct Clock {
    preloaded: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// Returns a clock that agrees with the machine's, with its state in `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let preloaded = library().context("libfaketime is not installed")?;
        let clock = Self { preloaded, file: folder.join("clock") };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it so many seconds ahead of the machine's, also for commands that run already.
    pub(crate) fn set(&self, ahead: i64) -> Result<()> {
        // A command may read the file at any time.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{ahead:+}s\n"))?;
        fs::rename(&new, &self.file).context("failed to set the clock")
    }

    /// Gives the clock to `command` and to everything that it starts.
    pub(crate) fn give(&self, command: Longshore) -> Longshore {
        let command = command.env("LD_PRELOAD", &self.preloaded);
        let command = command.env("FAKETIME_TIMESTAMP_FILE", &self.file);
        let command = command.env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1")
    }
}

/// Returns why there can be no such clock here, or `None` if there can.
pub(crate) fn missing() -> Option<String> {
    library().is_none().then(|| "no libfaketime here (apt-get install faketime)".to_owned())
}

/// Returns the path of the library, which Debian has in a folder for each architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut paths = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    paths.find(|path| path.is_file())
}

//! The state directory and its files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{JournalError, Result};

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// The database. SQLite puts its `-wal` and `-shm` beside it, with the same permissions.
    pub(crate) database: PathBuf,
    /// Its byte ranges are the jobs' locks.
    pub(crate) locks: PathBuf,
    /// Opened and closed after each request to cancel.
    pub(crate) cancels: PathBuf,
    /// Opened and closed after each outcome.
    pub(crate) ends: PathBuf,
    /// Opened and closed after each start.
    pub(crate) starts: PathBuf,
}

impl Folder {
    /// Makes what is missing: folders for this user alone (0700), empty files (0600).
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        make(path).map_err(|error| JournalError::file(path, error))?;
        let folder = Self {
            database: path.join("journal.db"),
            locks: path.join("locks"),
            cancels: path.join("cancels"),
            ends: path.join("ends"),
            starts: path.join("starts"),
        };
        for file in [&folder.database, &folder.locks, &folder.cancels, &folder.ends, &folder.starts]
        {
            create(file).map_err(|error| JournalError::file(file, error))?;
        }
        Ok(folder)
    }

    /// The file of locks, open until the last lock is gone.
    pub(crate) fn open_locks(&self) -> Result<File> {
        let open = OpenOptions::new().append(true).open(&self.locks);
        open.map_err(|error| JournalError::file(&self.locks, error))
    }
}

fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What is there is not opened, as whoever watches it would be told.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Tells who watches the file at `path`.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    // To close what was opened for writing is enough, and needs no room on the disk.
    OpenOptions::new().append(true).open(path).map(drop)
}

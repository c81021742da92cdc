//! The state directory and its files.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::locks::FileLocks;
use super::reserve::Reserve;
use crate::error::{JournalError, Result};

/// The paths of the files.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// The database. SQLite creates its `-wal` and `-shm` files next to it, with the same
    /// permissions.
    pub(crate) database: PathBuf,
    /// The file whose byte ranges are the jobs' locks.
    pub(crate) locks: PathBuf,
    /// The file opened and closed after each request to cancel.
    pub(crate) cancels: PathBuf,
    /// The folder of the processes' mailboxes, each signalled after a request to cancel.
    pub(crate) mailboxes: PathBuf,
    /// The file opened and closed after each outcome.
    pub(crate) ends: PathBuf,
    /// The file opened and closed after each start.
    pub(crate) starts: PathBuf,
    /// The file that exists while jobs may be without a record, because a database was lost.
    pub(crate) incomplete: PathBuf,
    pub(crate) reserve: Reserve,
}

impl Folder {
    /// Creates what is missing: directories for this user only (0700), and empty files (0600).
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        make(path).map_err(|error| JournalError::file(path, error))?;
        let folder = Self {
            database: path.join("journal.db"),
            locks: path.join("locks"),
            cancels: path.join("cancels"),
            mailboxes: path.join("mailboxes"),
            ends: path.join("ends"),
            starts: path.join("starts"),
            incomplete: path.join("incomplete"),
            reserve: Reserve::new(path.join("reserve")),
        };
        folder.reserve.adjust();
        // A new database is created before the locks, and the locks are never removed. So an
        // earlier database has been moved away or deleted, and its records with it.
        if folder.locks.exists() && !folder.database.exists() {
            let path = &folder.incomplete;
            create(path).map_err(|error| JournalError::file(path, error))?;
        }
        for file in [&folder.database, &folder.locks, &folder.cancels, &folder.ends, &folder.starts]
        {
            create(file).map_err(|error| JournalError::file(file, error))?;
        }
        Ok(folder)
    }

    /// Opens the file of locks. It stays open until the last lock is gone.
    pub(crate) fn open_locks(&self) -> Result<FileLocks> {
        let open = OpenOptions::new().append(true).open(&self.locks);
        open.map(FileLocks).map_err(|error| JournalError::file(&self.locks, error))
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    pub(crate) fn locks(&self) -> &Path {
        &self.locks
    }

    /// Returns whether jobs may be without a record.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.incomplete.exists()
    }

    /// Declares that every job has a record again.
    pub(crate) fn complete(&self) -> Result<()> {
        match fs::remove_file(&self.incomplete) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(JournalError::file(&self.incomplete, error))
            }
            _ => Ok(()),
        }
    }
}

fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates an empty file. Does not open an existing one, because that would signal its watchers.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// Signals the watchers of the file at `path`.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    // Opening the file for writing and closing it is enough, and needs no space on the disk.
    OpenOptions::new().append(true).open(path).map(drop)
}

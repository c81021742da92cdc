//! The state directory and its files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use longshore_core::InstallationId;

use crate::error::{JournalError, Result};
use crate::reserve::Reserve;

/// More than an installation's name has, in bytes.
const LONGEST_INSTALLATION: u64 = 256;

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
    /// The file opened and closed after each outcome.
    pub(crate) ends: PathBuf,
    /// The file opened and closed after each start.
    pub(crate) starts: PathBuf,
    pub(crate) reserve: Reserve,
    /// A copy of the installation's name. A journal that is begun anew, because the old one was
    /// damaged, takes it over: jobs carry it on their backends.
    installation: PathBuf,
}

impl Folder {
    /// Creates what is missing: directories for this user only (0700), and empty files (0600).
    pub(crate) fn prepare(path: &Path) -> Result<Self> {
        make(path).map_err(|error| JournalError::file(path, error))?;
        let folder = Self {
            database: path.join("journal.db"),
            locks: path.join("locks"),
            cancels: path.join("cancels"),
            ends: path.join("ends"),
            starts: path.join("starts"),
            reserve: Reserve::new(path.join("reserve")),
            installation: path.join("installation"),
        };
        folder.reserve.adjust();
        for file in [&folder.database, &folder.locks, &folder.cancels, &folder.ends, &folder.starts]
        {
            create(file).map_err(|error| JournalError::file(file, error))?;
        }
        Ok(folder)
    }

    /// Returns the installation of the journal that was here before, if its name is legible.
    pub(crate) fn installation(&self) -> Option<InstallationId> {
        let mut text = String::new();
        let file = File::open(&self.installation).ok()?;
        file.take(LONGEST_INSTALLATION).read_to_string(&mut text).ok()?;
        text.trim_end().parse().ok()
    }

    /// Keeps a copy of the installation's name. Without one, for example on a full disk, only a later
    /// journal would miss it.
    pub(crate) fn keep_installation(&self, installation: &InstallationId) {
        if self.installation().as_ref() == Some(installation) {
            return;
        }
        let unique = format!("installation.{}", std::process::id());
        let written = self.installation.with_file_name(unique);
        let open =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&written);
        let kept = open
            .and_then(|mut file| writeln!(file, "{installation}"))
            .and_then(|()| fs::rename(&written, &self.installation));
        if let Err(error) = kept {
            tracing::debug!(%error, "failed to keep a copy of the installation's name");
            let _ = fs::remove_file(&written);
        }
    }

    /// Opens the file of locks. It stays open until the last lock is gone.
    pub(crate) fn open_locks(&self) -> Result<File> {
        let open = OpenOptions::new().append(true).open(&self.locks);
        open.map_err(|error| JournalError::file(&self.locks, error))
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

//! Space on the disk that is kept for the journal. A job that fills the disk can still be cancelled,
//! its end can be recorded, and it can be removed.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The size of the reserve: several hundred steps.
const SIZE: u64 = 1 << 20;
/// A disk with more free space than this gets a reserve.
const PLENTY: u64 = 8 * SIZE;
/// A disk with less free space than this is full: one transaction may need as much.
const FULL: u64 = SIZE / 4;

/// A file that only takes up space, and is removed when the disk is full.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Creates the file if it does not exist and the disk has plenty of space, or removes it if the
    /// disk is full. A failure is not reported: without a reserve, the journal works until the disk
    /// is full.
    pub(crate) fn adjust(&self) {
        let adjusted = self.free().and_then(|free| match free {
            ..FULL => fs::remove_file(&self.path),
            PLENTY.. => self.create(),
            _ => Ok(()),
        });
        if let Err(error) = adjusted
            && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
        {
            tracing::debug!(path = %self.path.display(), %error, "failed to adjust the reserve");
        }
    }

    /// Removes the file if the disk is full.
    pub(crate) fn release_if_full(&self) {
        if self.free().is_ok_and(|free| free < FULL) && fs::remove_file(&self.path).is_ok() {
            tracing::warn!(path = %self.path.display(), "the disk is full; using the reserve");
        }
    }

    /// Returns the free space of the disk in bytes.
    fn free(&self) -> io::Result<u64> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let disk = statvfs(folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn create(&self) -> io::Result<()> {
        let new = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&self.path)?;
        let allocated = fallocate(&new, FallocateFlags::empty(), 0, SIZE);
        if allocated.is_err() {
            fs::remove_file(&self.path)?;
        }
        Ok(allocated?)
    }
}

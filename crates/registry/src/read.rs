//! Reads a small file that may have any content.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;

/// How long reading a file may take: the file may be on a network share that does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The permission bits that let the group and others read (chmod(1)).
const READ_BY_OTHERS: u32 = 0o044;

/// A file's content, and who else may read it.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    mode: u32,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
    #[error("it could not be read within {} s", READ_TIMEOUT.as_secs())]
    TimedOut,
}

impl Unreadable {
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl Content {
    /// Returns a warning if users other than its owner may read the file at `path`.
    pub(crate) fn warning(&self, path: &Path) -> Option<String> {
        (self.mode & READ_BY_OTHERS != 0).then(|| {
            let mode = self.mode & 0o777;
            format!("others may read {} (mode {mode:04o}): make it 0600", path.display())
        })
    }
}

/// Reads the file at `path`, of at most `largest` bytes.
pub(crate) async fn read(path: &Path, largest: u64) -> Result<Content, Unreadable> {
    let read = tokio::time::timeout(READ_TIMEOUT, read_at_leisure(path, largest)).await;
    read.unwrap_or(Err(Unreadable::TimedOut))
}

async fn read_at_leisure(path: &Path, largest: u64) -> Result<Content, Unreadable> {
    let metadata = tokio::fs::metadata(path).await?;
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(Unreadable::NotAFile);
    }
    let file = tokio::fs::File::open(path).await?;
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > largest {
        return Err(Unreadable::TooLarge(largest));
    }
    Ok(Content { bytes, mode: metadata.mode() })
}

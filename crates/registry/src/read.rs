//! Reads a small file that may have any content.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;

/// How long reading a file may take: the file may be on a network share that does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The permission bits that let the group and others read (chmod(1)).
const READ_BY_GROUP: u32 = 0o040;
const READ_BY_OTHERS: u32 = 0o004;

/// A file's content, and who else may read it.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    access: Access,
}

/// Who may read a file.
#[derive(Clone, Copy)]
struct Access {
    mode: u32,
    /// Whether this process is not the owner and not root, so that only the group or the others'
    /// permission lets it read the file. A mounted Secret belongs to root, and to the Pod's `fsGroup`.
    by_permission: bool,
}

impl Access {
    fn of(metadata: &Metadata) -> Self {
        let own = nix::unistd::geteuid();
        let by_permission = !own.is_root() && metadata.uid() != own.as_raw();
        Self { mode: metadata.mode() & 0o777, by_permission }
    }

    /// Returns the mode that the file should have, if more users may read it than need to.
    const fn too_open(self) -> Option<&'static str> {
        let (needless, enough) = match self.by_permission {
            true => (READ_BY_OTHERS, "0440"),
            false => (READ_BY_GROUP | READ_BY_OTHERS, "0600"),
        };
        if self.mode & needless == 0 { None } else { Some(enough) }
    }
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
    /// Returns a warning if more users than need to may read the file at `path`.
    pub(crate) fn warning(&self, path: &Path) -> Option<String> {
        let mode = self.access.mode;
        self.access.too_open().map(|enough| {
            format!("others may read {} (mode {mode:04o}): make it {enough}", path.display())
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
    Ok(Content { bytes, access: Access::of(&metadata) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password of a Secret that is mounted in a Pod with `fsGroup` caused a warning, although no
    /// stricter mode lets the command read it.
    #[test]
    fn a_file_of_another_user_may_be_read_by_the_group() {
        let too_open = |mode, by_permission| Access { mode, by_permission }.too_open();
        for (mode, own, of_another) in [
            (0o400, None, None),
            (0o600, None, None),
            (0o440, Some("0600"), None),
            (0o640, Some("0600"), None),
            (0o444, Some("0600"), Some("0440")),
            (0o604, Some("0600"), Some("0440")),
        ] {
            assert_eq!(too_open(mode, false), own, "{mode:o}");
            assert_eq!(too_open(mode, true), of_another, "{mode:o}");
        }
    }
}

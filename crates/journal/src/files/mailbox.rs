//! Signals to the processes that hold jobs, each through a FIFO of its own.
//!
//! A process that ends with an inotify instance waits some 15 ms, until the kernel has freed its
//! watches (`fsnotify_wait_marks_destroyed`). That is longer than a short job takes. A FIFO costs
//! nothing at its end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use longshore_core::JobId;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mknodat, open};
use rustix::io::Errno;
use tokio::net::unix::pipe::{OpenOptions, Receiver};

/// Precedes the name of a mailbox that its owner has not yet opened.
const UNFINISHED: char = '.';

/// The mailbox of this process. It is removed when dropped.
#[derive(Debug)]
pub(crate) struct Mailbox {
    fifo: Receiver,
    path: PathBuf,
}

impl Mailbox {
    /// Creates a mailbox in `folder`, which it creates if necessary. Must be called within a runtime.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let name = JobId::random();
        let unfinished = folder.join(format!("{UNFINISHED}{name}"));
        mknodat(CWD, &unfinished, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        // The mailbox gets its name once it is open: one that nobody has open is removed.
        let path = folder.join(name.as_str());
        // Also open for writing, so that it has no end.
        let fifo = OpenOptions::new()
            .read_write(true)
            .open_receiver(&unfinished)
            .and_then(|fifo| fs::rename(&unfinished, &path).map(|()| fifo))
            .inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
        Ok(Self { fifo, path })
    }

    /// Waits for a signal since the last call.
    pub(crate) async fn signalled(&self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let mut signalled = false;
        loop {
            match self.fifo.try_read(&mut buffer) {
                Ok(_) => signalled = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && signalled => {
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.fifo.readable().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Signals the owner of each mailbox in `folder`. Removes those whose owner is dead. A mailbox that
/// cannot be signalled does not keep the others from their signal.
pub(crate) fn signal_all(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut signalled = Ok(());
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            signalled = signalled.and(signal(&entry.path()));
        }
    }
    signalled
}

fn signal(path: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = match open(path, flags, Mode::empty()) {
        Ok(fifo) => fifo,
        // Nobody has it open for reading.
        Err(Errno::NXIO) => return missing_is_fine(fs::remove_file(path)),
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(fstat(&fifo)?.st_mode) != FileType::Fifo {
        return Ok(());
    }
    match rustix::io::write(&fifo, b"!") {
        // A full mailbox has signals that its owner has not seen. It has just been closed if there
        // is no reader.
        Ok(_) | Err(Errno::AGAIN | Errno::PIPE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn missing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_signalled(mailbox: &Mailbox) -> bool {
        timeout(Duration::from_millis(50), mailbox.signalled()).await.is_ok()
    }

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn each_mailbox_is_signalled_once_for_any_number_of_signals() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("mailboxes");
        signal_all(&folder).unwrap();
        let (first, second) = (Mailbox::open(&folder).unwrap(), Mailbox::open(&folder).unwrap());
        // More than a pipe holds.
        for _ in 0..100_000 {
            signal_all(&folder).unwrap();
        }
        for mailbox in [&first, &second] {
            mailbox.signalled().await.unwrap();
            assert!(!is_signalled(mailbox).await);
        }
        drop((first, second));
        assert_eq!(names(&folder), 0);
    }

    #[tokio::test]
    async fn the_mailbox_of_a_killed_process_is_removed_and_the_others_are_signalled() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join("dead");
        mknodat(CWD, &dead, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(folder.path().join("file"), "kept").unwrap();
        let alive = Mailbox::open(folder.path()).unwrap();
        signal_all(folder.path()).unwrap();
        assert!(is_signalled(&alive).await);
        assert_eq!((dead.exists(), names(folder.path())), (false, 2));
        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "kept");
    }

    #[tokio::test]
    async fn a_mailbox_that_cannot_be_signalled_does_not_keep_the_others_from_their_signal() {
        let folder = tempfile::tempdir().unwrap();
        let mailboxes: Vec<_> = (0..4).map(|_| Mailbox::open(folder.path()).unwrap()).collect();
        // Not even root can write to it.
        fs::create_dir(folder.path().join("directory")).unwrap();
        signal_all(folder.path()).unwrap_err();
        for mailbox in &mailboxes {
            assert!(is_signalled(mailbox).await);
        }
    }
}

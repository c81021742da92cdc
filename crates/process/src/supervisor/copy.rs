//! Copies from a pipe that the job writes to, into a file.
//!
//! The job writes to a pipe, as in a container, and not to the file itself. A program that reopens
//! `/dev/stdout` or `/dev/stderr`, as `echo oops > /dev/stderr` in a shell does, would truncate the
//! file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use jiff::Timestamp;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;

use super::kept::{Kept, StreamFiles};

/// The default capacity of a pipe (pipe(7)): one read empties a full one.
const BUFFER_BYTES: usize = 64 << 10;

/// How much of the disk output leaves free, or an eighth of a small disk: a job that fills the disk
/// can still be recorded, cancelled and removed.
const LEFT_FREE: u64 = 2 << 20;

/// How many buffers are copied before the supervisor handles other events.
const BUFFERS_AT_ONCE: usize = 16;

/// One output stream of the job.
pub(super) struct Copy {
    pipe: File,
    files: StreamFiles,
    /// Bytes that arrived after the file could no longer be written.
    pub(super) lost: u64,
    failed: bool,
}

/// Whether more output may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// Now.
    AtOnce,
    /// Later.
    Later,
    /// No process has the other end any more.
    Never,
}

impl Copy {
    pub(super) fn new(pipe: OwnedFd, files: StreamFiles) -> Self {
        // If the pipe stays blocking, a read after poll blocks no longer than poll reported.
        let _ = rustix::io::ioctl_fionbio(&pipe, true);
        Self { pipe: pipe.into(), files, lost: 0, failed: false }
    }

    pub(super) const fn pipe(&self) -> &File {
        &self.pipe
    }

    /// Copies the available output, or a part of it if it is large, as output of the time `now`.
    pub(super) fn copy(&mut self, buffer: &mut Vec<u8>, now: Timestamp, kept: &mut Kept) -> More {
        for _ in 0..BUFFERS_AT_ONCE {
            buffer.clear();
            buffer.reserve(BUFFER_BYTES);
            // The buffer is not cleared with zeros: memory that no output fills is never used.
            match rustix::io::read(&self.pipe, spare_capacity(buffer)) {
                Ok(0) => return More::Never,
                Ok(_) => self.keep(buffer, now, kept),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return More::Later,
                Err(_) => return More::Never,
            }
        }
        More::AtOnce
    }

    /// After the first failure (a full disk), the rest is counted and dropped. The job is thus not
    /// blocked, and the kept output is a beginning without holes.
    fn keep(&mut self, mut bytes: &[u8], now: Timestamp, kept: &mut Kept) {
        self.failed = self.failed || is_full(self.files.file());
        while !bytes.is_empty() && !self.failed {
            match self.files.write(bytes, now, kept) {
                Ok(count) if count > 0 => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => self.failed = true,
            }
        }
        self.lost += bytes.len() as u64;
    }
}

/// Whether the disk of `file` has only the space that output leaves for the records of jobs. A
/// file system that does not report its space is not full.
fn is_full(file: &File) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|disk| {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let size = disk.f_blocks.saturating_mul(disk.f_frsize);
        size > 0 && free < LEFT_FREE.min(size / 8)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use longshore_core::LogStream;

    use super::*;
    use crate::location::Location;

    fn full() -> File {
        std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()
    }

    #[test]
    fn little_output_uses_little_memory() {
        let (mut job, pipe) = UnixStream::pair().unwrap();
        let mut copy = Copy::new(pipe.into(), StreamFiles::new(LogStream::Stdout, full()));
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(Location::at(folder.path().to_owned()), None);
        let mut buffer = Vec::new();
        job.write_all(&[0; 1000]).unwrap();
        copy.copy(&mut buffer, Timestamp::UNIX_EPOCH, &mut kept);
        assert!(buffer.len() <= 1000, "no page is filled with zeros");
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let (mut job, pipe) = UnixStream::pair().unwrap();
        let mut copy = Copy::new(pipe.into(), StreamFiles::new(LogStream::Stdout, full()));
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(Location::at(folder.path().to_owned()), None);
        let now = Timestamp::UNIX_EPOCH;
        job.write_all(&[0; 1000]).unwrap();
        assert_eq!(copy.copy(&mut Vec::new(), now, &mut kept), More::Later);
        job.write_all(&[0; 500]).unwrap();
        drop(job);
        assert_eq!(copy.copy(&mut Vec::new(), now, &mut kept), More::Never);
        assert_eq!(copy.lost, 1500);
    }
}

//! The command's own standard streams, which it shares with other programs. One of these may have made a
//! stream non-blocking (`O_NONBLOCK`), as Node.js does with pipes and ssh with terminals: a read or a
//! write that would block then waits all the same.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// An output stream of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Stdout,
    Stderr,
}

impl Output {
    /// Writes all of `bytes`, in several pieces if need be.
    ///
    /// # Errors
    /// If nobody reads the stream any more, or if what it leads to is full.
    pub fn write_all(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => write_all(io::stdout(), bytes),
            Self::Stderr => write_all(io::stderr(), bytes),
        }
    }

    /// Returns the stream's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

fn write_all(stream: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&stream, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(stream.as_fd(), PollFlags::OUT)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads what `stream` has into `buffer`, at most as much as fits. Returns its size, or 0 at the end.
///
/// # Errors
/// If it cannot be read.
pub fn read(stream: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(&stream, &mut *buffer) {
            Ok(count) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(stream.as_fd(), PollFlags::IN)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until `stream` is ready, or will never be.
fn wait(stream: BorrowedFd<'_>, ready: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(stream, ready)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustix::io::ioctl_fionbio;

    use super::*;

    #[test]
    fn a_write_to_a_full_pipe_that_does_not_block_waits_for_its_reader() {
        let (mut reader, writer) = io::pipe().unwrap();
        ioctl_fionbio(&writer, true).unwrap();
        let bytes = vec![b'x'; 1 << 20];
        let read = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        write_all(&writer, &bytes).unwrap();
        drop(writer);
        assert_eq!(read.join().unwrap().unwrap().len(), bytes.len());
    }

    #[test]
    fn a_read_from_an_empty_pipe_that_does_not_block_waits_for_its_writer() {
        let (reader, mut writer) = io::pipe().unwrap();
        ioctl_fionbio(&reader, true).unwrap();
        let written = std::thread::spawn(move || {
            std::thread::yield_now();
            writer.write_all(b"late")
        });
        let mut buffer = [0; 16];
        assert_eq!(read(&reader, &mut buffer).unwrap(), 4);
        written.join().unwrap().unwrap();
        assert_eq!(read(&reader, &mut buffer).unwrap(), 0, "the end");
    }
}

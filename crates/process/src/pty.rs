//! Pseudo-terminals (pty(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use longshore_core::TerminalSize;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::linux::watch;

/// A pseudo-terminal.
///
/// While the slave is open here, the master reports no end, even if no program has the terminal open.
pub(crate) struct Pty {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

impl Pty {
    /// Creates a terminal, which becomes the controlling terminal of no process.
    pub(crate) fn create(size: Option<TerminalSize>) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        if let Some(size) = size {
            set_size(&master, size)?;
        }
        Ok(Self { master, slave })
    }
}

/// Sets the size of the terminal that `fd` is an end of. Its foreground programs get `SIGWINCH` if that
/// is a change.
pub(crate) fn set_size(fd: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(fd, size)?)
}

/// The master of a terminal: what is written is typed, and what the terminal shows is read.
pub(crate) struct Master(AsyncFd<OwnedFd>);

impl Master {
    /// Must be called in a runtime.
    pub(crate) fn new(master: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self(watch(master, Interest::READABLE | Interest::WRITABLE)?))
    }
}

impl AsyncRead for Master {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let read = ready.try_io(|fd| {
                match rustix::io::read(fd.get_ref(), buffer.initialize_unfilled()) {
                    // No program has the terminal open any more.
                    Err(Errno::IO) => Ok(0),
                    read => Ok(read?),
                }
            });
            if let Ok(read) = read {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Master {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            let written = ready.try_io(|fd| match rustix::io::write(fd.get_ref(), bytes) {
                Err(Errno::IO) => Err(io::ErrorKind::BrokenPipe.into()),
                written => Ok(written?),
            });
            if let Ok(written) = written {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

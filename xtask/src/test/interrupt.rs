//! Handles Ctrl-C: ends the tests and takes the lab down.

use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A descriptor that becomes readable, permanently, when the user asks to stop.
#[derive(Debug)]
pub(crate) struct Interrupt(PipeReader);

impl Interrupt {
    /// Starts to listen. From now on SIGINT, SIGTERM and SIGHUP no longer end this
    /// program, but a second SIGINT ends it at once.
    pub(crate) fn listen() -> Result<Self> {
        let (reader, writer) = std::io::pipe().context("failed to create a pipe")?;
        let asked = Arc::new(AtomicBool::new(false));
        // In this order: the first signal finds `asked` still false.
        signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&asked))
            .context("failed to listen for signals")?;
        signal_hook::flag::register(SIGINT, asked).context("failed to listen for signals")?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let writer = writer.try_clone().context("failed to share a pipe")?;
            signal_hook::low_level::pipe::register(signal, writer)
                .context("failed to listen for signals")?;
        }
        Ok(Self(reader))
    }

    pub(crate) fn happened(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Returns an interrupt that never happens.
    #[cfg(test)]
    pub(crate) fn never() -> (Self, std::io::PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        (Self(reader), writer)
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

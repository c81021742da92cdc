//! A terminal for a command, as a terminal emulator gives it one.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::check::until;
use crate::running::PATIENCE;

/// A terminal. Its output ends when no command has it open.
pub(crate) struct Terminal(OwnedFd);

const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

impl Terminal {
    pub(crate) fn new(columns: u16, rows: u16) -> Result<Self> {
        let master = openpt(FLAGS).context("failed to create a terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = Self(master);
        terminal.resize(columns, rows)?;
        Ok(terminal)
    }

    /// Returns an end for a command.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        Ok(ioctl_tiocgptpeer(&self.0, FLAGS)?)
    }

    /// Returns the end at which the output of a command arrives.
    pub(crate) fn master(&self) -> Result<File> {
        Ok(self.0.try_clone()?.into())
    }

    /// Sets the size. A command whose controlling terminal this is not needs a signal too.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.0, size)?)
    }

    pub(crate) fn types(&self, text: &str) -> Result<()> {
        Ok(self.master()?.write_all(text.as_bytes())?)
    }

    /// Whether each key is passed on at once, without an echo.
    pub(crate) fn is_raw(&self) -> Result<bool> {
        let modes = tcgetattr(&self.0)?.local_modes;
        Ok(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO))
    }

    /// Waits until a command has put the terminal into its raw mode.
    pub(crate) fn until_raw(&self) -> Result<()> {
        until(PATIENCE, "a raw terminal", || Ok(self.is_raw()?.then_some(())))
    }
}

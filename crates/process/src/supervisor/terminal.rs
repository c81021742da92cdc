//! The terminal of a job: a pseudo-terminal (pty(7)) of which the supervisor has the master.
//!
//! Other processes write to a pipe, as they do for a stdin ([`crate::stdin`]), and the supervisor passes
//! on what arrives: a master cannot be opened a second time.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use longshore_core::TerminalSize;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags};

use super::input::Input;
use crate::location::Location;
use crate::pty::{Pty, set_size};

/// How much is read from the pipe at once.
const BUFFER_BYTES: usize = 4096;

/// How many buffers are passed on before the supervisor handles other events.
const BUFFERS_AT_ONCE: usize = 16;

/// The terminal of a job.
pub(super) struct Terminal {
    pty: Pty,
    /// What other processes type, if the job has a stdin.
    keyboard: PipeReader,
    /// What was read from there and not written to the terminal yet.
    typed: Vec<u8>,
    /// The other end of the pipe. While it exists, the pipe has no end of file.
    _input: Input,
}

impl Terminal {
    /// Creates a terminal, and marks it for the processes that attach to it.
    pub(super) fn create(
        location: &Location,
        size: Option<TerminalSize>,
        takes_input: bool,
    ) -> io::Result<Self> {
        let pty = Pty::create(size)?;
        rustix::io::ioctl_fionbio(&pty.master, true)?;
        let (input, keyboard) = Input::of_terminal(location, takes_input)?;
        rustix::io::ioctl_fionbio(&keyboard, true)?;
        Ok(Self { pty, keyboard, typed: Vec::new(), _input: input })
    }

    /// Makes this the controlling terminal and the streams of `command`.
    pub(super) fn connect(&self, command: &mut Command) -> io::Result<()> {
        connect(command, self.pty.slave.try_clone()?)
    }

    /// Returns where the job's output arrives.
    pub(super) fn output(&self) -> io::Result<OwnedFd> {
        self.pty.master.try_clone()
    }

    pub(super) fn resize(&self, size: TerminalSize) {
        // The next size may succeed. A program that asks gets the one before.
        let _ = set_size(&self.pty.master, size);
    }

    /// Returns what to wait for, to [pass on](Self::pass_on) what is typed.
    pub(super) fn waits_for(&self) -> PollFd<'_> {
        let (fd, flags): (BorrowedFd<'_>, _) = if self.typed.is_empty() {
            (self.keyboard.as_fd(), PollFlags::IN)
        } else {
            (self.pty.master.as_fd(), PollFlags::OUT)
        };
        PollFd::from_borrowed_fd(fd, flags)
    }

    /// Passes on what is typed, as far as the job reads it.
    pub(super) fn pass_on(&mut self) {
        for _ in 0..BUFFERS_AT_ONCE {
            if self.typed.is_empty() {
                self.typed.reserve(BUFFER_BYTES);
                match rustix::io::read(&self.keyboard, spare_capacity(&mut self.typed)) {
                    Ok(count) if count > 0 => {}
                    _ => return,
                }
            }
            match rustix::io::write(&self.pty.master, &self.typed) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// Makes `terminal` the controlling terminal and the streams of `command`, in a session of its own.
#[expect(unsafe_code, reason = "only the child itself can begin a session")]
pub(super) fn connect(command: &mut Command, terminal: OwnedFd) -> io::Result<()> {
    command
        .stdin(Stdio::from(terminal.try_clone()?))
        .stdout(Stdio::from(terminal.try_clone()?))
        .stderr(Stdio::from(terminal));
    let begin_session = || -> io::Result<()> {
        rustix::process::setsid()?;
        // By now, this is the terminal.
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        Ok(())
    };
    // SAFETY: between fork and exec, `begin_session` makes only system calls. It takes no lock and
    // allocates nothing: an `io::Error` of a system call is only its number.
    unsafe { command.pre_exec(begin_session) };
    Ok(())
}

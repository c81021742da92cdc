//! The raw mode of this command's terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Whether the terminal is raw now.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// Returns the end of a line on the terminal as it is now: a raw one does not return the cursor.
pub fn end_of_line() -> &'static str {
    if IS_RAW.load(Ordering::Relaxed) { "\r\n" } else { "\n" }
}

/// The terminal that is raw now, and its mode before.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// The raw mode of this command's terminal, until dropped: each key is a byte for the job.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Enters it.
    ///
    /// # Errors
    /// If stdin is no terminal, or its mode cannot be changed.
    pub fn enter() -> io::Result<Self> {
        let terminal = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        if let Ok(mut slot) = BEFORE.lock() {
            *slot = Some((terminal, before));
        }
        IS_RAW.store(true, Ordering::Relaxed);
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        leave();
    }
}

/// Leaves the raw mode, if this command's terminal is in it: before this process ends in any other way
/// than by a return from `main`.
pub fn leave() {
    IS_RAW.store(false, Ordering::Relaxed);
    if let Some((terminal, before)) = BEFORE.lock().ok().and_then(|mut slot| slot.take()) {
        // Not `Drain`: its output may have no reader. If it is gone, nothing is left to restore.
        let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

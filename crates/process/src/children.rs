//! The supervisors that are children of this process. Their deaths are noticed by `SIGCHLD`, which
//! costs no descriptor, unlike a pidfd.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// All supervisors that this process has started and not reaped yet, by pid.
static SUPERVISORS: LazyLock<Mutex<HashMap<i32, OwnChild>>> = LazyLock::new(Mutex::default);

/// A child of this process. Its pid belongs to it until its death was noticed here.
#[derive(Clone, Debug)]
pub(crate) struct OwnChild(Arc<Mutex<Child>>);

#[derive(Debug)]
struct Child {
    pid: Pid,
    is_reaped: bool,
}

impl OwnChild {
    /// Returns the supervisor `pid`, if this process has started it and it is not reaped.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        SUPERVISORS.lock().get(&pid).cloned()
    }

    /// Reaps the child if it is dead. Returns whether it is.
    fn is_dead(&self) -> io::Result<bool> {
        let mut child = self.0.lock();
        if child.is_reaped {
            return Ok(true);
        }
        match waitpid(Some(child.pid), WaitOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => return Ok(false),
            Ok(Some(_)) => {}
            // Another part of this program has reaped it, or the kernel, since it ignores SIGCHLD.
            Err(Errno::CHILD) => {}
            Err(error) => return Err(error.into()),
        }
        child.is_reaped = true;
        let pid = child.pid.as_raw_nonzero().get();
        // From here on, the pid may belong to a later child.
        let mut supervisors = SUPERVISORS.lock();
        if supervisors.get(&pid).is_some_and(|it| Arc::ptr_eq(&it.0, &self.0)) {
            supervisors.remove(&pid);
        }
        Ok(true)
    }

    /// Kills the child, if it is not reaped yet.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let child = self.0.lock();
        if !child.is_reaped {
            kill_process(child.pid, Signal::KILL)?;
        }
        Ok(())
    }

    /// Returns once the child is dead and reaped.
    pub(crate) async fn death(&self) -> io::Result<()> {
        // Before the first look, so that no death is missed in between.
        let mut ended = signal(SignalKind::child())?;
        while !self.is_dead()? {
            if ended.recv().await.is_none() {
                // The runtime ends.
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }
}

/// Reaps the child `pid` when it ends. Must be called in a runtime.
pub(crate) fn keep(pid: Pid) -> OwnChild {
    let child = OwnChild(Arc::new(Mutex::new(Child { pid, is_reaped: false })));
    SUPERVISORS.lock().insert(pid.as_raw_nonzero().get(), child.clone());
    let reaped = child.clone();
    tokio::spawn(async move {
        if let Err(error) = reaped.death().await {
            tracing::warn!(%pid, %error, "failed to wait for a supervisor");
        }
    });
    child
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_child_that_another_part_of_the_program_reaps_is_dead() {
        let mut child = Command::new("true").spawn().unwrap();
        let kept = OwnChild(Arc::new(Mutex::new(Child {
            pid: Pid::from_child(&child),
            is_reaped: false,
        })));
        child.wait().unwrap();
        kept.death().await.unwrap();
        kept.kill().unwrap();
    }
}

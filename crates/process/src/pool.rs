//! The supervisors that this process has started. There is one per running job; they are reused.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use longshore_core::{Error, ErrorKind, Result};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::fork_server::ForkServer;
use crate::limits;
use crate::outcome::RefusalKind;
use crate::releases::Occupied;
use crate::supervisor::is_initialised;
use crate::wire::Answer;

/// The supervisors of one runner.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    slots: Arc<Semaphore>,
    slot_count: usize,
    idle_timeout: Duration,
    fork_server: ForkServer,
}

/// Supervisors without a job, the longest idle first.
#[derive(Debug, Default)]
struct Idle {
    supervisors: Vec<(Instant, Connection)>,
    /// Whether a task releases the supervisors that stay unused.
    swept: bool,
}

/// A supervisor that is reserved for one job. If it is dropped, it ends once its job has ended.
#[derive(Debug)]
pub(crate) struct Supervisor {
    connection: Connection,
    // Held while the job runs.
    _slot: OwnedSemaphorePermit,
}

impl Supervisor {
    /// Sends an encoded request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.connection.send(request).await
    }

    /// Returns the next answer. If the future is dropped midway, the supervisor is no longer
    /// usable.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        self.connection.answer().await
    }
}

impl Pool {
    pub(crate) fn new(slots: usize, idle_timeout: Duration) -> Arc<Self> {
        let slot_count = slots.min(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(slot_count));
        let fork_server = ForkServer::default();
        Arc::new(Self { idle: Mutex::default(), slots, slot_count, idle_timeout, fork_server })
    }

    /// Returns a supervisor without a job. Starts a new one if necessary.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Supervisor> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Error::new(ErrorKind::Saturated, "all slots for local processes are taken")
        })?;
        let running = self.slot_count.saturating_sub(self.slots.available_permits());
        if let Some(message) = limits::lack_of_descriptors(running) {
            return Err(Error::new(ErrorKind::Saturated, message));
        }
        while let Some((_, connection)) = self.idle().supervisors.pop() {
            // A supervisor that was killed meanwhile has closed its end.
            if connection.is_open() {
                return Ok(Supervisor { connection, _slot: slot });
            }
        }
        let connection = self.start(running).await?;
        Ok(Supervisor { connection, _slot: slot })
    }

    /// Starts a supervisor, while jobs with their slots are `running`: that of the new one included.
    async fn start(self: &Arc<Self>, running: usize) -> Result<Connection> {
        // Without this check, a program would run its own main again and again.
        if let Some(error) = obstacle() {
            return Err(error);
        }
        // One supervisor alone has nobody to share its memory with, and starts faster by itself.
        if running > 1 {
            let pool = Arc::clone(self);
            // A task of its own, which goes on if the caller is dropped: see `Connection::forked`.
            let forking = tokio::spawn(async move { pool.fork_server.fork().await });
            if let Ok(Some(connection)) = forking.await {
                return Ok(connection);
            }
        }
        execute()
    }

    /// Takes back a supervisor that has no job.
    pub(crate) fn put(self: &Arc<Self>, supervisor: Supervisor) {
        let mut idle = self.idle();
        idle.supervisors.push((Instant::now(), supervisor.connection));
        if !idle.swept {
            idle.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }

    /// Takes back a supervisor once its job is gone, and then drops `occupied`.
    pub(crate) fn put_when_drained(
        self: &Arc<Self>,
        mut supervisor: Supervisor,
        occupied: Occupied,
    ) {
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            if let Ok(Answer::Drained) = supervisor.answer().await
                && let Some(pool) = pool.upgrade()
            {
                pool.put(supervisor);
            }
            drop(occupied);
        });
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock()
    }
}

/// Releases supervisors that were idle for `timeout`, until none is left.
async fn sweep(pool: Weak<Pool>, timeout: Duration) {
    loop {
        tokio::time::sleep(timeout).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        idle.supervisors.retain(|(since, _)| since.elapsed() < timeout);
        if idle.supervisors.is_empty() {
            idle.swept = false;
            pool.fork_server.release();
            return;
        }
    }
}

/// Returns why this program cannot start supervisors, or `None` if it can.
pub(crate) fn obstacle() -> Option<Error> {
    (!is_initialised()).then(|| {
        Error::new(
            ErrorKind::Unavailable,
            "this program cannot run local processes: call longshore::init() at the start of \
             its main function",
        )
    })
}

/// Starts this program as a supervisor and returns our end of the connection.
fn execute() -> Result<Connection> {
    Connection::start(&[]).map_err(|error| {
        // A lack of descriptors, processes or memory may pass.
        let kind = RefusalKind::of_spawn(&error).error_kind();
        let saturated = kind == ErrorKind::Saturated;
        let kind = if saturated { kind } else { ErrorKind::Unavailable };
        Error::new(kind, "failed to start a supervisor").caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_program_without_init_names_the_function_of_the_facade() {
        let error = obstacle().expect("the test harness does not call it");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("call longshore::init() at the start"), "{error}");
    }
}

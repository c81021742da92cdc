//! Checkpoints: moving what the write-ahead log holds into the database.
//!
//! A process that opens the journal alone reads the whole log first, so a long log slows down every
//! command. SQLite makes a checkpoint when the last connection is closed, but a command ends without
//! closing its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::database::Database;
use crate::error::Result;

/// The number of pages that are added to the log from one checkpoint to the next.
const INTERVAL: i32 = 256;
/// The length of the log, in pages, at which writes wait for a checkpoint. SQLite begins the log anew
/// only after a checkpoint of all of it, which never happens beside a thread that always writes.
const LONGEST: i32 = 8 * INTERVAL;

/// Makes the checkpoints of one journal, after commits of the connection that writes.
pub(crate) struct Checkpoints {
    /// The length of the log, in pages, after the last commit, whichever process wrote them.
    pages: Arc<AtomicI32>,
    /// The length at which the next checkpoint is due.
    due_at: i32,
    /// Whether this process has made a checkpoint.
    made: bool,
    /// Locked during a checkpoint: SQLite skips one of two at once.
    making: Arc<Mutex<()>>,
    thread: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Checkpoints {
    /// Replaces SQLite's own checkpoints of `database`.
    pub(crate) fn of(database: &mut Database) -> Self {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        let hook = move |_: &mut _, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        if let Err(error) = database.connection.wal_hook(Some(hook)) {
            tracing::debug!(%error, "SQLite makes the checkpoints, as the journal's were refused");
        }
        Self { pages, due_at: INTERVAL, made: false, making: Arc::default(), thread: None }
    }

    /// Makes a checkpoint if the last commit has made the log too long.
    ///
    /// The first one is made here, because a command may end before another thread is done with it.
    /// The later ones have a thread of their own, because they wait for the disk, unlike steps. That
    /// thread falls behind if steps come without a pause; the next one is then made here again.
    pub(crate) fn committed(&mut self, database: &Database) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < INTERVAL {
            self.due_at = INTERVAL;
        } else if pages >= self.due_at {
            self.due_at = pages.saturating_add(INTERVAL);
            if self.made && pages < LONGEST {
                self.request(database);
            } else {
                self.made = true;
                checkpoint(database, &self.making);
            }
        }
    }

    fn request(&mut self, database: &Database) {
        if let Some((thread, _)) = self.thread.as_ref().filter(|(thread, _)| !thread.is_closed()) {
            // A full queue means that a checkpoint is requested already, which is enough.
            let _ = thread.try_send(());
            return;
        }
        let (thread, requests) = mpsc::channel(1);
        let _ = thread.try_send(());
        let (another, making) = (database.another(), Arc::clone(&self.making));
        let serve = move || serve(another, requests, &making);
        let spawn = thread::Builder::new().name("longshore-journal-save".to_owned()).spawn(serve);
        match spawn {
            Ok(handle) => self.thread = Some((thread, handle)),
            Err(error) => tracing::debug!(%error, "failed to start the thread for checkpoints"),
        }
    }
}

impl Drop for Checkpoints {
    /// Waits until the thread has closed its connection. SQLite merges the log when the last
    /// connection is closed, and of two that are closed at the same time, neither may be the last.
    fn drop(&mut self) {
        if let Some((thread, handle)) = self.thread.take() {
            drop(thread);
            // A panic of that thread is not this one's.
            let _ = handle.join();
        }
    }
}

fn serve(
    open: impl FnOnce() -> Result<Database>,
    mut requests: mpsc::Receiver<()>,
    making: &Mutex<()>,
) {
    let database = match open() {
        Ok(database) => database,
        Err(error) => return tracing::debug!(%error, "failed to open the journal for a checkpoint"),
    };
    while requests.blocking_recv().is_some() {
        checkpoint(&database, making);
    }
}

/// Waits for another checkpoint of this process, but never for a writer or reader. What fails is left
/// to the next checkpoint.
fn checkpoint(database: &Database, making: &Mutex<()>) {
    let _alone = making.lock();
    let made = database.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = made {
        tracing::debug!(%error, "failed to checkpoint the journal");
    }
}

//! The threads that use the file: one writes, one reads, one makes checkpoints.
//!
//! Writes that wait at the same time become one transaction. Each caller receives its answer after
//! the commit.

use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::database::Database;
use crate::error::{Cause, JournalError, Result, StoreError};
use crate::folder::Folder;
use crate::reserve::Reserve;
use crate::write::Stored;

/// How many steps each thread's queue holds before the next caller waits.
const QUEUE: usize = 1024;
/// The maximum number of steps in one transaction, so that none waits long for its answer.
const BATCH: usize = 256;
/// The number of steps after which a checkpoint is due. A checkpoint waits for the disk, unlike a
/// step, and so has its own thread.
const CHECKPOINT: usize = 512;

/// A queued step.
pub(crate) trait Step: Send {
    /// Runs the step, and returns whether it succeeded.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Answers the caller with the step's result, or with the reason why nothing of it was kept.
    fn answer(self: Box<Self>, database: &Database, kept: std::result::Result<(), JournalError>);
}

struct Pending<F, T> {
    work: Option<F>,
    done: Option<Stored<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Step for Pending<F, T>
where
    F: FnOnce(&Connection) -> Stored<T> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.done = self.work.take().map(|work| work(connection));
        matches!(self.done, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, database: &Database, kept: Result<()>) {
        let answer = match (self.done, kept) {
            (Some(Err(error)), _) => Err(database.explain(error)),
            (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(JournalError::Closed),
        };
        // A caller that is gone needs no answer.
        let _ = self.reply.send(answer);
    }
}

/// Runs steps on the file, or on a database in memory.
#[derive(Debug)]
pub(crate) enum Worker {
    Threads {
        /// The queue of the thread that writes.
        writes: mpsc::Sender<Box<dyn Step>>,
        /// The queue of the thread that reads.
        reads: mpsc::Sender<Box<dyn Step>>,
    },
    /// Runs at once on the caller's thread, so that the result depends on no other thread's timing.
    Inline(Mutex<Database>),
}

impl std::fmt::Debug for dyn Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl Worker {
    /// Opens the database in `folder` and starts the threads.
    ///
    /// When this is dropped, the threads finish their queues and end. `inspect` reads the open file
    /// first.
    pub(crate) async fn open<T: Send + 'static>(
        folder: &Folder,
        busy_timeout: Duration,
        inspect: fn(&Database) -> Result<T>,
    ) -> Result<(Self, T)> {
        let path = &*folder.database;
        let at = path.to_owned();
        let open = move || {
            let database = Database::open(&at, busy_timeout)?;
            let found = inspect(&database)?;
            Ok((database, found))
        };
        let (due, checkpoints) = mpsc::channel(1);
        let (writes, queue) = mpsc::channel(QUEUE);
        let reserve = folder.reserve.clone();
        let write = move |database: &Database| write_all(database, queue, &due, &reserve);
        let found = thread("longshore-journal", path, open, write).await?;
        let at = path.to_owned();
        let open = move || Ok((Database::open_reader(&at, busy_timeout)?, ()));
        let (reads, queue) = mpsc::channel(QUEUE);
        thread("longshore-journal-read", path, open, move |db| read_all(db, queue)).await?;
        let at = path.to_owned();
        let open = move || Ok((Database::connect(&at, busy_timeout)?, ()));
        let save = move |database: &Database| checkpoint_all(database, checkpoints);
        thread("longshore-journal-save", path, open, save).await?;
        Ok((Self::Threads { writes, reads }, found))
    }

    /// Runs `work` in a transaction and returns once it is committed.
    ///
    /// `work` runs even if the caller drops the future meanwhile.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Threads { writes, .. } => ask(writes, work).await,
            Self::Inline(database) => inline(database, work, commit),
        }
    }

    /// Runs `work` on one state of the file, which does not change meanwhile.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Threads { reads, .. } => ask(reads, work).await,
            Self::Inline(database) => inline(database, work, commit),
        }
    }
}

async fn ask<T: Send + 'static>(
    queue: &mpsc::Sender<Box<dyn Step>>,
    work: impl FnOnce(&Connection) -> Stored<T> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    let step = Box::new(Pending { work: Some(work), done: None, reply });
    queue.send(step).await.map_err(|_| JournalError::Closed)?;
    answer.await.unwrap_or(Err(JournalError::Closed))
}

fn inline<T: Send>(
    database: &Mutex<Database>,
    work: impl FnOnce(&Connection) -> Stored<T> + Send,
    run: fn(&Database, Vec<Box<dyn Step + '_>>),
) -> Result<T> {
    let database = database.lock();
    let (reply, mut answer) = oneshot::channel();
    run(&database, vec![Box::new(Pending { work: Some(work), done: None, reply })]);
    answer.try_recv().unwrap_or(Err(JournalError::Closed))
}

/// Starts a thread that opens a database and then works with it; returns once it is open.
async fn thread<T: Send + 'static>(
    name: &str,
    path: &Path,
    open: impl FnOnce() -> Result<(Database, T)> + Send + 'static,
    work: impl FnOnce(&Database) + Send + 'static,
) -> Result<T> {
    let (ready, opened) = oneshot::channel();
    let run = move || match open() {
        Ok((database, found)) => {
            // If the caller is gone, the queue is closed too.
            let _ = ready.send(Ok(found));
            work(&database);
        }
        Err(error) => drop(ready.send(Err(error))),
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| JournalError::Io { path: path.into(), source: Cause::new(error) })?;
    opened.await.unwrap_or(Err(JournalError::Closed))
}

fn write_all(
    database: &Database,
    mut queue: mpsc::Receiver<Box<dyn Step>>,
    checkpoint: &mpsc::Sender<()>,
    reserve: &Reserve,
) {
    let mut steps = 0;
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        steps += batch.len();
        reserve.release_if_full();
        commit(database, batch);
        if steps >= CHECKPOINT {
            steps = 0;
            // A full channel means that a checkpoint is already due, which is enough.
            let _ = checkpoint.try_send(());
        }
    }
}

fn checkpoint_all(database: &Database, mut due: mpsc::Receiver<()>) {
    while due.blocking_recv().is_some() {
        // Never waits for a writer or reader. A failed checkpoint is tried again later.
        let done = database.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::debug!(%error, "failed to checkpoint the journal");
        }
    }
}

fn read_all(database: &Database, mut queue: mpsc::Receiver<Box<dyn Step>>) {
    while let Some(mut step) = queue.blocking_recv() {
        let kept = snapshot(database, step.as_mut());
        step.answer(database, kept.map_err(|error| database.explain(error.into())));
    }
}

fn snapshot(database: &Database, step: &mut dyn Step) -> rusqlite::Result<()> {
    execute(database, "BEGIN")?;
    step.run(&database.connection);
    execute(database, "COMMIT")
}

fn execute(database: &Database, sql: &str) -> rusqlite::Result<()> {
    database.connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Runs all steps in one transaction.
///
/// A failed step leaves nothing behind and does not affect the others. A failed commit fails all
/// steps.
fn commit(database: &Database, mut batch: Vec<Box<dyn Step + '_>>) {
    let kept = transact(database, &mut batch).map_err(|error| {
        if !database.connection.is_autocommit()
            && let Err(error) = execute(database, "ROLLBACK")
        {
            tracing::warn!(%error, "failed to roll the journal back");
        }
        database.explain(StoreError::Sqlite(error))
    });
    for step in batch {
        step.answer(database, kept.clone());
    }
}

fn transact(database: &Database, batch: &mut [Box<dyn Step + '_>]) -> rusqlite::Result<()> {
    execute(database, "BEGIN IMMEDIATE")?;
    for step in batch {
        execute(database, "SAVEPOINT step")?;
        if !step.run(&database.connection) {
            // Fails if the step's failure rolled back the transaction. Then the whole batch fails.
            execute(database, "ROLLBACK TO step")?;
        }
        execute(database, "RELEASE step")?;
    }
    execute(database, "COMMIT")
}

//! The threads that use the file: one writes, and one reads once there are many reads.
//!
//! Writes that wait at the same time become one transaction. Each caller receives its answer after
//! the commit. The first reads are done by the thread that writes: a second thread with its own
//! connection costs more than all reads of a command.

use std::convert;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OnceCell, mpsc, oneshot};

use longshore_core::Cause;

use super::checkpoint::Checkpoints;
use super::database::Database;
use super::tables::Tables;
use crate::error::{JournalError, Result, StoreError};
use crate::files::{Folder, Reserve};
use crate::store::{Store, Stored};

/// How many steps each thread's queue holds before the next caller waits.
const QUEUE: usize = 1024;
/// The maximum number of steps in one transaction, so that none waits long for its answer.
const BATCH: usize = 256;
/// How many reads the thread that writes does, so that no write waits for many of them: more than a
/// command has.
const FIRST_READS: usize = 16;

/// A queued step.
pub(crate) trait Step: Send {
    /// Runs the step, and returns whether it succeeded.
    fn run(&mut self, store: &mut dyn Store) -> bool;
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
    F: FnOnce(&mut dyn Store) -> Stored<T> + Send,
    T: Send,
{
    fn run(&mut self, store: &mut dyn Store) -> bool {
        self.done = self.work.take().map(|work| work(store));
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

/// Runs steps on the file.
#[derive(Debug)]
pub(crate) struct Worker {
    /// The queue of the thread that writes.
    writes: mpsc::Sender<Task>,
    /// The thread that reads.
    reads: Reader,
    /// The number of reads so far.
    read: AtomicUsize,
}

/// What the thread that writes is to do.
#[derive(Debug)]
enum Task {
    Write(Box<dyn Step>),
    Read(Box<dyn Step>),
}

/// The thread that reads. It starts after the first [`FIRST_READS`].
#[derive(Debug)]
pub(crate) struct Reader {
    database: PathBuf,
    busy_timeout: Duration,
    queue: OnceCell<mpsc::Sender<Box<dyn Step>>>,
}

impl Reader {
    async fn queue(&self) -> Result<&mpsc::Sender<Box<dyn Step>>> {
        let start = async || {
            let (at, busy_timeout) = (self.database.clone(), self.busy_timeout);
            let open = move || Ok((Database::open_reader(&at, busy_timeout)?, ()));
            let (queue, steps) = mpsc::channel(QUEUE);
            let read = move |database: &mut Database| read_all(database, steps);
            thread("longshore-journal-read", &self.database, open, read).await?;
            Ok(queue)
        };
        self.queue.get_or_try_init(start).await
    }
}

impl std::fmt::Debug for dyn Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl Worker {
    /// Opens the database in `folder` and starts the thread that writes.
    ///
    /// When this is dropped, the threads finish their queues and end. `inspect` reads the open file
    /// first.
    pub(crate) async fn open<T: Send + 'static>(
        folder: &Folder,
        busy_timeout: Duration,
        inspect: fn(&Database) -> Result<T>,
    ) -> Result<(Self, T)> {
        let path = folder.database();
        let at = path.to_owned();
        let open = move || {
            let database = Database::open(&at, busy_timeout)?;
            let found = inspect(&database)?;
            Ok((database, found))
        };
        let (writes, queue) = mpsc::channel(QUEUE);
        let reserve = folder.reserve.clone();
        let write = move |database: &mut Database| write_all(database, queue, &reserve);
        let found = thread("longshore-journal", path, open, write).await?;
        let (database, queue) = (path.to_owned(), OnceCell::new());
        let reads = Reader { database, busy_timeout, queue };
        Ok((Self { writes, reads, read: AtomicUsize::new(0) }, found))
    }

    /// Runs `work` in a transaction and returns once it is committed.
    ///
    /// `work` runs even if the caller drops the future meanwhile.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        ask(&self.writes, Task::Write, work).await
    }

    /// Runs `work` on one state of the file, which does not change meanwhile.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        let is_early = self.read.fetch_add(1, Ordering::Relaxed) < FIRST_READS;
        if is_early {
            return ask(&self.writes, Task::Read, work).await;
        }
        ask(self.reads.queue().await?, convert::identity, work).await
    }
}

async fn ask<Q, T: Send + 'static>(
    queue: &mpsc::Sender<Q>,
    task: impl FnOnce(Box<dyn Step>) -> Q,
    work: impl FnOnce(&mut dyn Store) -> Stored<T> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    let step = Box::new(Pending { work: Some(work), done: None, reply });
    queue.send(task(step)).await.map_err(|_| JournalError::Closed)?;
    answer.await.unwrap_or(Err(JournalError::Closed))
}

/// Starts a thread that opens a database and then works with it; returns once it is open.
async fn thread<T: Send + 'static>(
    name: &str,
    path: &Path,
    open: impl FnOnce() -> Result<(Database, T)> + Send + 'static,
    work: impl FnOnce(&mut Database) + Send + 'static,
) -> Result<T> {
    let (ready, opened) = oneshot::channel();
    let run = move || match open() {
        Ok((mut database, found)) => {
            // If the caller is gone, the queue is closed too.
            let _ = ready.send(Ok(found));
            work(&mut database);
        }
        Err(error) => drop(ready.send(Err(error))),
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| JournalError::Io { path: path.into(), source: Cause::new(error) })?;
    opened.await.unwrap_or(Err(JournalError::Closed))
}

fn write_all(database: &mut Database, mut queue: mpsc::Receiver<Task>, reserve: &Reserve) {
    let mut checkpoints = Checkpoints::of(database);
    while let Some(first) = queue.blocking_recv() {
        let mut batch = Vec::new();
        let mut next = Some(first);
        while let Some(task) = next {
            match task {
                Task::Write(step) => batch.push(step),
                Task::Read(step) => read(database, step),
            }
            next = if batch.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        if !batch.is_empty() {
            reserve.release_if_full();
            commit(database, batch);
            checkpoints.committed(database);
        }
    }
}

fn read_all(database: &Database, mut queue: mpsc::Receiver<Box<dyn Step>>) {
    while let Some(step) = queue.blocking_recv() {
        read(database, step);
    }
}

fn read(database: &Database, mut step: Box<dyn Step>) {
    let kept = snapshot(database, step.as_mut());
    step.answer(database, kept.map_err(|error| database.explain(error.into())));
}

fn snapshot(database: &Database, step: &mut dyn Step) -> rusqlite::Result<()> {
    execute(database, "BEGIN")?;
    step.run(&mut Tables(&database.connection));
    execute(database, "COMMIT")
}

fn execute(database: &Database, sql: &str) -> rusqlite::Result<()> {
    database.connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Runs all steps in one transaction.
///
/// A failed step leaves nothing behind and does not affect the others. A failed commit fails all
/// steps.
fn commit(database: &Database, mut batch: Vec<Box<dyn Step>>) {
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

fn transact(database: &Database, batch: &mut [Box<dyn Step>]) -> rusqlite::Result<()> {
    execute(database, "BEGIN IMMEDIATE")?;
    let mut tables = Tables(&database.connection);
    if let [step] = batch {
        // Alone, as those of a command are, it needs no savepoint, for which SQLite copies each page.
        let end = if step.run(&mut tables) { "COMMIT" } else { "ROLLBACK" };
        return execute(database, end);
    }
    for step in batch {
        execute(database, "SAVEPOINT step")?;
        if !step.run(&mut tables) {
            // Fails if the step's failure rolled back the transaction. Then the whole batch fails.
            execute(database, "ROLLBACK TO step")?;
        }
        execute(database, "RELEASE step")?;
    }
    execute(database, "COMMIT")
}

//! The dispatcher's journal. It is opened on first use, so that a command that only reads the
//! configuration leaves nothing behind.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use longshore_core::{Error, JobId};
use longshore_journal::Journal;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use crate::cancel::Canceller;
use crate::unrecorded::unrecorded;

/// Where the journal is.
#[derive(Clone, Debug, Default)]
pub(crate) enum JournalSource {
    /// In memory: a job is forgotten once it is done.
    #[default]
    Memory,
    /// In this state directory.
    #[cfg(feature = "sqlite")]
    Folder(PathBuf),
    /// Opened by the caller.
    Open(Journal),
}

/// The journal, and the jobs of this process to which requests in it may apply.
#[derive(Debug)]
pub(crate) struct Store {
    source: JournalSource,
    retention: Duration,
    journal: OnceCell<Journal>,
    in_flight: Arc<InFlight>,
    _listening: DropGuard,
    stop: CancellationToken,
}

/// The jobs that this process owns, each with all to which requests to cancel it apply: a second
/// submission with the same id has one of its own until it is refused.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashMap<JobId, Vec<Canceller>>>);

/// Marks a job as owned by this process until dropped.
#[derive(Debug)]
pub(crate) struct Held {
    in_flight: Arc<InFlight>,
    job: JobId,
    canceller: Canceller,
}

impl InFlight {
    fn cancel(&self, job: &JobId, grace: Duration) {
        let cancellers = self.0.lock().get(job).cloned().unwrap_or_default();
        for canceller in cancellers {
            canceller.cancel_within(grace);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Entry::Occupied(mut held) = self.in_flight.0.lock().entry(self.job.clone()) {
            held.get_mut().retain(|canceller| !canceller.is_same(&self.canceller));
            if held.get().is_empty() {
                held.remove();
            }
        }
    }
}

impl Store {
    pub(crate) fn new(source: JournalSource, retention: Duration) -> Self {
        let stop = CancellationToken::new();
        Self {
            source,
            retention,
            journal: OnceCell::new(),
            in_flight: Arc::default(),
            _listening: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Whether a job's record is deleted once nothing of it is left on any backend.
    pub(crate) const fn forgets(&self) -> bool {
        matches!(self.source, JournalSource::Memory)
    }

    /// Returns the journal. Opens it on first use.
    ///
    /// # Errors
    /// `Internal` if it cannot be opened; the error contains the path and what to do.
    pub(crate) async fn journal(&self) -> Result<&Journal, Error> {
        self.journal.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Journal, Error> {
        let journal = match &self.source {
            JournalSource::Memory => return Journal::in_memory().map_err(unrecorded),
            #[cfg(feature = "sqlite")]
            JournalSource::Folder(path) => {
                Journal::open(path, longshore_journal::Options::default())
                    .await
                    .map_err(unrecorded)?
            }
            JournalSource::Open(journal) => journal.clone(),
        };
        let listening = listen(journal.clone(), Arc::clone(&self.in_flight));
        let tidying = tidy(journal.clone(), self.retention);
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            tokio::join!(listening, tidying);
        }));
        Ok(journal)
    }

    /// Marks `job` as owned by this process: requests to cancel it reach `canceller`.
    pub(crate) fn hold(&self, job: &JobId, canceller: &Canceller) -> Held {
        let (job, canceller) = (job.clone(), canceller.clone());
        self.in_flight.0.lock().entry(job.clone()).or_default().push(canceller.clone());
        Held { in_flight: Arc::clone(&self.in_flight), job, canceller }
    }

    /// Cancels `job` if this process owns it.
    pub(crate) fn cancel_held(&self, job: &JobId, grace: Duration) {
        self.in_flight.cancel(job, grace);
    }
}

/// Passes on the requests of other processes, forever.
async fn listen(journal: Journal, in_flight: Arc<InFlight>) {
    let mut cancels = match journal.cancels() {
        Ok(cancels) => cancels,
        Err(error) => {
            warn!(%error, "other processes cannot cancel this one's jobs");
            return;
        }
    };
    while let Some(request) = cancels.next().await {
        match request {
            Ok(request) => in_flight.cancel(&request.job, request.grace),
            Err(error) => warn!(%error, "failed to receive a request to cancel a job"),
        }
    }
}

/// Deletes the records of jobs that were over long ago.
async fn tidy(journal: Journal, retention: Duration) {
    if let Err(error) = journal.sweep(retention, Timestamp::now()).await {
        warn!(%error, "failed to delete the records of old jobs");
    }
}

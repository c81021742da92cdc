//! A job in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use longshore_core::{Error, ImageReport, JobId, JobResult, PassedOver};
use rusqlite::Connection;

use crate::error::Result;
use crate::journal::{Inner, Journal};
use crate::locks::Lock;
use crate::record::{NewAttempt, Record};
use crate::signals::Topic;
use crate::write::{self, Stored};

/// A job in hand: nobody else, in this process or another, has a claim on it. All that is recorded
/// of a job goes through its claim, and whoever settles, adopts, follows or removes it needs one.
///
/// Free again when dropped, and at once when its process dies, also by kill -9. Each method returns
/// once its step is on record as [`Journal`] says; dropped before it returns, the step may be on
/// record or not, and the claim is held until that is decided.
#[derive(Debug)]
pub struct Claim {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    job: JobId,
    journal: Arc<Inner>,
    /// None only while it is dropped.
    lock: Option<Lock>,
    /// Whether the outcome is known to be on record.
    ended: AtomicBool,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lock = None;
        if !self.ended.load(Ordering::Relaxed)
            && let Err(error) = self.journal.signals.tell(Topic::Release)
        {
            tracing::warn!(job = %self.job, %error, "failed to tell that a job is free");
        }
    }
}

impl Claim {
    pub(crate) fn new(journal: Arc<Inner>, job: JobId, lock: Lock) -> Self {
        let ended = AtomicBool::new(false);
        Self { held: Arc::new(Held { job, journal, lock: Some(lock), ended }) }
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> &JobId {
        &self.held.job
    }

    /// What is on record of it.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn record(&self) -> Result<Record> {
        Journal::from(&self.held.journal).record(self.job()).await
    }

    /// Records, before a launch, that `attempt` may from now on be on its runner.
    ///
    /// # Errors
    /// `OutOfOrder` if the job has ended, or an attempt before it is not on record as refused: no
    /// two may run. `WrongAttempt` if the number is not greater than all before it, or the handle is
    /// not that of this attempt.
    pub async fn intent(&self, attempt: NewAttempt) -> Result<()> {
        let now = Timestamp::now();
        self.write(move |db, job| write::intent(db, job, &attempt, now)).await
    }

    /// Records that attempt `number` has started, with what is known of it, and tells who waits for
    /// it. Said again, it adds what was not known before and replaces what was.
    ///
    /// # Errors
    /// `OutOfOrder` if it is not the last attempt, or was refused, or the job has ended.
    pub async fn started(
        &self,
        number: u32,
        started_at: Option<Timestamp>,
        image: Option<&ImageReport>,
    ) -> Result<()> {
        let image = image.cloned();
        self.write(move |db, job| write::started(db, job, number, started_at, image.as_ref()))
            .await?;
        if let Err(error) = self.held.journal.signals.tell(Topic::Start) {
            tracing::warn!(job = %self.job(), %error, "failed to tell that a job has started");
        }
        Ok(())
    }

    /// Records that it is proven that attempt `number` never started and never can, and why. Said
    /// again, the first reason stays.
    ///
    /// # Errors
    /// `OutOfOrder` if it is not the last attempt, or has started, or the job has ended.
    pub async fn refused(&self, number: u32, error: &Error) -> Result<()> {
        let (kind, message) = (error.kind().name(), error.to_string());
        self.write(move |db, job| write::refused(db, job, number, kind, &message)).await
    }

    /// Adds a runner that was passed over.
    ///
    /// # Errors
    /// `OutOfOrder` if the job has ended.
    pub async fn passed_over(&self, passed: &PassedOver) -> Result<()> {
        let passed = passed.clone();
        self.write(move |db, job| write::passed_over(db, job, &passed)).await
    }

    /// Records what became of the job, once, and tells who waits for it. Said again with the same
    /// result, it changes nothing.
    ///
    /// # Errors
    /// `OutcomeDiffers` if another one is on record, which stays; `OutOfOrder` if the result is that
    /// of another job.
    pub async fn outcome(&self, result: &JobResult) -> Result<()> {
        let result = result.clone();
        let now = Timestamp::now();
        self.write(move |db, job| write::outcome(db, job, &result, now)).await?;
        self.held.ended.store(true, Ordering::Relaxed);
        if let Err(error) = self.held.journal.signals.tell(Topic::End) {
            tracing::warn!(job = %self.job(), %error, "failed to tell that a job has ended");
        }
        Ok(())
    }

    /// Records that nothing of the job is left on any backend. The first time stays.
    ///
    /// # Errors
    /// `OutOfOrder` if it has no outcome yet.
    pub async fn removed(&self) -> Result<()> {
        let now = Timestamp::now();
        self.write(move |db, job| write::removed(db, job, now)).await
    }

    /// Ends the record. Its idempotency key is free again; the claim itself is good for nothing more.
    ///
    /// # Errors
    /// `OutOfOrder` if it is not recorded that nothing of the job is left.
    pub async fn forget(&self) -> Result<()> {
        self.write(write::forget).await?;
        // Nobody waits for a job that nobody knows.
        self.held.ended.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &JobId) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        let held = Arc::clone(&self.held);
        // Kept to the commit, also if the caller goes away.
        let step = move |db: &Connection| work(db, &held.job).map(|value| (value, held));
        let (value, _) = self.held.journal.worker.write(step).await?;
        Ok(value)
    }
}

//! The claim on a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use longshore_core::{Error, ImageReport, InstallationId, JobId, JobResult, JobSpec, PassedOver};

use crate::error::Result;
use crate::journal::{Inner, Journal};
use crate::locks::Lock;
use crate::record::{NewAttempt, NewJob, Record};
use crate::rules;
use crate::store::{Store, Stored};
use crate::topic::Topic;

/// The exclusive right to a job: no other claim on it exists, in this process or another.
///
/// Every record about a job is written through its claim. Settling, adopting, following or removing
/// a job requires a claim.
///
/// The claim is freed when it is dropped, and at once when its process dies, even by kill -9. Each
/// method returns once its step is on record, as [`Journal`] describes. If a method's future is
/// dropped before it returns, the step may or may not be on record, and the claim is held until
/// that is decided.
#[derive(Debug)]
pub struct Claim {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    job: JobId,
    journal: Arc<Inner>,
    /// `None` only during the drop.
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
            tracing::warn!(job = %self.job, %error, "failed to signal that a job is free");
        }
    }
}

impl Claim {
    pub(crate) fn new(journal: Arc<Inner>, job: JobId, lock: Lock) -> Self {
        let ended = AtomicBool::new(false);
        Self { held: Arc::new(Held { job, journal, lock: Some(lock), ended }) }
    }

    /// Returns the job.
    #[must_use]
    pub fn job(&self) -> &JobId {
        &self.held.job
    }

    /// Returns the job's record.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn record(&self) -> Result<Record> {
        Journal::from(&self.held.journal).record(self.job()).await
    }

    /// Records a job of which only `attempt` is known, because it was found on its backend and has
    /// no record. The job is on record as submitted now, with an empty specification, and its
    /// attempt as an intent.
    ///
    /// # Errors
    /// `JobExists` if the job has a record. `WrongAttempt` if the attempt belongs to another job.
    pub async fn adopt(&self, installation: InstallationId, attempt: NewAttempt) -> Result<()> {
        let job = NewJob {
            id: self.job().clone(),
            detached: true,
            runners: vec![attempt.handle.runner.clone()],
            ..NewJob::new(installation, JobSpec::default())
        };
        let now = Timestamp::now();
        self.write(move |store, id| {
            rules::belongs(id, &attempt)?;
            store.submit(&job, now)?;
            store.intent(id, &attempt, now)
        })
        .await
    }

    /// Records, before a launch, that `attempt` may be on its runner from now on.
    ///
    /// # Errors
    /// `OutOfOrder` if the job has ended, or if an earlier attempt is not on record as refused: no
    /// two attempts may run. `WrongAttempt` if the number is not greater than all earlier ones, or
    /// if the handle belongs to another attempt.
    pub async fn intent(&self, attempt: NewAttempt) -> Result<()> {
        let now = Timestamp::now();
        self.write(move |store, job| store.intent(job, &attempt, now)).await
    }

    /// Records that attempt `number` has started, with what is known about it, and signals the
    /// processes that wait for it.
    ///
    /// A repeated call adds what was not known before and replaces what was.
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
        self.write(move |store, job| store.started(job, number, started_at, image.as_ref()))
            .await?;
        if let Err(error) = self.held.journal.signals.tell(Topic::Start) {
            tracing::warn!(job = %self.job(), %error, "failed to signal that a job has started");
        }
        Ok(())
    }

    /// Records that attempt `number` is proven never to have started and never to start, and why.
    ///
    /// After a repeated call, the first reason stays.
    ///
    /// # Errors
    /// `OutOfOrder` if it is not the last attempt, or has started, or the job has ended.
    pub async fn refused(&self, number: u32, error: &Error) -> Result<()> {
        let (kind, message) = (error.kind().name(), error.to_string());
        self.write(move |store, job| store.refused(job, number, kind, &message)).await
    }

    /// Adds a runner that was passed over.
    ///
    /// # Errors
    /// `OutOfOrder` if the job has ended.
    pub async fn passed_over(&self, passed: &PassedOver) -> Result<()> {
        let passed = passed.clone();
        self.write(move |store, job| store.passed_over(job, &passed)).await
    }

    /// Records the job's result, once, and signals the processes that wait for it.
    ///
    /// A repeated call with the same result changes nothing.
    ///
    /// # Errors
    /// `OutcomeDiffers` if another result is on record, which stays. `OutOfOrder` if the result
    /// belongs to another job.
    pub async fn outcome(&self, result: &JobResult) -> Result<()> {
        let result = result.clone();
        let now = Timestamp::now();
        self.write(move |store, job| store.outcome(job, &result, now)).await?;
        self.held.ended.store(true, Ordering::Relaxed);
        if let Err(error) = self.held.journal.signals.tell(Topic::End) {
            tracing::warn!(job = %self.job(), %error, "failed to signal that a job has ended");
        }
        Ok(())
    }

    /// Records that nothing of the job is left on any backend. The time of the first call stays.
    ///
    /// # Errors
    /// `OutOfOrder` if the job has no outcome yet.
    pub async fn removed(&self) -> Result<()> {
        let now = Timestamp::now();
        self.write(move |store, job| store.removed(job, now)).await
    }

    /// Deletes the record and frees its idempotency key. The claim is of no further use.
    ///
    /// # Errors
    /// `OutOfOrder` if it is not on record that nothing of the job is left.
    pub async fn forget(&self) -> Result<()> {
        self.write(|store, job| store.forget(job)).await?;
        // No process waits for a job without a record.
        self.held.ended.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store, &JobId) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        let held = Arc::clone(&self.held);
        // The lock is held until the commit, even if the caller drops the future.
        let step = move |store: &mut dyn Store| work(store, &held.job).map(|value| (value, held));
        let (value, _) = self.held.journal.store.write(step).await?;
        Ok(value)
    }
}

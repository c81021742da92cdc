//! What a store of records can do, regardless of where it keeps them.

use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{ImageReport, JobId, JobResult, PassedOver, RunnerName};

use crate::error::{JournalError, MIN_PREFIX, StoreError};
use crate::filter::Filter;
use crate::record::{CancelRequest, Cancelled, NewAttempt, NewJob, Record};
use crate::runner_record::{Access, Outage};

pub(crate) type Stored<T> = Result<T, StoreError>;

/// How many candidates an ambiguous prefix lists.
const CANDIDATES: usize = 10;

/// The result of a submission.
#[derive(Debug)]
pub(crate) enum Inserted {
    New,
    Known(JobId),
}

/// A place in the order of the jobs of which nothing is left: when a job ended, and its id.
pub(crate) type Place = (i64, String);

/// The records, as one step sees them: nothing else changes them meanwhile.
///
/// A method that fails changes nothing. A store may be unable to undo what an earlier method of the
/// same step has changed, so after the first change a step must not fail.
///
/// The tests in `tests/journal` play the same steps on every store.
pub(crate) trait Store {
    fn submit(&mut self, job: &NewJob, now: Timestamp) -> Stored<Inserted>;
    fn intent(&mut self, job: &JobId, attempt: &NewAttempt, now: Timestamp) -> Stored<()>;
    /// Adds what was not known before, and replaces what was.
    fn started(
        &mut self,
        job: &JobId,
        number: u32,
        started_at: Option<Timestamp>,
        image: Option<&ImageReport>,
    ) -> Stored<()>;
    /// The first reason stays.
    fn refused(&mut self, job: &JobId, number: u32, kind: &str, message: &str) -> Stored<()>;
    fn passed_over(&mut self, job: &JobId, passed: &PassedOver) -> Stored<()>;
    fn undelivered(&mut self, job: &JobId, message: &str) -> Stored<()>;
    fn outcome(&mut self, job: &JobId, result: &JobResult, now: Timestamp) -> Stored<()>;
    /// The first time stays.
    fn removed(&mut self, job: &JobId, now: Timestamp) -> Stored<()>;
    fn forget(&mut self, job: &JobId) -> Stored<()>;
    /// Deletes the record of a job of which nothing is left, and returns whether there was one.
    fn forget_if_finished(&mut self, job: &JobId) -> Stored<bool>;
    /// A request whose grace is not shorter than an earlier one changes nothing.
    fn request_cancel(&mut self, job: &JobId, grace: Duration, now: Timestamp)
    -> Stored<Cancelled>;

    fn exists(&self, job: &JobId) -> Stored<bool>;
    fn record(&self, job: &JobId) -> Stored<Record>;
    /// Returns up to `limit` jobs whose ids begin with `prefix`, in order.
    fn with_prefix(&self, prefix: &str, limit: usize) -> Stored<Vec<JobId>>;
    fn list(&self, filter: Filter) -> Stored<Vec<Record>>;
    /// Returns ids only: there may be many, and each record is read again once its job is claimed.
    fn unfinished(&self) -> Stored<Vec<JobId>>;
    /// Returns up to `limit` jobs after `after` that ended before `cutoff` and of which nothing is
    /// left, and the place of the last one.
    fn finished(
        &self,
        cutoff: Timestamp,
        after: &Place,
        limit: u32,
    ) -> Stored<(Vec<JobId>, Option<Place>)>;
    /// Returns the last number seen, and the requests after number `after` for jobs that have not
    /// ended.
    fn cancels(&self, after: i64) -> Stored<(i64, Vec<CancelRequest>)>;
    /// Returns what is wrong with the store; empty if it is intact.
    fn damage(&self) -> Stored<Vec<String>>;

    fn access(&self, runner: &RunnerName) -> Stored<Option<Access>>;
    fn record_access(&mut self, runner: &RunnerName, access: &Access) -> Stored<()>;
    fn forget_access(&mut self, runner: &RunnerName) -> Stored<()>;
    fn outage(&self, runner: &RunnerName) -> Stored<Option<Outage>>;
    fn record_outage(&mut self, runner: &RunnerName, outage: &Outage) -> Stored<()>;
    /// Extends the outage that lasts until `known`. Returns false if there is none.
    fn extend_outage(
        &mut self,
        runner: &RunnerName,
        known: Timestamp,
        until: Timestamp,
    ) -> Stored<bool>;
    fn forget_outage(&mut self, runner: &RunnerName) -> Stored<()>;
}

/// Returns the one job that `text` names by its id or a prefix of it.
pub(crate) fn resolve(store: &dyn Store, text: &str) -> Stored<JobId> {
    let Ok(id) = text.trim_end_matches('-').parse::<JobId>() else {
        return Err(JournalError::NoSuchJob(text.to_owned()).into());
    };
    if id.as_str() == text && store.exists(&id)? {
        return Ok(id);
    }
    if text.len() < MIN_PREFIX {
        return Err(JournalError::PrefixTooShort(text.to_owned()).into());
    }
    let mut candidates = store.with_prefix(text, CANDIDATES + 1)?;
    match candidates.len() {
        0 => Err(JournalError::NoSuchJob(text.to_owned()).into()),
        1 => Ok(candidates.remove(0)),
        many => {
            candidates.truncate(CANDIDATES);
            let (prefix, more) = (text.to_owned(), many > CANDIDATES);
            Err(JournalError::Ambiguous { prefix, candidates, more }.into())
        }
    }
}

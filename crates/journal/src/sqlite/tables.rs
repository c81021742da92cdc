//! The store, as the statements on an open connection implement it. Each step is a transaction.

use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{ImageReport, JobId, JobResult, PassedOver, RunnerName};
use rusqlite::Connection;

use super::{list, read, runners, write};
use crate::filter::Filter;
use crate::record::{CancelRequest, Cancelled, NewAttempt, NewJob, Record};
use crate::runner_record::{Access, Outage};
use crate::store::{Inserted, Place, Store, Stored};

pub(super) struct Tables<'a>(pub(super) &'a Connection);

impl Store for Tables<'_> {
    fn submit(&mut self, job: &NewJob, now: Timestamp) -> Stored<Inserted> {
        write::submit(self.0, job, now)
    }

    fn intent(&mut self, job: &JobId, attempt: &NewAttempt, now: Timestamp) -> Stored<()> {
        write::intent(self.0, job, attempt, now)
    }

    fn started(
        &mut self,
        job: &JobId,
        number: u32,
        started_at: Option<Timestamp>,
        image: Option<&ImageReport>,
    ) -> Stored<()> {
        write::started(self.0, job, number, started_at, image)
    }

    fn refused(&mut self, job: &JobId, number: u32, kind: &str, message: &str) -> Stored<()> {
        write::refused(self.0, job, number, kind, message)
    }

    fn passed_over(&mut self, job: &JobId, passed: &PassedOver) -> Stored<()> {
        write::passed_over(self.0, job, passed)
    }

    fn undelivered(&mut self, job: &JobId, message: &str) -> Stored<()> {
        write::undelivered(self.0, job, message)
    }

    fn outcome(&mut self, job: &JobId, result: &JobResult, now: Timestamp) -> Stored<()> {
        write::outcome(self.0, job, result, now)
    }

    fn removed(&mut self, job: &JobId, now: Timestamp) -> Stored<()> {
        write::removed(self.0, job, now)
    }

    fn forget(&mut self, job: &JobId) -> Stored<()> {
        write::forget(self.0, job)
    }

    fn forget_if_finished(&mut self, job: &JobId) -> Stored<bool> {
        write::forget_if_finished(self.0, job)
    }

    fn request_cancel(
        &mut self,
        job: &JobId,
        grace: Duration,
        now: Timestamp,
    ) -> Stored<Cancelled> {
        write::request_cancel(self.0, job, grace, now)
    }

    fn exists(&self, job: &JobId) -> Stored<bool> {
        read::exists(self.0, job)
    }

    fn record(&self, job: &JobId) -> Stored<Record> {
        read::record(self.0, job)
    }

    fn with_prefix(&self, prefix: &str, limit: usize) -> Stored<Vec<JobId>> {
        read::with_prefix(self.0, prefix, limit)
    }

    fn list(&self, filter: Filter) -> Stored<Vec<Record>> {
        list::list(self.0, filter)
    }

    fn unfinished(&self) -> Stored<Vec<JobId>> {
        read::unfinished(self.0)
    }

    fn finished(
        &self,
        cutoff: Timestamp,
        after: &Place,
        limit: u32,
    ) -> Stored<(Vec<JobId>, Option<Place>)> {
        read::finished(self.0, cutoff, after, limit)
    }

    fn cancels(&self, after: i64) -> Stored<(i64, Vec<CancelRequest>)> {
        read::cancels(self.0, after)
    }

    fn damage(&self) -> Stored<Vec<String>> {
        read::damage(self.0)
    }

    fn access(&self, runner: &RunnerName) -> Stored<Option<Access>> {
        runners::access(self.0, runner)
    }

    fn record_access(&mut self, runner: &RunnerName, access: &Access) -> Stored<()> {
        runners::record_access(self.0, runner, access)
    }

    fn forget_access(&mut self, runner: &RunnerName) -> Stored<()> {
        runners::forget_access(self.0, runner)
    }

    fn outage(&self, runner: &RunnerName) -> Stored<Option<Outage>> {
        runners::outage(self.0, runner)
    }

    fn record_outage(&mut self, runner: &RunnerName, outage: &Outage) -> Stored<()> {
        runners::record_outage(self.0, runner, outage)
    }

    fn extend_outage(
        &mut self,
        runner: &RunnerName,
        known: Timestamp,
        until: Timestamp,
    ) -> Stored<bool> {
        runners::extend_outage(self.0, runner, known, until)
    }

    fn forget_outage(&mut self, runner: &RunnerName) -> Stored<()> {
        runners::forget_outage(self.0, runner)
    }
}

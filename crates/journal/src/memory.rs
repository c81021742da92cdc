//! The store in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use longshore_core::{ImageReport, JobId, JobResult, PassedOver, RunnerName};

use crate::filter::Filter;
use crate::record::{
    AttemptRecord, AttemptState, CancelRequest, Cancelled, NewAttempt, NewJob, Record,
};
use crate::rules::{self, Known, RecordedState};
use crate::runner_record::{Access, Outage};
use crate::store::{Inserted, Place, Store, Stored};

/// All records of a journal in memory. Times are in microseconds, as in every store.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    jobs: BTreeMap<JobId, Record>,
    /// The jobs in the order of lists. No two jobs have the same time.
    by_time: BTreeMap<Timestamp, JobId>,
    by_key: HashMap<String, JobId>,
    /// The jobs of which nothing is left.
    finished: BTreeSet<Place>,
    /// The requests to cancel, by number, and the last number.
    cancels: BTreeMap<i64, CancelRequest>,
    last_cancel: i64,
    accesses: HashMap<RunnerName, Access>,
    outages: HashMap<RunnerName, Outage>,
}

impl Memory {
    fn found(&self, job: &JobId) -> Stored<&Record> {
        self.jobs.get(job).ok_or_else(|| rules::no_such_job(job).into())
    }

    fn found_mut(&mut self, job: &JobId) -> Stored<&mut Record> {
        self.jobs.get_mut(job).ok_or_else(|| rules::no_such_job(job).into())
    }

    fn remove(&mut self, job: &JobId) {
        let Some(record) = self.jobs.remove(job) else { return };
        self.by_time.remove(&record.submitted_at);
        self.finished.remove(&place(&record));
        if let Some(key) = &record.idempotency_key {
            self.by_key.remove(key);
        }
        if record.cancel.is_some() {
            self.cancels.retain(|_, request| request.job != *job);
        }
    }

    /// Returns the time of a new job: now, or just after the last one.
    fn new_time(&self, now: Timestamp) -> Timestamp {
        let now = in_microseconds(now);
        let microsecond = SignedDuration::from_micros(1);
        match self.by_time.last_key_value() {
            Some((last, _)) if *last >= now => last.saturating_add(microsecond).unwrap_or(*last),
            _ => now,
        }
    }
}

fn in_microseconds(time: Timestamp) -> Timestamp {
    // A time that exists still exists without its nanoseconds.
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Returns the record's place in the order in which jobs ended.
fn place(record: &Record) -> Place {
    (record.ended_at.map_or(i64::MIN, Timestamp::as_microsecond), record.id.to_string())
}

fn recorded_state(record: &Record) -> RecordedState {
    let name = |state: &AttemptState| match state {
        AttemptState::Intent => "intent",
        AttemptState::Started { .. } => "started",
        AttemptState::Refused { .. } => "refused",
        AttemptState::Ended { .. } => "ended",
    };
    let last = record.attempts.last().map(|last| (last.number, name(&last.state).into()));
    RecordedState { ended: record.result.is_some(), last }
}

fn fits(record: &Record, filter: &Filter) -> bool {
    let labels = &record.spec.labels;
    let (earliest, latest) = filter.submitted;
    let at = record.submitted_at;
    filter.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        && (filter.ended || record.result.is_none())
        && filter.state.is_none_or(|state| state == record.state())
        && filter.name.as_ref().is_none_or(|name| record.spec.name.as_ref() == Some(name))
        && filter.runner.as_ref().is_none_or(|runner| {
            record.committed().is_some_and(|attempt| attempt.handle.runner == *runner)
        })
        && earliest.is_none_or(|earliest| at >= in_microseconds(earliest))
        && latest.is_none_or(|latest| at <= in_microseconds(latest))
}

impl Store for Memory {
    fn submit(&mut self, job: &NewJob, now: Timestamp) -> Stored<Inserted> {
        if let Some(key) = &job.idempotency_key {
            rules::check_key(key)?;
            if let Some(known) = self.by_key.get(key).and_then(|known| self.jobs.get(known)) {
                if rules::without_stdin(&known.spec) == rules::without_stdin(&job.spec) {
                    return Ok(Inserted::Known(known.id.clone()));
                }
                let (digest, other) =
                    (rules::digest(&known.id, &known.spec)?, rules::digest(&job.id, &job.spec)?);
                let (id, name) = (known.id.clone(), known.spec.name.as_deref());
                let known = Known { job: id, name, digest: &digest };
                return Err(rules::key_taken(key, known, job, &other).into());
            }
        }
        if self.jobs.contains_key(&job.id) {
            return Err(rules::job_exists(&job.id).into());
        }
        let submitted_at = self.new_time(now);
        self.by_time.insert(submitted_at, job.id.clone());
        if let Some(key) = &job.idempotency_key {
            self.by_key.insert(key.clone(), job.id.clone());
        }
        let record = Record {
            id: job.id.clone(),
            idempotency_key: job.idempotency_key.clone(),
            installation: job.installation.clone(),
            spec: job.spec.clone(),
            detached: job.detached,
            runners: job.runners.clone(),
            relaunch: job.relaunch.clone(),
            submitted_at,
            attempts: Vec::new(),
            passed_over: Vec::new(),
            undelivered: Vec::new(),
            cancel: None,
            result: None,
            ended_at: None,
            removed_at: None,
        };
        self.jobs.insert(job.id.clone(), record);
        Ok(Inserted::New)
    }

    fn intent(&mut self, job: &JobId, attempt: &NewAttempt, now: Timestamp) -> Stored<()> {
        rules::belongs(job, attempt)?;
        let record = self.found_mut(job)?;
        rules::intent(&recorded_state(record), job, attempt)?;
        record.attempts.push(AttemptRecord {
            number: attempt.number,
            handle: attempt.handle.clone(),
            pull_policy: attempt.pull_policy,
            intent_at: in_microseconds(now),
            state: AttemptState::Intent,
        });
        Ok(())
    }

    fn started(
        &mut self,
        job: &JobId,
        number: u32,
        started_at: Option<Timestamp>,
        image: Option<&ImageReport>,
    ) -> Stored<()> {
        let record = self.found_mut(job)?;
        rules::started(&recorded_state(record), job, number)?;
        let Some(AttemptRecord { state, .. }) = record.attempts.last_mut() else { return Ok(()) };
        let (earlier_at, earlier_image) = match std::mem::replace(state, AttemptState::Intent) {
            AttemptState::Started { started_at, image } => (started_at, image),
            _ => (None, None),
        };
        *state = AttemptState::Started {
            started_at: started_at.map(in_microseconds).or(earlier_at),
            image: image.cloned().or(earlier_image),
        };
        Ok(())
    }

    fn refused(&mut self, job: &JobId, number: u32, kind: &str, message: &str) -> Stored<()> {
        let record = self.found_mut(job)?;
        rules::refused(&recorded_state(record), job, number)?;
        if let Some(AttemptRecord { state: state @ AttemptState::Intent, .. }) =
            record.attempts.last_mut()
        {
            let (kind, message) = (kind.to_owned(), message.to_owned());
            *state = AttemptState::Refused { kind, message };
        }
        Ok(())
    }

    fn passed_over(&mut self, job: &JobId, passed: &PassedOver) -> Stored<()> {
        let record = self.found_mut(job)?;
        rules::passed_over(&recorded_state(record), job)?;
        record.passed_over.push(passed.clone());
        Ok(())
    }

    fn undelivered(&mut self, job: &JobId, message: &str) -> Stored<()> {
        self.found_mut(job)?.undelivered.push(message.to_owned());
        Ok(())
    }

    fn outcome(&mut self, job: &JobId, result: &JobResult, now: Timestamp) -> Stored<()> {
        let record = self.found_mut(job)?;
        rules::is_of(job, result)?;
        if let Some(recorded) = &record.result {
            return Ok(rules::same_outcome(job, recorded, result)?);
        }
        record.result = Some(result.clone());
        record.ended_at = Some(in_microseconds(now));
        for AttemptRecord { state, .. } in &mut record.attempts {
            match state {
                AttemptState::Intent => {
                    *state = AttemptState::Ended { started_at: None, image: None };
                }
                AttemptState::Started { started_at, image } => {
                    let (started_at, image) = (*started_at, image.take());
                    *state = AttemptState::Ended { started_at, image };
                }
                AttemptState::Refused { .. } | AttemptState::Ended { .. } => {}
            }
        }
        Ok(())
    }

    fn removed(&mut self, job: &JobId, now: Timestamp) -> Stored<()> {
        let record = self.found_mut(job)?;
        rules::removed(&recorded_state(record), job)?;
        if record.removed_at.is_none() {
            record.removed_at = Some(in_microseconds(now));
            let place = place(record);
            self.finished.insert(place);
        }
        Ok(())
    }

    fn forget(&mut self, job: &JobId) -> Stored<()> {
        self.found(job)?;
        let gone = self.forget_if_finished(job)?;
        Ok(rules::forgotten(gone, job)?)
    }

    fn forget_if_finished(&mut self, job: &JobId) -> Stored<bool> {
        let finished = self.jobs.get(job).is_some_and(Record::is_finished);
        if finished {
            self.remove(job);
        }
        Ok(finished)
    }

    fn request_cancel(
        &mut self,
        job: &JobId,
        grace: Duration,
        now: Timestamp,
    ) -> Stored<Cancelled> {
        let number = self.last_cancel.saturating_add(1);
        let record = self.found_mut(job)?;
        if record.result.is_some() {
            return Ok(Cancelled::AlreadyEnded);
        }
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let grace = Duration::from_millis(millis);
        if record.cancel.as_ref().is_some_and(|earlier| earlier.grace <= grace) {
            return Ok(Cancelled::Noted);
        }
        let request = CancelRequest { job: job.clone(), asked_at: in_microseconds(now), grace };
        record.cancel = Some(request.clone());
        self.cancels.insert(number, request);
        self.last_cancel = number;
        Ok(Cancelled::Noted)
    }

    fn exists(&self, job: &JobId) -> Stored<bool> {
        Ok(self.jobs.contains_key(job))
    }

    fn record(&self, job: &JobId) -> Stored<Record> {
        self.found(job).cloned()
    }

    fn with_prefix(&self, prefix: &str, limit: usize) -> Stored<Vec<JobId>> {
        let ids = self.jobs.keys().filter(|id| id.as_str().starts_with(prefix));
        Ok(ids.take(limit).cloned().collect())
    }

    fn list(&self, filter: Filter) -> Stored<Vec<Record>> {
        let before = match &filter.after {
            // A time that does not exist is before or after all jobs.
            Some(cursor) => match Timestamp::from_microsecond(cursor.submitted_at) {
                Ok(time) => Bound::Excluded(time),
                Err(_) if cursor.submitted_at > 0 => Bound::Unbounded,
                Err(_) => return Ok(Vec::new()),
            },
            None => Bound::Unbounded,
        };
        let newest_first = self.by_time.range((Bound::Unbounded, before)).rev();
        let records = newest_first.filter_map(|(_, id)| self.jobs.get(id));
        let fitting = records.filter(|record| fits(record, &filter));
        Ok(fitting.take(filter.limit as usize).cloned().collect())
    }

    fn unfinished(&self) -> Stored<Vec<JobId>> {
        let unfinished = |id: &&JobId| self.jobs.get(*id).is_some_and(|job| !job.is_finished());
        Ok(self.by_time.values().filter(unfinished).cloned().collect())
    }

    fn finished(
        &self,
        cutoff: Timestamp,
        after: &Place,
        limit: u32,
    ) -> Stored<(Vec<JobId>, Option<Place>)> {
        let cutoff = (cutoff.as_microsecond(), String::new());
        if *after >= cutoff {
            return Ok((Vec::new(), None));
        }
        let range = (Bound::Excluded(after), Bound::Excluded(&cutoff));
        let places: Vec<&Place> = self.finished.range(range).take(limit as usize).collect();
        let jobs = places.iter().filter_map(|(_, id)| id.parse().ok()).collect();
        Ok((jobs, places.last().map(|place| (*place).clone())))
    }

    fn cancels(&self, after: i64) -> Stored<(i64, Vec<CancelRequest>)> {
        let (mut last, mut found) = (after, Vec::new());
        for (number, request) in self.cancels.range(after.saturating_add(1)..) {
            if self.jobs.get(&request.job).is_some_and(|job| job.result.is_none()) {
                last = *number;
                found.push(request.clone());
            }
        }
        Ok((last, found))
    }

    fn damage(&self) -> Stored<Vec<String>> {
        Ok(Vec::new())
    }

    fn access(&self, runner: &RunnerName) -> Stored<Option<Access>> {
        Ok(self.accesses.get(runner).cloned())
    }

    fn record_access(&mut self, runner: &RunnerName, access: &Access) -> Stored<()> {
        self.accesses.insert(runner.clone(), access.clone());
        Ok(())
    }

    fn forget_access(&mut self, runner: &RunnerName) -> Stored<()> {
        self.accesses.remove(runner);
        Ok(())
    }

    fn outage(&self, runner: &RunnerName) -> Stored<Option<Outage>> {
        Ok(self.outages.get(runner).cloned())
    }

    fn record_outage(&mut self, runner: &RunnerName, outage: &Outage) -> Stored<()> {
        self.outages.insert(runner.clone(), outage.clone());
        Ok(())
    }

    fn extend_outage(
        &mut self,
        runner: &RunnerName,
        known: Timestamp,
        until: Timestamp,
    ) -> Stored<bool> {
        let found = self.outages.get_mut(runner).filter(|outage| outage.until == known);
        if let Some(outage) = found {
            outage.until = until;
            return Ok(true);
        }
        Ok(false)
    }

    fn forget_outage(&mut self, runner: &RunnerName) -> Stored<()> {
        self.outages.remove(runner);
        Ok(())
    }
}

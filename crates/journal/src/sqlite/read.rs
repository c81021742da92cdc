//! The queries that read the journal.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{Cause, JobId, PassedOver};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use crate::error::{JournalError, StoreError};
use crate::record::{AttemptRecord, AttemptState, CancelRequest, Record};
use crate::rules::no_such_job;
use crate::store::{Place, Stored};

pub(crate) const COLUMNS: &str = "id, idempotency_key, installation, spec, detached, runners, submitted_at, \
                       result, ended_at, removed_at, relaunch";

/// A row of `jobs`, not parsed yet.
pub(crate) struct JobRow {
    id: String,
    idempotency_key: Option<String>,
    installation: String,
    spec: String,
    detached: bool,
    runners: String,
    submitted_at: i64,
    result: Option<String>,
    ended_at: Option<i64>,
    removed_at: Option<i64>,
    relaunch: Option<String>,
}

impl JobRow {
    pub(crate) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            idempotency_key: row.get(1)?,
            installation: row.get(2)?,
            spec: row.get(3)?,
            detached: row.get(4)?,
            runners: row.get(5)?,
            submitted_at: row.get(6)?,
            result: row.get(7)?,
            ended_at: row.get(8)?,
            removed_at: row.get(9)?,
            relaunch: row.get(10)?,
        })
    }

    pub(crate) fn understood(self, db: &Connection) -> Stored<Record> {
        let job = self.id.as_str();
        let id = parse_id(job)?;
        Ok(Record {
            attempts: attempts(db, job)?,
            passed_over: passed_over(db, job)?,
            undelivered: undelivered(db, job)?,
            cancel: cancel(db, &id)?,
            installation: self
                .installation
                .parse()
                .map_err(|error| unreadable(job, "installation", error))?,
            spec: Arc::new(from_json(job, "specification", &self.spec)?),
            detached: self.detached,
            runners: from_json(job, "runners", &self.runners)?,
            relaunch: self.relaunch.map(|text| from_json(job, "relaunch", &text)).transpose()?,
            submitted_at: time(job, "times", self.submitted_at)?,
            result: self.result.map(|text| from_json(job, "result", &text)).transpose()?,
            ended_at: self.ended_at.map(|at| time(job, "times", at)).transpose()?,
            removed_at: self.removed_at.map(|at| time(job, "times", at)).transpose()?,
            idempotency_key: self.idempotency_key,
            id,
        })
    }
}

pub(super) fn unreadable(
    job: &str,
    what: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    JournalError::Unreadable { job: job.to_owned(), what: what.into(), source: Cause::new(error) }
        .into()
}

fn parse_id(text: &str) -> Stored<JobId> {
    text.parse().map_err(|error| unreadable(text, "id", error))
}

fn from_json<T: DeserializeOwned>(job: &str, what: &'static str, text: &str) -> Stored<T> {
    serde_json::from_str(text).map_err(|error| unreadable(job, what, error))
}

fn time(job: &str, what: &'static str, micros: i64) -> Stored<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| unreadable(job, what, error))
}

/// A row of `attempts`, not parsed yet.
struct AttemptRow {
    number: u32,
    handle: String,
    pull_policy: String,
    intent_at: i64,
    state: String,
    started_at: Option<i64>,
    image: Option<String>,
    kind: Option<String>,
    message: Option<String>,
}

impl AttemptRow {
    pub(crate) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            handle: row.get(1)?,
            pull_policy: row.get(2)?,
            intent_at: row.get(3)?,
            state: row.get(4)?,
            started_at: row.get(5)?,
            image: row.get(6)?,
            kind: row.get(7)?,
            message: row.get(8)?,
        })
    }

    pub(crate) fn understood(self, job: &str) -> Stored<AttemptRecord> {
        let started_at = self.started_at.map(|at| time(job, "times", at)).transpose()?;
        let image = self.image.map(|text| from_json(job, "image", &text)).transpose()?;
        let state = match self.state.as_str() {
            "intent" => AttemptState::Intent,
            "started" => AttemptState::Started { started_at, image },
            "ended" => AttemptState::Ended { started_at, image },
            // The table accepts no other state.
            _ => AttemptState::Refused {
                kind: self.kind.unwrap_or_default(),
                message: self.message.unwrap_or_default(),
            },
        };
        Ok(AttemptRecord {
            number: self.number,
            handle: from_json(job, "handle", &self.handle)?,
            pull_policy: self
                .pull_policy
                .parse()
                .map_err(|error| unreadable(job, "pull policy", error))?,
            intent_at: time(job, "times", self.intent_at)?,
            state,
        })
    }
}

fn attempts(db: &Connection, job: &str) -> Stored<Vec<AttemptRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT number, handle, pull_policy, intent_at, state, started_at, image, kind, message \
         FROM attempts WHERE job = ?1 ORDER BY number",
    )?;
    let rows = statement.query_map([job], AttemptRow::of)?;
    rows.map(|row| row?.understood(job)).collect()
}

fn passed_over(db: &Connection, job: &str) -> Stored<Vec<PassedOver>> {
    let mut statement = db.prepare_cached(
        "SELECT json_object('runner', runner, 'kind', kind, 'message', message) \
         FROM passed_over WHERE job = ?1 ORDER BY position",
    )?;
    let rows = statement.query_map([job], |row| row.get::<_, String>(0))?;
    rows.map(|row| from_json(job, "runners that were passed over", &row?)).collect()
}

fn undelivered(db: &Connection, job: &str) -> Stored<Vec<String>> {
    let mut statement =
        db.prepare_cached("SELECT message FROM undelivered WHERE job = ?1 ORDER BY position")?;
    let rows = statement.query_map([job], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn cancel(db: &Connection, job: &JobId) -> Stored<Option<CancelRequest>> {
    let row = db
        .prepare_cached(
            "SELECT asked_at, grace_ms FROM cancels WHERE job = ?1 ORDER BY grace_ms LIMIT 1",
        )?
        .query_row([job.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(at, grace)| cancel_request(job.clone(), at, grace)).transpose()
}

fn cancel_request(job: JobId, asked_at: i64, grace_ms: i64) -> Stored<CancelRequest> {
    let asked_at = time(job.as_str(), "cancel requests", asked_at)?;
    let grace = Duration::from_millis(u64::try_from(grace_ms).unwrap_or_default());
    Ok(CancelRequest { job, asked_at, grace })
}

pub(crate) fn cancels(db: &Connection, after: i64) -> Stored<(i64, Vec<CancelRequest>)> {
    let mut statement = db.prepare_cached(
        "SELECT number, job, asked_at, grace_ms FROM cancels WHERE number > ?1 \
         AND (SELECT result IS NULL FROM jobs WHERE id = job) ORDER BY number",
    )?;
    let rows = statement.query_map([after], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
    })?;
    let (mut last, mut found) = (after, Vec::new());
    for row in rows {
        let (number, job, at, grace) = row?;
        last = number;
        found.push(cancel_request(parse_id(&job)?, at, grace)?);
    }
    Ok((last, found))
}

pub(crate) fn exists(db: &Connection, job: &JobId) -> Stored<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists([job.as_str()])?)
}

pub(crate) fn record(db: &Connection, job: &JobId) -> Stored<Record> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?
        .query_row([job.as_str()], JobRow::of)
        .optional()?
        .ok_or_else(|| no_such_job(job))?
        .understood(db)
}

pub(crate) fn with_prefix(db: &Connection, prefix: &str, limit: usize) -> Stored<Vec<JobId>> {
    // '{' sorts after every character of an id.
    let mut statement = db.prepare_cached(
        "SELECT id FROM jobs WHERE id >= ?1 AND id < ?1 || '{' ORDER BY id LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![prefix, limit], |row| row.get::<_, String>(0))?;
    rows.map(|row| parse_id(&row?)).collect()
}

pub(crate) fn unfinished(db: &Connection) -> Stored<Vec<JobId>> {
    let mut statement = db
        .prepare_cached("SELECT id FROM jobs WHERE removed_at IS NULL ORDER BY submitted_at, id")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| parse_id(&row?)).collect()
}

/// Follows the index of these jobs, so that it reads none that ended later. Each command sweeps, and
/// SQLite compares no other index with one that is named.
const FINISHED: &str = "SELECT ended_at, id FROM jobs INDEXED BY jobs_finished \
                        WHERE removed_at IS NOT NULL AND ended_at < ?1 \
                        AND (ended_at, id) > (?2, ?3) ORDER BY ended_at, id LIMIT ?4";

pub(crate) fn finished(
    db: &Connection,
    cutoff: Timestamp,
    after: &Place,
    limit: u32,
) -> Stored<(Vec<JobId>, Option<Place>)> {
    let mut statement = db.prepare_cached(FINISHED)?;
    let parameters = params![cutoff.as_microsecond(), after.0, after.1, limit];
    let rows = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let places = rows.collect::<Result<Vec<Place>, _>>()?;
    let jobs = places.iter().map(|(_, id)| parse_id(id)).collect::<Stored<_>>()?;
    Ok((jobs, places.into_iter().next_back()))
}

/// Returns what SQLite finds wrong with the file; empty if the file is intact.
pub(crate) fn damage(db: &Connection) -> Stored<Vec<String>> {
    let mut statement = db.prepare("PRAGMA integrity_check")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let found: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok(found.into_iter().filter(|text| text != "ok").collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::Database;

    /// Each command sweeps, and read all records of the journal: 0.5 s with a million of them.
    #[test]
    fn a_sweep_reads_no_job_that_ended_lately() {
        let database = Database::memory().unwrap();
        let plan: String = database
            .connection
            .query_row(&format!("EXPLAIN QUERY PLAN {FINISHED}"), params![0, 0, "", 1], |row| {
                row.get(3)
            })
            .unwrap();
        assert!(
            plan.contains("SEARCH jobs USING") && plan.contains("INDEX jobs_finished"),
            "{plan}"
        );
    }
}

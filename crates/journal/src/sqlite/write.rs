//! The statements that write the journal.
//!
//! Each function runs in a transaction, checks first, and changes nothing if it fails.

use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{ImageReport, JobId, JobResult, JobSpec, PassedOver, RunnerName};
use rusqlite::{Connection, OptionalExtension, params};

use super::read::unreadable;
use crate::record::{Cancelled, NewAttempt, NewJob};
use crate::rules::{self, Known, RecordedState, json};
use crate::store::{Inserted, Stored};

pub(crate) fn submit(db: &Connection, job: &NewJob, now: Timestamp) -> Stored<Inserted> {
    let spec = json(&job.id, "specification", &*job.spec)?;
    let digest = rules::digest(&job.id, &job.spec)?;
    if let Some(key) = &job.idempotency_key {
        rules::check_key(key)?;
        if let Some(known) = known(db, job, key, &digest)? {
            return Ok(Inserted::Known(known));
        }
    }
    let mut statement = db.prepare_cached(
        "INSERT INTO jobs (id, idempotency_key, installation, name, spec, spec_digest, detached, \
         runners, submitted_at, relaunch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
         ON CONFLICT (id) DO NOTHING",
    )?;
    let submitted_at = now.as_microsecond();
    let inserted = statement.execute(params![
        job.id.as_str(),
        job.idempotency_key,
        job.installation.as_str(),
        job.spec.name,
        spec,
        digest,
        job.detached,
        json(&job.id, "runners", &job.runners)?,
        submitted_at,
        job.relaunch.as_ref().map(|how| json(&job.id, "relaunch", how)).transpose()?,
    ])?;
    if inserted == 0 {
        return Err(rules::job_exists(&job.id).into());
    }
    for (key, value) in &job.spec.labels {
        db.prepare_cached("INSERT INTO labels (key, value, time, job) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![key, value, submitted_at, job.id.as_str()])?;
    }
    Ok(Inserted::New)
}

/// Returns the job that was submitted with `key` before, if it is the same one.
fn known(db: &Connection, job: &NewJob, key: &str, digest: &str) -> Stored<Option<JobId>> {
    let row = db
        .prepare_cached("SELECT id, name, spec, spec_digest FROM jobs WHERE idempotency_key = ?1")?
        .query_row([key], |row| {
            let id: String = row.get(0)?;
            let name: Option<String> = row.get(1)?;
            let spec: String = row.get(2)?;
            let digest: String = row.get(3)?;
            Ok((id, name, spec, digest))
        })
        .optional()?;
    let Some((id, name, spec, recorded)) = row else { return Ok(None) };
    let known: JobId = id.parse().map_err(|error| unreadable(&id, "id", error))?;
    // Another version of Longshore may serialise the same job differently.
    let same = || {
        serde_json::from_str::<JobSpec>(&spec)
            .is_ok_and(|spec| rules::without_stdin(&spec) == rules::without_stdin(&job.spec))
    };
    if recorded == digest || same() {
        return Ok(Some(known));
    }
    let known = Known { job: known, name: name.as_deref(), digest: &recorded };
    Err(rules::key_taken(key, known, job, digest).into())
}

fn recorded_state(db: &Connection, job: &JobId) -> Stored<RecordedState> {
    let ended = db
        .prepare_cached("SELECT result IS NOT NULL FROM jobs WHERE id = ?1")?
        .query_row([job.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| rules::no_such_job(job))?;
    let last = db
        .prepare_cached(
            "SELECT number, state FROM attempts WHERE job = ?1 ORDER BY number DESC LIMIT 1",
        )?
        .query_row([job.as_str()], |row| Ok((row.get(0)?, row.get::<_, String>(1)?.into())))
        .optional()?;
    Ok(RecordedState { ended, last })
}

pub(crate) fn intent(
    db: &Connection,
    job: &JobId,
    attempt: &NewAttempt,
    now: Timestamp,
) -> Stored<()> {
    rules::belongs(job, attempt)?;
    rules::intent(&recorded_state(db, job)?, job, attempt)?;
    db.prepare_cached(
        "INSERT INTO attempts (job, number, runner, handle, pull_policy, intent_at, state) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'intent')",
    )?
    .execute(params![
        job.as_str(),
        attempt.number,
        attempt.handle.runner.as_str(),
        json(job, "handle", &attempt.handle)?,
        attempt.pull_policy.as_str(),
        now.as_microsecond(),
    ])?;
    set_runner(db, job, Some(&attempt.handle.runner))
}

/// Records the runner that the job may be on or ran on.
fn set_runner(db: &Connection, job: &JobId, runner: Option<&RunnerName>) -> Stored<()> {
    db.prepare_cached("UPDATE jobs SET runner = ?2 WHERE id = ?1")?
        .execute(params![job.as_str(), runner.map(RunnerName::as_str)])?;
    Ok(())
}

pub(crate) fn started(
    db: &Connection,
    job: &JobId,
    number: u32,
    started_at: Option<Timestamp>,
    image: Option<&ImageReport>,
) -> Stored<()> {
    rules::started(&recorded_state(db, job)?, job, number)?;
    let image = image.map(|image| json(job, "image", image)).transpose()?;
    db.prepare_cached(
        "UPDATE attempts SET state = 'started', started_at = coalesce(?3, started_at), \
         image = coalesce(?4, image) WHERE job = ?1 AND number = ?2",
    )?
    .execute(params![
        job.as_str(),
        number,
        started_at.map(Timestamp::as_microsecond),
        image
    ])?;
    Ok(())
}

pub(crate) fn refused(
    db: &Connection,
    job: &JobId,
    number: u32,
    kind: &str,
    message: &str,
) -> Stored<()> {
    rules::refused(&recorded_state(db, job)?, job, number)?;
    db.prepare_cached(
        "UPDATE attempts SET state = 'refused', kind = coalesce(kind, ?3), \
         message = coalesce(message, ?4) WHERE job = ?1 AND number = ?2",
    )?
    .execute(params![job.as_str(), number, kind, message])?;
    set_runner(db, job, None)
}

pub(crate) fn passed_over(db: &Connection, job: &JobId, passed: &PassedOver) -> Stored<()> {
    rules::passed_over(&recorded_state(db, job)?, job)?;
    db.prepare_cached(
        "INSERT INTO passed_over (job, position, runner, kind, message) VALUES (?1, \
         (SELECT coalesce(max(position), 0) + 1 FROM passed_over WHERE job = ?1), ?2, ?3, ?4)",
    )?
    .execute(params![job.as_str(), passed.runner.as_str(), passed.kind, passed.message])?;
    Ok(())
}

pub(crate) fn undelivered(db: &Connection, job: &JobId, message: &str) -> Stored<()> {
    recorded_state(db, job)?;
    db.prepare_cached(
        "INSERT INTO undelivered (job, position, message) VALUES (?1, \
         (SELECT coalesce(max(position), 0) + 1 FROM undelivered WHERE job = ?1), ?2)",
    )?
    .execute(params![job.as_str(), message])?;
    Ok(())
}

pub(crate) fn outcome(
    db: &Connection,
    job: &JobId,
    result: &JobResult,
    now: Timestamp,
) -> Stored<()> {
    let recorded: Option<String> = db
        .prepare_cached("SELECT result FROM jobs WHERE id = ?1")?
        .query_row([job.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| rules::no_such_job(job))?;
    rules::is_of(job, result)?;
    if let Some(recorded) = recorded {
        let recorded: JobResult = serde_json::from_str(&recorded)
            .map_err(|error| unreadable(job.as_str(), "result", error))?;
        return Ok(rules::same_outcome(job, &recorded, result)?);
    }
    db.prepare_cached("UPDATE jobs SET result = ?2, ended_at = ?3 WHERE id = ?1")?
        .execute(params![job.as_str(), json(job, "result", result)?, now.as_microsecond()])?;
    db.prepare_cached("UPDATE attempts SET state = 'ended' WHERE job = ?1 AND state <> 'refused'")?
        .execute([job.as_str()])?;
    Ok(())
}

pub(crate) fn removed(db: &Connection, job: &JobId, now: Timestamp) -> Stored<()> {
    rules::removed(&recorded_state(db, job)?, job)?;
    db.prepare_cached("UPDATE jobs SET removed_at = coalesce(removed_at, ?2) WHERE id = ?1")?
        .execute(params![job.as_str(), now.as_microsecond()])?;
    Ok(())
}

pub(crate) fn forget(db: &Connection, job: &JobId) -> Stored<()> {
    recorded_state(db, job)?;
    Ok(rules::forgotten(forget_if_finished(db, job)?, job)?)
}

pub(crate) fn forget_if_finished(db: &Connection, job: &JobId) -> Stored<bool> {
    let gone = db
        .prepare_cached("DELETE FROM jobs WHERE id = ?1 AND removed_at IS NOT NULL")?
        .execute([job.as_str()])?;
    Ok(gone > 0)
}

pub(crate) fn request_cancel(
    db: &Connection,
    job: &JobId,
    grace: Duration,
    now: Timestamp,
) -> Stored<Cancelled> {
    let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    if recorded_state(db, job)?.ended {
        return Ok(Cancelled::AlreadyEnded);
    }
    db.prepare_cached(
        "INSERT INTO cancels (job, asked_at, grace_ms) SELECT ?1, ?2, ?3 \
         WHERE NOT EXISTS (SELECT 1 FROM cancels WHERE job = ?1 AND grace_ms <= ?3)",
    )?
    .execute(params![job.as_str(), now.as_microsecond(), grace_ms])?;
    Ok(Cancelled::Noted)
}

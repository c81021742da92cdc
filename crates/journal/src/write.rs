//! The statements that write the journal.
//!
//! Each function runs in a transaction, checks first, and changes nothing if it fails.

use std::borrow::Cow;

use jiff::Timestamp;
use longshore_core::{AttemptId, Cause, ImageReport, JobId, JobResult, JobSpec, PassedOver};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::error::{JournalError, MAX_KEY, StoreError};
use crate::record::{Cancelled, NewAttempt, NewJob};

pub(crate) type Stored<T> = Result<T, StoreError>;

/// The result of a submission.
#[derive(Debug)]
pub(crate) enum Inserted {
    New,
    Known(JobId),
}

pub(crate) fn json<T: serde::Serialize>(job: &JobId, what: &'static str, of: &T) -> Stored<String> {
    serde_json::to_string(of).map_err(|error| unreadable(job.as_str(), what, error))
}

pub(crate) fn unreadable(
    job: &str,
    what: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    JournalError::Unreadable { job: job.to_owned(), what: what.into(), source: Cause::new(error) }
        .into()
}

fn digest(spec: &str) -> String {
    let bytes = Sha256::digest(spec.as_bytes());
    bytes.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the job as it is compared with another one. Whether the same command has a stdin may
/// depend on who runs it, and on when.
fn without_stdin(spec: &JobSpec) -> Cow<'_, JobSpec> {
    if !spec.stdin {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    spec.stdin = false;
    Cow::Owned(spec)
}

/// Returns a job's name and the beginning of its specification's digest, to distinguish two jobs.
fn described(name: Option<&str>, digest: &str) -> String {
    let short: String = digest.chars().take("sha256:".len() + 12).collect();
    name.map_or_else(|| short.clone(), |name| format!("{name}, {short}"))
}

pub(crate) fn submit(db: &Connection, job: &NewJob, now: Timestamp) -> Stored<Inserted> {
    let spec = json(&job.id, "specification", &*job.spec)?;
    let digest = match without_stdin(&job.spec) {
        Cow::Borrowed(_) => digest(&spec),
        Cow::Owned(other) => digest(&json(&job.id, "specification", &other)?),
    };
    if let Some(key) = &job.idempotency_key {
        check_key(key)?;
        if let Some(known) = known(db, job, key, &digest)? {
            return Ok(Inserted::Known(known));
        }
    }
    let found = db.prepare_cached("SELECT 1 FROM jobs WHERE id = ?1")?.exists([job.id.as_str()])?;
    if found {
        return Err(JournalError::JobExists(job.id.clone()).into());
    }
    db.prepare_cached(
        "INSERT INTO jobs (id, idempotency_key, installation, name, spec, spec_digest, detached, \
         runners, submitted_at, relaunch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        job.id.as_str(),
        job.idempotency_key,
        job.installation.as_str(),
        job.spec.name,
        spec,
        digest,
        job.detached,
        json(&job.id, "runners", &job.runners)?,
        now.as_microsecond(),
        job.relaunch.as_ref().map(|how| json(&job.id, "relaunch", how)).transpose()?,
    ])?;
    Ok(Inserted::New)
}

fn check_key(key: &str) -> Result<(), JournalError> {
    let fits = (1..=MAX_KEY).contains(&key.chars().count()) && !key.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(JournalError::InvalidKey(key.to_owned())) }
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
            .is_ok_and(|spec| without_stdin(&spec) == without_stdin(&job.spec))
    };
    if recorded == digest || same() {
        return Ok(Some(known));
    }
    Err(JournalError::KeyTaken {
        key: key.to_owned(),
        job: known,
        recorded: described(name.as_deref(), &recorded),
        submitted: described(job.spec.name.as_deref(), digest),
    }
    .into())
}

/// The state on which a step depends.
struct RecordedState {
    ended: bool,
    /// The last attempt's number and state.
    last: Option<(u32, String)>,
}

fn recorded_state(db: &Connection, job: &JobId) -> Stored<RecordedState> {
    let ended = db
        .prepare_cached("SELECT result IS NOT NULL FROM jobs WHERE id = ?1")?
        .query_row([job.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| JournalError::NoSuchJob(job.to_string()))?;
    let last = db
        .prepare_cached(
            "SELECT number, state FROM attempts WHERE job = ?1 ORDER BY number DESC LIMIT 1",
        )?
        .query_row([job.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(RecordedState { ended, last })
}

fn out_of_order<T>(job: &JobId, step: &'static str, reason: impl Into<String>) -> Stored<T> {
    Err(JournalError::OutOfOrder { job: job.clone(), step: step.into(), reason: reason.into() }
        .into())
}

pub(crate) fn intent(
    db: &Connection,
    job: &JobId,
    attempt: &NewAttempt,
    now: Timestamp,
) -> Stored<()> {
    const STEP: &str = "an intent";
    let AttemptIds { given, expected } = AttemptIds::of(job, attempt);
    if given != expected {
        let (job, attempt) = (job.clone(), given);
        return Err(JournalError::WrongAttempt { job, attempt }.into());
    }
    let recorded = recorded_state(db, job)?;
    if recorded.ended {
        return out_of_order(job, STEP, "it has ended");
    }
    if let Some((number, state)) = recorded.last {
        if state != "refused" {
            let reason = format!("attempt {number} may run ({state})");
            return out_of_order(job, STEP, reason);
        }
        if attempt.number <= number {
            return Err(JournalError::WrongAttempt { job: job.clone(), attempt: given }.into());
        }
    }
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
    Ok(())
}

struct AttemptIds {
    given: AttemptId,
    expected: AttemptId,
}

impl AttemptIds {
    fn of(job: &JobId, attempt: &NewAttempt) -> Self {
        Self { given: attempt.handle.attempt.clone(), expected: job.attempt(attempt.number) }
    }
}

pub(crate) fn started(
    db: &Connection,
    job: &JobId,
    number: u32,
    started_at: Option<Timestamp>,
    image: Option<&ImageReport>,
) -> Stored<()> {
    const STEP: &str = "a start";
    check_last(&recorded_state(db, job)?, job, STEP, number, &["intent", "started"])?;
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
    const STEP: &str = "a refusal";
    let recorded = recorded_state(db, job)?;
    check_last(&recorded, job, STEP, number, &["intent", "refused"])?;
    // The first reason stays.
    db.prepare_cached(
        "UPDATE attempts SET state = 'refused', kind = coalesce(kind, ?3), \
         message = coalesce(message, ?4) WHERE job = ?1 AND number = ?2",
    )?
    .execute(params![job.as_str(), number, kind, message])?;
    Ok(())
}

fn check_last(
    recorded: &RecordedState,
    job: &JobId,
    step: &'static str,
    number: u32,
    states: &[&str],
) -> Stored<()> {
    if recorded.ended {
        return out_of_order(job, step, "it has ended");
    }
    match &recorded.last {
        Some((last, state)) if *last == number && states.contains(&state.as_str()) => Ok(()),
        Some((last, state)) if *last == number => {
            out_of_order(job, step, format!("attempt {number} is on record as {state}"))
        }
        Some((last, _)) => out_of_order(
            job,
            step,
            format!("the step is for attempt {number}, but the last attempt is {last}"),
        ),
        None => out_of_order(job, step, format!("there is no intent of attempt {number}")),
    }
}

pub(crate) fn passed_over(db: &Connection, job: &JobId, passed: &PassedOver) -> Stored<()> {
    if recorded_state(db, job)?.ended {
        return out_of_order(job, "a runner that was passed over", "it has ended");
    }
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
        .ok_or_else(|| JournalError::NoSuchJob(job.to_string()))?;
    if result.job != *job {
        return out_of_order(job, "the outcome", format!("it belongs to job {}", result.job));
    }
    if let Some(recorded) = recorded {
        return same_outcome(job, &recorded, result);
    }
    db.prepare_cached("UPDATE jobs SET result = ?2, ended_at = ?3 WHERE id = ?1")?
        .execute(params![job.as_str(), json(job, "result", result)?, now.as_microsecond()])?;
    db.prepare_cached("UPDATE attempts SET state = 'ended' WHERE job = ?1 AND state <> 'refused'")?
        .execute([job.as_str()])?;
    Ok(())
}

fn same_outcome(job: &JobId, recorded: &str, result: &JobResult) -> Stored<()> {
    let recorded: JobResult = serde_json::from_str(recorded)
        .map_err(|error| unreadable(job.as_str(), "result", error))?;
    if recorded == *result {
        return Ok(());
    }
    Err(JournalError::OutcomeDiffers {
        job: job.clone(),
        recorded: recorded.outcome.to_string(),
        submitted: result.outcome.to_string(),
    }
    .into())
}

pub(crate) fn removed(db: &Connection, job: &JobId, now: Timestamp) -> Stored<()> {
    if !recorded_state(db, job)?.ended {
        return out_of_order(job, "the removal", "it has no outcome yet");
    }
    db.prepare_cached("UPDATE jobs SET removed_at = coalesce(removed_at, ?2) WHERE id = ?1")?
        .execute(params![job.as_str(), now.as_microsecond()])?;
    Ok(())
}

pub(crate) fn forget(db: &Connection, job: &JobId) -> Stored<()> {
    recorded_state(db, job)?;
    if !forget_if_finished(db, job)? {
        return out_of_order(job, "the end of the record", "part of it may still be on a backend");
    }
    Ok(())
}

/// Deletes the record of a job of which nothing is left, and returns whether there was one.
pub(crate) fn forget_if_finished(db: &Connection, job: &JobId) -> Stored<bool> {
    let gone = db
        .prepare_cached("DELETE FROM jobs WHERE id = ?1 AND removed_at IS NOT NULL")?
        .execute([job.as_str()])?;
    Ok(gone > 0)
}

pub(crate) fn request_cancel(
    db: &Connection,
    job: &JobId,
    grace_ms: i64,
    now: Timestamp,
) -> Stored<Cancelled> {
    if recorded_state(db, job)?.ended {
        return Ok(Cancelled::AlreadyEnded);
    }
    // A request whose grace is not shorter than an earlier one changes nothing.
    db.prepare_cached(
        "INSERT INTO cancels (job, asked_at, grace_ms) SELECT ?1, ?2, ?3 \
         WHERE NOT EXISTS (SELECT 1 FROM cancels WHERE job = ?1 AND grace_ms <= ?3)",
    )?
    .execute(params![job.as_str(), now.as_microsecond(), grace_ms])?;
    Ok(Cancelled::Noted)
}

//! The rules that every store applies before it records a step. They do no I/O.

use std::borrow::Cow;

use longshore_core::{Cause, JobId, JobResult, JobSpec};

use crate::error::{JournalError, MAX_KEY};
use crate::record::{NewAttempt, NewJob};

/// What the rules say about a step.
pub(crate) type Ruled<T> = Result<T, JournalError>;

/// The state of a job on which a step depends.
pub(crate) struct RecordedState {
    pub(crate) ended: bool,
    /// The last attempt's number, and its state: `intent`, `started`, `refused` or `ended`.
    pub(crate) last: Option<(u32, Cow<'static, str>)>,
}

pub(crate) fn no_such_job(job: &JobId) -> JournalError {
    JournalError::NoSuchJob(job.to_string())
}

pub(crate) fn job_exists(job: &JobId) -> JournalError {
    JournalError::JobExists(job.clone())
}

fn out_of_order<T>(job: &JobId, step: &'static str, reason: impl Into<String>) -> Ruled<T> {
    Err(JournalError::OutOfOrder { job: job.clone(), step: step.into(), reason: reason.into() })
}

pub(crate) fn json<T: serde::Serialize>(job: &JobId, what: &'static str, of: &T) -> Ruled<String> {
    serde_json::to_string(of).map_err(|error| JournalError::Unreadable {
        job: job.to_string(),
        what: what.into(),
        source: Cause::new(error),
    })
}

/// Returns the job as it is compared with another one. Whether the same command has a stdin may
/// depend on who runs it, and on when.
pub(crate) fn without_stdin(spec: &JobSpec) -> Cow<'_, JobSpec> {
    if !spec.stdin {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    spec.stdin = false;
    Cow::Owned(spec)
}

pub(crate) fn digest(job: &JobId, spec: &JobSpec) -> Ruled<String> {
    let text = json(job, "specification", &*without_stdin(spec))?;
    let bytes = hmac_sha256::Hash::hash(text.as_bytes());
    Ok(bytes.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// Returns a job's name and the beginning of its specification's digest, to distinguish two jobs.
fn described(name: Option<&str>, digest: &str) -> String {
    let short: String = digest.chars().take("sha256:".len() + 12).collect();
    name.map_or_else(|| short.clone(), |name| format!("{name}, {short}"))
}

pub(crate) fn check_key(key: &str) -> Ruled<()> {
    let fits = (1..=MAX_KEY).contains(&key.chars().count()) && !key.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(JournalError::InvalidKey(key.to_owned())) }
}

/// A job on record, as far as it is compared with another one that has the same key.
pub(crate) struct Known<'a> {
    pub(crate) job: JobId,
    pub(crate) name: Option<&'a str>,
    pub(crate) digest: &'a str,
}

/// Returns the error for a key that was used for `known`, which is not `job`.
pub(crate) fn key_taken(key: &str, known: Known<'_>, job: &NewJob, digest: &str) -> JournalError {
    JournalError::KeyTaken {
        key: key.to_owned(),
        job: known.job,
        recorded: described(known.name, known.digest),
        submitted: described(job.spec.name.as_deref(), digest),
    }
}

/// Checks that `attempt` belongs to `job`.
pub(crate) fn belongs(job: &JobId, attempt: &NewAttempt) -> Ruled<()> {
    if attempt.handle.attempt == job.attempt(attempt.number) {
        return Ok(());
    }
    Err(wrong_attempt(job, attempt))
}

fn wrong_attempt(job: &JobId, attempt: &NewAttempt) -> JournalError {
    JournalError::WrongAttempt { job: job.clone(), attempt: attempt.handle.attempt.clone() }
}

pub(crate) fn intent(recorded: &RecordedState, job: &JobId, attempt: &NewAttempt) -> Ruled<()> {
    const STEP: &str = "an intent";
    if recorded.ended {
        return out_of_order(job, STEP, "it has ended");
    }
    if let Some((number, state)) = &recorded.last {
        if state != "refused" {
            return out_of_order(job, STEP, format!("attempt {number} may run ({state})"));
        }
        if attempt.number <= *number {
            return Err(wrong_attempt(job, attempt));
        }
    }
    Ok(())
}

pub(crate) fn started(recorded: &RecordedState, job: &JobId, number: u32) -> Ruled<()> {
    check_last(recorded, job, "a start", number, &["intent", "started"])
}

pub(crate) fn refused(recorded: &RecordedState, job: &JobId, number: u32) -> Ruled<()> {
    check_last(recorded, job, "a refusal", number, &["intent", "refused"])
}

fn check_last(
    recorded: &RecordedState,
    job: &JobId,
    step: &'static str,
    number: u32,
    states: &[&str],
) -> Ruled<()> {
    if recorded.ended {
        return out_of_order(job, step, "it has ended");
    }
    match &recorded.last {
        Some((last, state)) if *last == number && states.contains(&&**state) => Ok(()),
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

pub(crate) fn passed_over(recorded: &RecordedState, job: &JobId) -> Ruled<()> {
    if recorded.ended {
        return out_of_order(job, "a runner that was passed over", "it has ended");
    }
    Ok(())
}

/// Checks that `result` is about `job`.
pub(crate) fn is_of(job: &JobId, result: &JobResult) -> Ruled<()> {
    if result.job != *job {
        return out_of_order(job, "the outcome", format!("it belongs to job {}", result.job));
    }
    Ok(())
}

/// Checks that `result` is the one on record.
pub(crate) fn same_outcome(job: &JobId, recorded: &JobResult, result: &JobResult) -> Ruled<()> {
    if recorded == result {
        return Ok(());
    }
    Err(JournalError::OutcomeDiffers {
        job: job.clone(),
        recorded: recorded.outcome.to_string(),
        submitted: result.outcome.to_string(),
    })
}

pub(crate) fn removed(recorded: &RecordedState, job: &JobId) -> Ruled<()> {
    if !recorded.ended {
        return out_of_order(job, "the removal", "it has no outcome yet");
    }
    Ok(())
}

/// Checks that a record was deleted.
pub(crate) fn forgotten(gone: bool, job: &JobId) -> Ruled<()> {
    if !gone {
        return out_of_order(job, "the end of the record", "part of it may still be on a backend");
    }
    Ok(())
}

//! The errors of the journal.

use std::borrow::Cow;
#[cfg(feature = "sqlite")]
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use longshore_core::{AttemptId, Cause, Error, ErrorKind, JobId};
use serde::{Deserialize, Serialize};

/// The result of an operation on the journal.
pub type Result<T> = std::result::Result<T, JournalError>;

/// The error of an operation on the journal. If a write fails, nothing is written.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum JournalError {
    /// The state directory, or a file in it, cannot be created, opened or written.
    #[error(
        "failed to open {}: make it writable for this user, or choose another state directory (job.stateDirectory)",
        path.display()
    )]
    NotWritable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// The disk that holds the state directory is full.
    #[error(
        "failed to write {} because its disk is full: free some space, or choose another state directory (job.stateDirectory)",
        path.display()
    )]
    DiskFull {
        /// The journal.
        path: PathBuf,
        /// The system's message.
        source: Cause,
    },
    /// The journal needs larger files than this process may write (`RLIMIT_FSIZE`).
    #[error(
        "failed to write {} because this process may write files of at most {limit} bytes: raise the limit (ulimit -f)",
        path.display()
    )]
    FileTooLarge {
        /// The journal.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
        /// SQLite's message.
        source: Cause,
    },
    /// The file is damaged, or was never a journal.
    #[error(
        "failed to read {} because it is damaged or not a Longshore journal: move it away, together with its -wal and -shm files, to begin a new one. It adopts the jobs that are on their runners, with their output, but not what was submitted",
        path.display()
    )]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// A newer Longshore made the journal, and this version might damage its records.
    #[error(
        "failed to open {}, made by a newer Longshore: {made_by} (schema {found}; this version supports {known}): use that version, or another state directory (job.stateDirectory)",
        path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The version that made it.
        made_by: String,
        /// The journal's schema.
        found: i64,
        /// The newest schema that this version supports.
        known: i64,
    },
    /// Another process kept the journal locked for too long.
    #[error(
        "failed to write {} within {waited:?} because another process keeps it locked: find out which process has it open, and end it if it hangs",
        path.display()
    )]
    Busy {
        /// The journal.
        path: PathBuf,
        /// How long the step waited.
        waited: Duration,
        /// SQLite's message.
        source: Cause,
    },
    /// Reading or writing failed in any other way.
    #[error("failed to use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's or SQLite's message.
        source: Cause,
    },
    /// A record does not have the format that this version writes.
    #[error("failed to parse the {what} of job {job} in the journal")]
    Unreadable {
        /// The job.
        job: String,
        /// Which part of the record.
        what: Cow<'static, str>,
        /// What is wrong with it.
        source: Cause,
    },
    /// There is no record of the job.
    #[error("there is no job {0} in the journal")]
    NoSuchJob(String),
    /// The text is the beginning of several jobs' ids.
    #[error("{prefix} may be any of these jobs: {}{}", names(candidates), if *more { ", …" } else { "" })]
    Ambiguous {
        /// The text.
        prefix: String,
        /// The jobs, at most ten.
        candidates: Vec<JobId>,
        /// Whether there are more.
        more: bool,
    },
    /// The text is too short to be the beginning of an id.
    #[error("{0} is too short to name a job: give at least {MIN_PREFIX} characters of its id")]
    PrefixTooShort(String),
    /// A job with this id was submitted before.
    #[error("there is already a job {0} in the journal")]
    JobExists(JobId),
    /// The text is not an idempotency key.
    #[error(
        "`{0}` is not an idempotency key: use 1 to {MAX_KEY} characters, no control characters"
    )]
    InvalidKey(String),
    /// The idempotency key was used before for another job.
    #[error(
        "the idempotency key `{key}` belongs to job {job} ({recorded}), which is not the job submitted now ({submitted}): use another key"
    )]
    KeyTaken {
        /// The key.
        key: String,
        /// The job that was submitted with it.
        job: JobId,
        /// The name and digest of the specification on record.
        recorded: String,
        /// The name and digest of the specification submitted now.
        submitted: String,
    },
    /// The step does not follow from what is on record. Nothing was changed.
    #[error("failed to record {step} of job {job}: {reason}")]
    OutOfOrder {
        /// The job.
        job: JobId,
        /// The step.
        step: Cow<'static, str>,
        /// Why the step is not possible.
        reason: String,
    },
    /// The job has another outcome on record, which stays.
    #[error("failed to record that job {job} {submitted}: the record says that it {recorded}")]
    OutcomeDiffers {
        /// The job.
        job: JobId,
        /// The outcome on record.
        recorded: String,
        /// The other one.
        submitted: String,
    },
    /// The attempt belongs to another job, or has another number.
    #[error("failed to record an attempt of job {job}: {attempt} is not its next attempt")]
    WrongAttempt {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: AttemptId,
    },
    /// The journal's thread has ended.
    #[error("failed to use the journal: its thread has ended")]
    Closed,
}

/// The minimum length of a prefix that names a job.
pub(crate) const MIN_PREFIX: usize = 4;
/// The maximum length of an idempotency key.
pub(crate) const MAX_KEY: usize = 255;

fn names(jobs: &[JobId]) -> String {
    jobs.iter().map(JobId::as_str).collect::<Vec<_>>().join(", ")
}

impl JournalError {
    /// Creates the error of an operation on the file or directory at `path`.
    #[cfg(feature = "sqlite")]
    pub(crate) fn file(path: impl Into<PathBuf>, error: io::Error) -> Self {
        let path = path.into();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source: Cause::new(error) }
            }
            _ => Self::NotWritable { path, source: Cause::new(error) },
        }
    }

    /// Returns the class by which a dispatcher or a command sorts errors.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchJob(_) => ErrorKind::NotFound,
            Self::Busy { .. } => ErrorKind::Unavailable,
            Self::Ambiguous { .. }
            | Self::PrefixTooShort(_)
            | Self::JobExists(_)
            | Self::InvalidKey(_)
            | Self::KeyTaken { .. } => ErrorKind::InvalidSpec,
            _ => ErrorKind::Internal,
        }
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        // The error shows its own text once, then its causes.
        Self::new(error.kind(), error.to_string()).caused_by(error)
    }
}

/// The error of a step in a transaction. The path is added when the step is answered.
#[derive(Debug)]
pub(crate) enum StoreError {
    #[cfg(feature = "sqlite")]
    Sqlite(rusqlite::Error),
    Journal(JournalError),
}

#[cfg(feature = "sqlite")]
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        match error {
            #[cfg(feature = "sqlite")]
            StoreError::Sqlite(error) => {
                Self::Io { path: PathBuf::default(), source: Cause::new(error) }
            }
            StoreError::Journal(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_an_error_of_the_core_it_says_each_cause_once() {
        let error = JournalError::DiskFull {
            path: "/state/journal.db".into(),
            source: Cause::new(io::Error::from(io::ErrorKind::StorageFull)),
        };
        let text = Error::from(error).to_string();
        assert_eq!(
            text,
            "failed to write /state/journal.db because its disk is full: free some space, or choose \
             another state directory (job.stateDirectory): no storage space"
        );
    }

    #[test]
    fn an_error_that_was_written_and_read_says_the_same() {
        let error = JournalError::Unreadable {
            job: "abcd1".to_owned(),
            what: "spec".into(),
            source: Cause::new(io::Error::other("no such field")),
        };
        let text = serde_json::to_string(&error).unwrap();
        let written = r#"{"unreadable":{"job":"abcd1","what":"spec","source":["no such field"]}}"#;
        assert_eq!(text, written);
        let read: JournalError = serde_json::from_str(&text).unwrap();
        assert_eq!(Error::from(read).to_string(), Error::from(error).to_string());
    }

    #[test]
    fn an_ambiguous_prefix_lists_the_candidates() {
        let candidates = ["abcd1", "abcd2"].map(|id| id.parse().unwrap()).to_vec();
        let error = JournalError::Ambiguous { prefix: "abcd".to_owned(), candidates, more: true };
        assert_eq!(error.to_string(), "abcd may be any of these jobs: abcd1, abcd2, …");
    }
}

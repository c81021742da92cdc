//! The durable record of jobs: what was submitted, what is about to be launched, what started, how
//! it ended, and what may still be on a backend.
//!
//! A [`Journal`] is a SQLite file in a state directory, or in memory. Any number of processes can use
//! the file at once.
//! A [`Claim`] is the exclusive right to a job: among all processes, only one exists at a time. The
//! system frees it when its process dies. Every record about a job is written through its claim.
//!
//! # The life of a record
//!
//! | step | method | requires | state |
//! |---|---|---|---|
//! | submitted | [`Journal::submit`] | | `Queued` |
//! | intent | [`Claim::intent`] | every earlier attempt refused | `Launching` |
//! | refused | [`Claim::refused`] | the intent | `Queued` |
//! | started | [`Claim::started`] | the intent | `Running` |
//! | outcome | [`Claim::outcome`] | | `Ended` |
//! | removed | [`Claim::removed`] | the outcome | `Ended` |
//! | forgotten | [`Claim::forget`], [`Journal::sweep`] | removed | |
//!
//! # Invariants
//!
//! - A job has at most one outcome, and at most one attempt that is not proven never to have
//!   started. In SQLite, the tables themselves enforce this, regardless of the code.
//! - A step is on record before its method returns. If the method fails, nothing is recorded.
//! - Steps of several jobs that wait at the same time are written in one transaction.

mod access;
mod backing;
mod claim;
mod error;
#[cfg(feature = "sqlite")]
mod files;
mod filter;
mod journal;
mod locks;
mod memory;
#[cfg(not(feature = "sqlite"))]
mod no_files;
mod outage;
mod record;
mod rules;
mod runner_record;
mod signals;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod topic;

pub use claim::Claim;
pub use error::{JournalError, Result};
pub use filter::{Cursor, CursorError, Filter};
pub use journal::{Attended, Journal, Options, Submitted};
pub use longshore_core::Cause;
pub use record::{
    AttemptRecord, AttemptState, CancelRequest, Cancelled, NewAttempt, NewJob, Record, Relaunch,
    State,
};
pub use runner_record::{Access, Outage};

#[cfg(not(feature = "sqlite"))]
use no_files as files;

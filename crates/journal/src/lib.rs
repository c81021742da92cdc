//! The durable record of jobs: what was submitted, what is about to be launched, what started, how
//! it ended, and what of it may still be on a backend.
//!
//! A [`Journal`] is a SQLite file in a state directory. Any number of processes use it at once. A
//! [`Claim`] is a job in hand: there is one at a time among all processes, and the system frees it
//! when its process dies. All that is recorded of a job goes through its claim.
//!
//! # The way of a record
//!
//! | step | by | before it | state |
//! |---|---|---|---|
//! | submitted | [`Journal::submit`] | | `Queued` |
//! | intent | [`Claim::intent`] | every attempt before it refused | `Launching` |
//! | refused | [`Claim::refused`] | the intent | `Queued` |
//! | started | [`Claim::started`] | the intent | `Running` |
//! | outcome | [`Claim::outcome`] | | `Ended` |
//! | removed | [`Claim::removed`] | the outcome | `Ended` |
//! | forgotten | [`Claim::forget`], [`Journal::sweep`] | removed | |
//!
//! # Invariants
//!
//! - A job has at most one outcome, and at most one attempt that is not proven never to have
//!   started. The tables themselves hold that, whatever the code does.
//! - A step is on record before its method returns, or the method fails and nothing is.
//! - Steps of several jobs that wait at the same time are one transaction.

mod claim;
mod database;
mod error;
mod folder;
mod journal;
mod linux;
mod locks;
mod read;
mod record;
mod signals;
mod worker;
mod write;

pub use claim::Claim;
pub use error::{Cause, JournalError, Result};
pub use journal::{Attended, Journal, Options, Submitted};
pub use record::{
    AttemptRecord, AttemptState, CancelRequest, Cancelled, Filter, NewAttempt, NewJob, Record,
    State,
};

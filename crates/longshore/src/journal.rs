//! The record of jobs, which a [`Dispatcher`](crate::Dispatcher) keeps and searches.
//!
//! A [`Filter`] chooses the [`Record`]s that [`Dispatcher::records`](crate::Dispatcher::records)
//! returns. A program opens a [`Journal`] only to give it to
//! [`DispatcherBuilder::journal`](crate::dispatch::DispatcherBuilder::journal).

pub use longshore_journal::{
    Access, AttemptRecord, AttemptState, Attended, CancelRequest, Cancelled, Cause, Claim, Cursor,
    CursorError, Filter, Journal, JournalError, NewAttempt, NewJob, Options, Outage, Record,
    Relaunch, Result, State, Submitted,
};

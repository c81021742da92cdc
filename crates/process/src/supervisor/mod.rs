//! The supervisor: the process that outlives the command and keeps one job at a time.
//!
//! It is this very program, started again under another name. It has one thread, no runtime, and
//! shares no memory with the runner: what it knows stands in the attempt's record.

mod copy;
mod job;
mod serve;
mod setup;
mod start;

pub(crate) use setup::{ARGV0, OWN_PROGRAM, is_initialised};
pub use setup::{command_apart, init};

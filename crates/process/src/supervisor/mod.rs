//! The supervisor: the process that outlives the command and runs one job at a time.
//!
//! It is the running program, started again under another name, or forked from such a process
//! ([`crate::fork_server`]). It has one thread and no runtime,
//! and shares no memory with the runner. The attempt's record contains its state.

mod copy;
mod exec;
mod fork;
mod input;
mod job;
mod kept;
mod memory;
mod program;
mod serve;
mod setup;
mod start;
mod terminal;
mod wake;

#[cfg(test)]
pub(crate) use input::Input;
pub(crate) use setup::{FORK_SERVER, OWN_PROGRAM, is_initialised};
pub use setup::{command_apart, init};

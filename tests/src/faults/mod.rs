//! The command killed at each step of a job's way, and at any time in between; then what its
//! successors find. A file to which each job writes a line when it starts and one when it ends is
//! the judge.
//!
//! - `kill` is one job and the kill of its command, `tally` what became of all of them.
//! - `run` does it on every backend side by side, and prints the table.

mod kill;
mod run;
mod tally;

pub use run::main;

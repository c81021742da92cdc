//! Kills the command at each step of a job's life, and at any time in between, and then checks what
//! its successors find. The judge is a file to which each job writes a line when it starts and one
//! when it ends.
//!
//! - `kill` runs one job and kills its command, `tally` counts the fates of all jobs.
//! - `run` does this on every backend in parallel, and prints the table.

mod kill;
mod run;
mod tally;

pub use run::main;

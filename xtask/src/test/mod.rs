//! `cargo xtask test`: everything that can be tested on this machine.
//!
//! - `options` is what was asked for, `plan` which test programs there are and
//!   what each needs, `session` the lab around them.
//! - `run` goes through the steps; `build`, `early`, `suites`, `documented`
//!   are steps.
//! - `execute` runs one program within its time, `judge` says what came out,
//!   `book` keeps it, `table` prints it; `leftovers` looks for what is left.

mod again;
mod book;
mod build;
mod documented;
mod early;
mod environment;
mod execute;
mod interrupt;
mod judge;
mod leftovers;
mod libtest;
mod options;
mod plan;
mod run;
mod session;
mod suites;
mod table;

pub(crate) use options::TestOptions;
pub(crate) use run::test;

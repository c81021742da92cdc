//! `cargo xtask test`: everything that can be tested on this machine.
//!
//! - `options` has the options, `plan` lists the test programs and what each
//!   needs, `phases` says which run at the same time, `session` manages the lab
//!   for them.
//! - `run` runs the steps, several at once in `lanes`; `build`, `early`, `suites`,
//!   `documented` are steps, and `times` remembers how long each took.
//! - `execute` runs one program with a time limit, `judge` determines its result,
//!   `book` keeps it, `table` prints it; `slow` finds what `--quick` leaves out;
//!   `leftovers` checks what is left behind.

mod again;
mod backend_names;
mod book;
mod build;
mod documented;
mod early;
mod environment;
mod execute;
mod interrupt;
mod judge;
mod lanes;
mod leftovers;
mod libtest;
mod options;
mod phases;
mod plan;
mod run;
mod scratch;
mod session;
mod slow;
mod suites;
mod table;
mod times;

pub(crate) use options::TestOptions;
pub(crate) use run::test;

//! End-to-end tests of the `longshore` command against real backends.
//!
//! There is a test target for each backend, and the same cases run in each: one table, one
//! expectation. A case that needs a missing backend, or something that a backend cannot do, is
//! listed as ignored with the reason, never as passed.
//!
//! - `lab` finds the backends. `bench` gives a case its own folders and the command. `command`
//!   starts the command in a clean environment and never waits without a deadline.
//! - `cases` has the cases, with a file for each thing that people rely on.
//! - `pull` is the pull-policy matrix, with its own target for all backends.
//! - `faults` kills the command at every step, on all backends in parallel.
//! - `accidents` plays what others do to a job, a table for all runners.
//! - `service` has the tools for the example service's cases. The program `faulty-service` is that
//!   service, with runners that hang and panic.
//! - `helm` has the tools for the chart's cases.
//! - `page` runs the commands of a Markdown page.
//! - `suite` runs the cases, `leftovers` checks at the end what is left behind.
//!
//! The cases read `DOCKER_HOST`, `KUBECONFIG` and `LONGSHORE_LAB_*`, as `cargo xtask lab env`
//! prints them, and `LONGSHORE_REQUIRE` and `LONGSHORE_TEST_REPORT` as the conformance suite does.

pub mod accidents;
mod backend;
mod bench;
mod books;
mod cases;
mod check;
mod clock;
mod command;
pub mod faults;
mod folders;
mod helm;
mod lab;
mod leftovers;
mod network;
mod page;
mod programs;
pub mod pull;
mod running;
mod service;
mod suite;
mod terminal;

pub use suite::{Suite, main};

//! End-to-end tests of the `longshore` command against real backends.
//!
//! There is a test target for each backend, and the same cases run in each: one table, one
//! expectation. A case that needs a backend that is not there, or something a backend cannot do,
//! is listed as ignored with the reason, never as passed.
//!
//! - `lab` finds the backends, `bench` is what a case gets: folders of its own and the command,
//!   `command` starts it in a clean environment and never waits without a deadline.
//! - `cases` holds the cases, a file for each thing that people rely on.
//! - `pull` is the pull-policy matrix, a target of its own for all backends.
//! - `faults` kills the command at every step, on all backends side by side.
//! - `helm` is what the chart's cases work with.
//! - `suite` runs them, `leftovers` looks at the end for what is still there.
//!
//! The cases read `DOCKER_HOST`, `KUBECONFIG` and `LONGSHORE_LAB_*`, as `cargo xtask lab env`
//! prints them, and `LONGSHORE_REQUIRE` and `LONGSHORE_TEST_REPORT` as the conformance suite does.

mod backend;
mod bench;
mod cases;
mod check;
mod command;
pub mod faults;
mod folders;
mod helm;
mod lab;
mod leftovers;
mod network;
mod programs;
pub mod pull;
mod running;
mod suite;

pub use suite::{Suite, main};

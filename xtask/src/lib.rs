//! Longshore's development tasks, as functions.
//!
//! The command is `cargo xtask`. Tests use [`lab`] directly, for example to
//! stop the API server under a running job.

#![expect(clippy::print_stdout, reason = "a development command talks to a person")]

pub mod lab;

//! Longshore's development tasks, as functions.
//!
//! The command is `cargo xtask`. Tests use [`lab`] directly, for example to
//! stop the API server under a running job.

pub mod lab;

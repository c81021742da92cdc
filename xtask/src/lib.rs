//! Longshore's development tasks, as functions.
//!
//! The command is `cargo xtask`. Tests use [`lab`] directly, for example to
//! stop the API server under a running job.

mod bench;
mod cli;
mod codegen;
mod markdown;
mod test;
mod tidy;
mod workspace;

pub mod lab;

pub use cli::main;

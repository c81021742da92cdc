//! Tests of the configuration through its public interface.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
mod cortex;
mod documents;
mod errors;
mod files;
mod formats;
mod loader;
mod policies;

//! The configuration as its callers see it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;
mod documents;
mod errors;
mod files;
mod formats;
mod hocon;
mod loader;
mod policies;

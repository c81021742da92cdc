//! Tests of the reader through its public interface.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod files;
mod interface;
mod robustness;
mod specification;

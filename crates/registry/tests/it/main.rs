//! Tests of the keyring with real files and real helper programs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod any;
mod config_json;
mod helpers;
mod logins;
mod support;

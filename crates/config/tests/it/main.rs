//! The configuration as its callers see it.

mod common;
mod documents;
mod errors;
mod files;
mod formats;
mod hocon;
mod loader;

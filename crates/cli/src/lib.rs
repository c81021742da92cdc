//! The `longshore` command. This is not a library for other programs: see the crate `longshore`.

// No argument, file or answer of a server may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

mod arg_values;
mod args;
mod command_line;
mod commands;
mod complete;
mod complete_setting;
mod config_args;
mod config_file;
mod deferred;
mod detach_keys;
mod entry;
mod env_file;
mod error;
mod follower;
#[doc(hidden)]
pub mod fuzzing;
mod heap;
mod image;
mod job_args;
mod job_file;
mod jobs;
mod leftovers;
mod listing;
mod output;
mod policy;
mod progress;
mod raw_mode;
mod relay;
mod resources;
mod result_file;
mod selection;
mod settings;
mod settings_schema;
mod signal_proxy;
mod signals;
mod spec;
mod stamp;
mod stdin;
mod streams;
mod summary;
mod tail;
mod template;
mod terminal;
#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "it adds seconds to the present")
)]
mod trouble;
mod undelivered;

pub use entry::main;

//! One file a command.

pub mod completions;
pub mod config;
pub mod doctor;
pub mod plan;
pub mod run;

//! One file per command.

pub mod attach;
pub mod cancel;
pub mod completions;
pub mod config;
pub mod detach;
pub mod doctor;
pub mod exec;
pub mod gc;
pub mod inspect;
pub mod kill;
pub mod logs;
pub mod man;
pub mod plan;
pub mod ps;
pub mod rm;
pub mod run;
pub mod wait;

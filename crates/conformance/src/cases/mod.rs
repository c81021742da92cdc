//! The cases, grouped by the trait's methods and the parts of a job's specification.

mod adopt;
mod cancel;
mod directory;
mod environment;
mod events;
mod exec;
mod images;
mod launch;
mod leftovers;
mod limits;
mod list;
mod load;
mod logs;
mod mounts;
mod much_output;
mod outcome;
mod plan;
mod probe;
mod racing;
mod remove;
mod security;
mod settle;
mod shared;
mod signal;
mod stdin;
mod timeout;
mod times;
mod tree;
mod tty;

pub(crate) use list::{all, first, last};
use shared::{
    COUNT, adopted, never_started, nothing_left_of, nothing_stays_of, refused, with_command,
};

//! Accidents: what other people, servers and networks do to a job, played on every runner on which
//! it can happen. One table says how each ends, and `run` prints it with what was seen.
//!
//! - `situation` has the row of the table, `stage` the place where one row is played, `judge` the
//!   comparison of what was expected with what was seen, `run` the suite.
//! - `cluster`, `engine` and `wire` are tools: what others do to a cluster, to an engine, and to the
//!   connection to either.
//! - `common` has the situations of every runner. The other files have those of one runner each, or
//!   those of the network.

mod clocks;
mod cluster;
mod cluster_admission;
mod cluster_live;
mod cluster_login;
mod cluster_node;
mod cluster_place;
mod common;
mod connection;
mod docker;
mod engine;
mod judge;
mod process;
mod run;
mod situation;
mod stage;
mod wire;

pub use run::main;

//! `cargo xtask bench`: measures how long things take on the lab, compared with what people use
//! today. Compare only ratios of one run on one machine: absolute times mean nothing elsewhere.
//!
//! - `image_failure`: from the kubelet's first definite report to the end of the command.
//! - `no_op`: a job that does nothing, compared with kubectl.
//! - `startup`: what the command itself costs, compared with docker and kubectl.
//! - `service`: what the library costs a service, idle and with many jobs or records.

mod context;
mod cost;
mod image_failure;
mod no_op;
mod process;
mod run;
mod sample;
mod service;
mod startup;
mod watch;

pub(crate) use run::{BenchOptions, bench};

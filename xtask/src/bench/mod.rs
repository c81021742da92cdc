//! `cargo xtask bench`: how long things take on the lab, and against what people use today. Ratios
//! of one run on one machine; an absolute time says nothing elsewhere.
//!
//! - `image_failure`: from the kubelet's first definite report to the end of the command.
//! - `no_op`: a job that does nothing, against kubectl.

mod image_failure;
mod no_op;
mod run;
mod sample;
mod watch;

pub(crate) use run::{BenchOptions, bench};

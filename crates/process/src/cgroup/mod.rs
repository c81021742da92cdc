//! Resource limits of jobs by control groups, version 1 or 2 (cgroups(7)).
//!
//! A job with limits gets a cgroup of its own below that of Longshore, in each hierarchy whose
//! controllers it needs. Its processes are in there before they run any code of the job.

mod detect;
mod group;
mod hierarchy;
mod obstacle;
mod plan;
mod unified;

pub(crate) use detect::Support;
pub(crate) use group::{JobGroup, entry_failure, members, remove};
pub(crate) use plan::GroupPlan;

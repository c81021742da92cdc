//! What `longshore doctor` reports: whether each runner would take a job now.
//!
//! [`Dispatcher::examine`](crate::Dispatcher::examine) returns an [`Examination`]. A
//! [`DoctorReport`] is the form of it for monitoring.

pub use longshore_dispatch::{Examination, RunnerHealth};

pub use crate::doctor_report::{
    DoctorError, DoctorImage, DoctorPullPolicy, DoctorReport, DoctorRunner,
};

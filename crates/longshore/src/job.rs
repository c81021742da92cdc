//! Jobs: what to run, the job while it runs, and how it ended.
//!
//! A [`JobSpec`] says what to run. A [`Submission`] adds how to submit it, and
//! [`Dispatcher::submit`](crate::Dispatcher::submit) returns the [`Job`], whose
//! [`wait`](Job::wait) returns a [`JobResult`].

pub use longshore_core::{
    AttachOutput, AttachSpec, Attachment, AttemptId, Container, Cpu, Exec, ExecEvent, ExecSpec,
    Finding, FindingCause, HumanDuration, ImageReason, ImageReport, InvalidId, JobId, JobResult,
    JobSpec, LinuxCapabilities, LinuxCapability, LinuxCapabilityError, LogChunk, LogPosition,
    LogStream, Memory, Network, NotRunReason, Outcome, PassedOver, Process, QuantityError,
    RESERVED_LABEL_PREFIX, RejectReason, ResourceList, Resources, SeccompProfile,
    SeccompProfileType, Secret, SecretSource, SecurityContext, SecurityProfile,
    SecurityProfileError, Severity, Signal, TerminalSize, TerminalSizes, TimedChunk, Volume,
};
pub use longshore_dispatch::{
    Canceller, Detached, DetachedJob, Job, JobEvent, JobEvents, JobLogs, LogWindow, Stopped,
    Submission, WhenFull,
};

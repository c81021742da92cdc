//! The core types of Longshore and the [`Runner`] trait.
//!
//! A [`JobSpec`] says what to run. An [`Attempt`] is one try of one job on one
//! [`Runner`]; its id is the same everywhere. A [`Handle`] is computed without
//! asking the backend and is enough to find the attempt from another process.
//! An [`Outcome`] says how the job ended.
//!
//! This crate does no I/O and knows no backend.

mod attempt;
mod backoff;
mod base64;
mod capabilities;
mod cause;
mod duration;
mod error;
mod error_record;
mod event;
mod exec;
mod finding;
mod forward;
mod image;
mod job;
mod linux_capability;
mod logs;
mod name;
mod outcome;
mod plan;
mod pull;
mod quantity;
mod reference;
mod registry;
mod request_counter;
mod result;
mod runner;
mod secret;
mod security;
mod signal;
mod start_error;
mod stdin;
mod template;
mod terminal;
mod text;
mod validate;
mod volume;

pub use attempt::{Attempt, AttemptId, Handle, InstallationId, InvalidId, JobId, Target};
pub use backoff::Backoff;
pub use capabilities::{Capabilities, Capability, Requirement};
pub use cause::Cause;
pub use duration::HumanDuration;
pub use error::{Error, ErrorKind, LaunchError, Result};
pub use event::{Event, EventSink, Started};
pub use exec::{Exec, ExecEvent, ExecSpec};
pub use finding::{Finding, FindingCause, Severity};
pub use forward::{Forward, Forwarding};
pub use image::{ImageRef, ImageRefError};
pub use job::{Container, JobSpec, Network, Process, ResourceList, Resources, SecretSource};
pub use linux_capability::{LinuxCapability, LinuxCapabilityError};
pub use logs::{LogChunk, LogPosition, LogStream, TimedChunk};
pub use name::{InvalidName, RunnerName};
pub use outcome::{ImageReason, ImageReport, NotRunReason, Outcome, RejectReason, Report};
pub use plan::{Plan, PlanFormat};
pub use pull::{PullPolicies, PullPoliciesError, PullPolicy, PullPolicyError};
pub use quantity::{Cpu, Memory, QuantityError};
pub use registry::{RegistryAuth, RegistryIdentity, RegistryLogin};
pub use request_counter::RequestCounter;
pub use result::{JobResult, PassedOver};
pub use runner::{
    Health, LaunchContext, LocalImage, Runner, Settled, unreadable_events, unreadable_logs,
};
pub use secret::Secret;
pub use security::{
    LinuxCapabilities, SeccompProfile, SeccompProfileType, SecurityContext, SecurityProfile,
    SecurityProfileError,
};
pub use signal::Signal;
pub use start_error::{StartError, start_error};
pub use stdin::JobStdin;
pub use template::JobDirectoryView;
pub use terminal::{AttachOutput, AttachSpec, Attachment, TerminalSize, TerminalSizes};
pub use validate::RESERVED_LABEL_PREFIX;
pub use volume::Volume;

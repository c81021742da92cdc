//! Runners: the built-in ones, and everything that an implementation of [`Runner`] needs.
//!
//! A program that has a runner of its own needs only this module for it. A runner that changes some
//! calls of another implements [`Forward`].

pub use longshore_core::{
    AttachOutput, AttachSpec, Attachment, Attempt, AttemptId, Backoff, Capabilities, Capability,
    Cause, Container, Cpu, Error, ErrorKind, Event, EventSink, Exec, ExecEvent, ExecSpec, Finding,
    FindingCause, Forward, Forwarding, Handle, Health, HumanDuration, ImageReason, ImageRef,
    ImageReport, InstallationId, InvalidId, InvalidName, JobDirectoryView, JobId, JobSpec,
    JobStdin, LaunchContext, LaunchError, LinuxCapabilities, LinuxCapability, LocalImage, LogChunk,
    LogPosition, LogStream, Memory, Network, NotRunReason, Outcome, Plan, PlanFormat, Process,
    PullPolicies, PullPolicy, RegistryAuth, RejectReason, Report, RequestCounter, Requirement,
    ResourceList, Resources, Result, Runner, RunnerName, SeccompProfile, SeccompProfileType,
    Secret, SecretSource, SecurityContext, SecurityProfile, Settled, Severity, Signal, StartError,
    Started, Target, TerminalSize, TerminalSizes, TimedChunk, start_error, unreadable_events,
    unreadable_logs,
};
#[cfg(feature = "docker")]
pub use longshore_docker::DockerRunner;
#[cfg(feature = "kubernetes")]
pub use longshore_kubernetes::KubernetesRunner;
#[cfg(feature = "process")]
pub use longshore_process::ProcessRunner;

//! How a job ended.

use std::fmt;

use jiff::Timestamp;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, PullPolicy};

/// How a job ended.
///
/// Serialised as `{"kind": …}`, with `code`, `signal`, `reason` and `message` if the kind has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// The job ended on its own, or by a signal from inside or from its machine.
    ///
    /// A job that another client stopped through its backend (`docker stop`, `kubectl delete pod`) is
    /// `Lost`, whatever its exit code. If the backend started the job again, this is the first run.
    Exited {
        /// The exit code; 128+n for signal n.
        code: i32,
        /// The signal, if the backend knows it. In containers, exit code 137 and SIGKILL cannot be
        /// distinguished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// The job needed more memory than its limit: the backend reports it *and* the exit code is
    /// 137. A job that survives the death of its child keeps its own exit code.
    OutOfMemory {
        /// The exit code, 137.
        code: i32,
    },
    /// Longshore ended the job because its timeout had passed.
    DeadlineExceeded {
        /// The code with which the job exited when Longshore ended it, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
    },
    /// Longshore ended the job because a user or a caller cancelled it.
    Cancelled {
        /// The code with which the job exited when Longshore ended it, if it ran and the code is
        /// known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
    },
    /// The image was unavailable; nothing started.
    ImageUnavailable {
        /// Why.
        reason: ImageReason,
        /// The backend's message.
        message: String,
    },
    /// The backend accepted the job and then could never start it.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// The backend's message.
        message: String,
    },
    /// The backend ended the job for reasons of its own (node pressure, preemption, drain).
    Evicted {
        /// The backend's message.
        message: String,
    },
    /// The job started or may have started, and its end cannot be known. Never a success.
    Lost {
        /// What is known.
        message: String,
    },
    /// No runner took the job; nothing started.
    NotRun {
        /// Why.
        reason: NotRunReason,
        /// The refusal that ended the search, in one line.
        message: String,
    },
}

/// Why an image was unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[non_exhaustive]
pub enum ImageReason {
    /// The policy forbids asking a registry, and there is no local copy.
    NotPresent,
    /// The registry does not have the image.
    NotFound,
    /// The registry denies access: 401, 403.
    Denied,
    /// The registry gave no answer: connection refused, timeout, 429, 5xx. The only transient
    /// reason.
    Unreachable,
    /// The registry sent something that is not an image, or an image for another platform.
    Invalid,
}

/// Why a backend could not start a job that it had accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[non_exhaustive]
pub enum RejectReason {
    /// The command does not exist (exit code 127).
    CommandNotFound,
    /// The command exists but cannot be executed (exit code 126).
    CommandNotExecutable,
    /// The container cannot be set up: a missing Secret, volume or working directory.
    ContainerConfig,
    /// No node has room within `startTimeout`.
    Unschedulable,
}

/// Why no runner took a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[non_exhaustive]
pub enum NotRunReason {
    /// Every runner was passed over.
    NoRunner,
    /// A runner denied access, which ends the search.
    Denied,
    /// The job itself is invalid.
    InvalidSpec,
    /// The process that submitted it was ended before the job had started.
    Interrupted,
    /// Longshore or a backend failed in any other way.
    Internal,
}

impl Outcome {
    /// Returns the kind's name, as serialised.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "Exited",
            Self::OutOfMemory { .. } => "OutOfMemory",
            Self::DeadlineExceeded { .. } => "DeadlineExceeded",
            Self::Cancelled { .. } => "Cancelled",
            Self::ImageUnavailable { .. } => "ImageUnavailable",
            Self::Rejected { .. } => "Rejected",
            Self::Evicted { .. } => "Evicted",
            Self::Lost { .. } => "Lost",
            Self::NotRun { .. } => "NotRun",
        }
    }

    /// Returns whether the job ran and exited with 0.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0, .. })
    }

    /// Returns whether the job ran and then ended on its own, at its timeout, or by an eviction:
    /// its launch succeeded, and how it ended is known.
    #[must_use]
    pub const fn ran_to_its_end(&self) -> bool {
        match self {
            Self::Exited { .. }
            | Self::OutOfMemory { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Evicted { .. } => true,
            Self::Cancelled { .. }
            | Self::ImageUnavailable { .. }
            | Self::Rejected { .. }
            | Self::Lost { .. }
            | Self::NotRun { .. } => false,
        }
    }

    /// Returns the exit code of the `longshore` command for this outcome.
    ///
    /// | outcome | exit code |
    /// |---|---|
    /// | the job exited | the job's own |
    /// | out of memory | 137 |
    /// | past its deadline | 124 |
    /// | cancelled | the job's own; 143 if it is 0 or unknown (130 is left to the shell) |
    /// | the command cannot be executed | 126 |
    /// | the command does not exist | 127 |
    /// | Longshore could not run the job or does not know its end | 125 |
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Exited { code, .. } | Self::OutOfMemory { code } => *code,
            Self::DeadlineExceeded { .. } => 124,
            Self::Cancelled { code: Some(code) } if *code != 0 => *code,
            Self::Cancelled { .. } => 143,
            Self::Rejected { reason: RejectReason::CommandNotFound, .. } => 127,
            Self::Rejected { reason: RejectReason::CommandNotExecutable, .. } => 126,
            Self::Rejected {
                reason: RejectReason::ContainerConfig | RejectReason::Unschedulable,
                ..
            }
            | Self::ImageUnavailable { .. }
            | Self::Evicted { .. }
            | Self::Lost { .. }
            | Self::NotRun { .. } => 125,
        }
    }

    /// Returns the outcome of a job that a runner refused for good with `error`.
    #[must_use]
    pub fn refused(error: &Error) -> Self {
        let message = error.to_string();
        match error.kind() {
            ErrorKind::ImageUnavailable(reason) => Self::ImageUnavailable { reason, message },
            ErrorKind::Rejected(reason) => Self::Rejected { reason, message },
            ErrorKind::Denied => Self::NotRun { reason: NotRunReason::Denied, message },
            ErrorKind::InvalidSpec => Self::NotRun { reason: NotRunReason::InvalidSpec, message },
            ErrorKind::Unavailable | ErrorKind::Saturated | ErrorKind::Unsupported => {
                Self::NotRun { reason: NotRunReason::NoRunner, message }
            }
            ErrorKind::Cancelled => Self::Cancelled { code: None },
            ErrorKind::NotFound | ErrorKind::Internal => {
                Self::NotRun { reason: NotRunReason::Internal, message }
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code, signal: None } => {
                write!(f, "exited with code {code}")?;
                exceeded_limit(code.saturating_sub(128)).map_or(Ok(()), |(name, limit)| {
                    write!(f, " (a shell's code for {name}: {limit} was exceeded)")
                })
            }
            Self::Exited { code, signal: Some(signal) } => {
                write!(f, "ended by signal {signal} (code {code})")?;
                exceeded_limit(*signal)
                    .map_or(Ok(()), |(name, limit)| write!(f, ", {name}: {limit} was exceeded"))
            }
            Self::OutOfMemory { .. } => f.write_str("needed more memory than its limit"),
            Self::DeadlineExceeded { .. } => f.write_str("ran out of time"),
            Self::Cancelled { .. } => f.write_str("was cancelled"),
            Self::ImageUnavailable { reason, message } => {
                write!(f, "has no image ({reason:?}): {message}")
            }
            Self::Rejected { reason, message } => {
                write!(f, "could not be started ({reason:?}): {message}")
            }
            Self::Evicted { message } => write!(f, "was evicted: {message}"),
            Self::Lost { message } => write!(f, "was lost: {message}"),
            Self::NotRun { message, .. } => write!(f, "was not run: {message}"),
        }
    }
}

/// Returns the name of a signal that Linux sends to a process that exceeds one of its limits, and
/// that limit (setrlimit(2)).
const fn exceeded_limit(signal: i32) -> Option<(&'static str, &'static str)> {
    match signal {
        24 => Some(("SIGXCPU", "the limit on CPU time (ulimit -t)")),
        25 => Some(("SIGXFSZ", "the limit on the size of files (ulimit -f)")),
        _ => None,
    }
}

/// What is known of the image that an attempt ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImageReport {
    /// The reference as the job names it.
    pub requested: String,
    /// The digest that the reference named (index or manifest), such as `sha256:…`. `None` for an
    /// image that was only loaded or imported.
    pub resolved: Option<String>,
    /// The policy in force, read back from the backend.
    pub policy: PullPolicy,
    /// Whether a registry was consulted for this attempt. `None` if the evidence is gone.
    pub pulled: Option<bool>,
    /// Whether an earlier policy asked the registry and got no answer, so that the image may be
    /// older than the one that the reference names now.
    #[serde(default)]
    pub stale: bool,
}

impl ImageReport {
    /// Creates a report with only the request and the policy known.
    #[must_use]
    pub fn new(requested: impl Into<String>, policy: PullPolicy) -> Self {
        Self { requested: requested.into(), resolved: None, policy, pulled: None, stale: false }
    }
}

/// The end of an attempt, as its runner reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// When the job started, by the backend's clock. `None` if it never started.
    pub started_at: Option<Timestamp>,
    /// When the job ended, by the backend's clock.
    pub finished_at: Option<Timestamp>,
    /// The image the job ran; `None` for a process.
    pub image: Option<ImageReport>,
    /// The starts of the job beyond the first one, known when the job ended. Each entry names the
    /// Pod or container.
    ///
    /// Longshore requests one start. On Kubernetes these are extra Pods
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#handling-pod-and-container-failures>)
    /// and restarts of a changed Pod's container; on Docker, restarts by another client or by a
    /// restart policy that another client set.
    #[serde(default)]
    pub started_again: Vec<String>,
}

impl Report {
    /// Creates a report with only `outcome` known.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            started_at: None,
            finished_at: None,
            image: None,
            started_again: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_jobs_own_or_those_of_timeout_and_docker_run() {
        let message = String::new;
        for (outcome, code) in [
            (Outcome::Exited { code: 7, signal: None }, 7),
            (Outcome::Exited { code: 137, signal: Some(9) }, 137),
            (Outcome::OutOfMemory { code: 137 }, 137),
            (Outcome::DeadlineExceeded { code: Some(143) }, 124),
            (Outcome::Cancelled { code: Some(0) }, 143),
            (Outcome::Cancelled { code: Some(137) }, 137),
            (Outcome::Lost { message: message() }, 125),
            (Outcome::Evicted { message: message() }, 125),
            (Outcome::ImageUnavailable { reason: ImageReason::NotFound, message: message() }, 125),
            (Outcome::Rejected { reason: RejectReason::CommandNotFound, message: message() }, 127),
            (
                Outcome::Rejected {
                    reason: RejectReason::CommandNotExecutable,
                    message: message(),
                },
                126,
            ),
            (Outcome::Rejected { reason: RejectReason::Unschedulable, message: message() }, 125),
            (Outcome::NotRun { reason: NotRunReason::NoRunner, message: message() }, 125),
        ] {
            assert_eq!(outcome.exit_code(), code, "{outcome:?}");
        }
    }

    #[test]
    fn an_exceeded_limit_is_named() {
        let text = |code, signal| Outcome::Exited { code, signal }.to_string();
        assert_eq!(
            text(153, Some(25)),
            "ended by signal 25 (code 153), SIGXFSZ: the limit on the size of files (ulimit -f) was \
             exceeded"
        );
        assert_eq!(
            text(152, None),
            "exited with code 152 (a shell's code for SIGXCPU: the limit on CPU time (ulimit -t) \
             was exceeded)"
        );
        assert_eq!(text(137, Some(9)), "ended by signal 9 (code 137)");
        assert_eq!(text(24, None), "exited with code 24");
    }

    #[test]
    fn an_outcome_is_serialised_with_its_kind() {
        let outcome =
            Outcome::ImageUnavailable { reason: ImageReason::NotPresent, message: "no".to_owned() };
        let json = serde_json::json!({
            "kind": "ImageUnavailable", "reason": "NotPresent", "message": "no"
        });
        assert_eq!(serde_json::to_value(&outcome).unwrap(), json);
        assert_eq!(serde_json::from_value::<Outcome>(json).unwrap(), outcome);
        let exited = serde_json::to_value(Outcome::Exited { code: 3, signal: None }).unwrap();
        assert_eq!(exited, serde_json::json!({"kind": "Exited", "code": 3}));
    }
}

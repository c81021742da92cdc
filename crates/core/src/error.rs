//! The errors of a runner.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cause, ImageReason, RejectReason, RunnerName};

/// The result of a runner's operation.
pub type Result<T> = std::result::Result<T, Error>;

/// The class of an error. It decides whether the next runner may be tried.
///
/// It is serialised as `{"kind": …}`, with a `reason` for the kinds that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "kind", content = "reason")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The backend is unreachable or answers 5xx. It may recover later.
    Unavailable,
    /// The backend is reachable but has no capacity now: 429, a quota, no node with room.
    Saturated,
    /// The runner cannot run this job at all.
    Unsupported,
    /// The backend refuses our request or our credentials: 401, 403. A policy refuses the job.
    Denied,
    /// The job itself is invalid on every runner.
    InvalidSpec,
    /// What the handle names does not exist.
    NotFound,
    /// The image is unavailable. It is proven that nothing started.
    ImageUnavailable(ImageReason),
    /// The backend accepted the job, then could not start it, and never will.
    Rejected(RejectReason),
    /// The launch was cancelled before the job had started.
    Cancelled,
    /// Any other failure of Longshore or of the backend.
    Internal,
}

impl ErrorKind {
    /// Returns the kind's name, as used in results and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "Unavailable",
            Self::Saturated => "Saturated",
            Self::Unsupported => "Unsupported",
            Self::Denied => "Denied",
            Self::InvalidSpec => "InvalidSpec",
            Self::NotFound => "NotFound",
            Self::ImageUnavailable(_) => "ImageUnavailable",
            Self::Rejected(_) => "Rejected",
            Self::Cancelled => "Cancelled",
            Self::Internal => "Internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The error of a runner's operation.
///
/// `Display` is one line: what failed, on what, and the chain of causes, each once. `Debug` prints
/// everything, on several lines. Neither contains a secret.
///
/// It is serialised as its kind, its message and what else was recorded. Of its causes, only the
/// texts are kept.
#[derive(Clone)]
pub struct Error {
    pub(crate) kind: ErrorKind,
    pub(crate) message: Cow<'static, str>,
    pub(crate) runner: Option<RunnerName>,
    pub(crate) context: Vec<(Cow<'static, str>, String)>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) source: Option<Cause>,
}

impl Error {
    /// Creates an error of `kind`; `message` says what failed (`failed to …`) or what is wrong.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            runner: None,
            context: Vec::new(),
            retry_after: None,
            source: None,
        }
    }

    /// Creates the error of a launch that was cancelled before the job had started.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the launch was cancelled")
    }

    /// Changes the class of the error, and keeps everything else.
    #[must_use]
    pub const fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Records the runner that failed. The dispatcher calls this; a runner need not.
    #[must_use]
    pub fn on(mut self, runner: &RunnerName) -> Self {
        self.runner = Some(runner.clone());
        self
    }

    /// Adds context, such as the object's name.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key.into(), value.to_string()));
        self
    }

    /// Records how long the backend asked to wait before a retry.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Records the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Cause::new(source));
        self
    }

    /// Returns the class of the error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the runner that failed, if recorded.
    #[must_use]
    pub const fn runner(&self) -> Option<&RunnerName> {
        self.runner.as_ref()
    }

    /// Returns how long the backend asked to wait before a retry (`Retry-After`).
    #[must_use]
    pub const fn asked_to_wait(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.context.is_empty() {
            let pairs: Vec<String> =
                self.context.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            write!(f, " ({})", pairs.join(", "))?;
        }
        let mut said = self.message.to_string();
        for error in self.source.iter().flat_map(Cause::chain) {
            let text = error.to_string();
            // Many libraries repeat their cause in their own message.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.kind.name(), self.message)?;
        if let Some(runner) = &self.runner {
            writeln!(f, "  runner: {runner}")?;
        }
        for (key, value) in &self.context {
            writeln!(f, "  {key}: {value}")?;
        }
        for error in self.source.iter().flat_map(Cause::chain) {
            writeln!(f, "  caused by: {error}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    // `Display` already prints the chain. A reporter that walks sources would print it twice.
}

/// The error of [`Runner::launch`](crate::Runner::launch).
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LaunchError {
    /// It is proven that nothing started and nothing can start: another runner may be tried.
    #[error("{0}")]
    Refused(Error),
    /// The attempt may have started: only [`Runner::settle`](crate::Runner::settle) can find out.
    #[error("{0} (it may have started)")]
    Indeterminate(Error),
}

impl LaunchError {
    /// Records the runner that failed.
    #[must_use]
    pub fn on(self, runner: &RunnerName) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(error.on(runner)),
            Self::Indeterminate(error) => Self::Indeterminate(error.on(runner)),
        }
    }

    /// Returns the error itself.
    #[must_use]
    pub const fn error(&self) -> &Error {
        match self {
            Self::Refused(error) | Self::Indeterminate(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("request failed: {0}")]
    struct Outer(#[source] Inner);

    #[test]
    fn a_kind_is_written_with_its_reason_and_read_again() {
        for (kind, written) in [
            (ErrorKind::Saturated, r#"{"kind":"Saturated"}"#),
            (
                ErrorKind::ImageUnavailable(ImageReason::NotFound),
                r#"{"kind":"ImageUnavailable","reason":"NotFound"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&kind).unwrap(), written);
            assert_eq!(serde_json::from_str::<ErrorKind>(written).unwrap(), kind);
        }
    }

    #[test]
    fn an_error_is_one_line_and_says_each_cause_once() {
        let error = Error::new(ErrorKind::Unavailable, "failed to reach the engine")
            .with("socket", "/run/d.sock")
            .caused_by(Outer(Inner));
        assert_eq!(
            error.to_string(),
            "failed to reach the engine (socket: /run/d.sock): request failed: connection refused"
        );
        assert!(format!("{error:?}").contains("caused by: connection refused"));
    }
}

//! Why a runner did not do what it was asked.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::{ImageReason, RejectReason, RunnerName};

/// The result of an operation of a runner.
pub type Result<T> = std::result::Result<T, Error>;

/// What class of thing went wrong; it decides whether the next runner may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The backend cannot be reached or answers 5xx: it may be well again later.
    Unavailable,
    /// The backend is reached but has no room now: 429, a quota, no node with room.
    Saturated,
    /// The runner cannot run such a job at all.
    Unsupported,
    /// The backend knows us and refuses, or does not accept who we say we are: 401, 403.
    Denied,
    /// The job itself is wrong, whichever runner takes it.
    InvalidSpec,
    /// What the handle names is not there.
    NotFound,
    /// The image cannot be had; provably nothing started.
    ImageUnavailable(ImageReason),
    /// The backend accepted the job and then could not start it, and never will.
    Rejected(RejectReason),
    /// A failure of Longshore's own or of the backend that nothing above describes.
    Internal,
}

impl ErrorKind {
    /// The kind's name, as it stands in results and configuration.
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
            Self::Internal => "Internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a runner did not do what it was asked.
///
/// `Display` is one line: what failed, on what, and the chain of causes, each once. `Debug` tells
/// all, on several lines. Neither holds a secret.
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    runner: Option<RunnerName>,
    context: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what failed (`failed to …`) or what is wrong.
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

    /// Notes the runner that failed.
    #[must_use]
    pub fn on(mut self, runner: &RunnerName) -> Self {
        self.runner = Some(runner.clone());
        self
    }

    /// Notes a circumstance, such as the object's name.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.context.push((key, value.to_string()));
        self
    }

    /// Notes when the backend asked to be tried again.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Notes the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What class of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The runner that failed, if noted.
    #[must_use]
    pub const fn runner(&self) -> Option<&RunnerName> {
        self.runner.as_ref()
    }

    /// When the backend asked to be tried again (`Retry-After`).
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
        let mut cause = self.source.as_deref().map(|e| e as &dyn StdError);
        while let Some(error) = cause {
            let text = error.to_string();
            // Many libraries repeat their cause in their own message.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
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
        let mut cause = self.source.as_deref().map(|e| e as &dyn StdError);
        while let Some(error) = cause {
            writeln!(f, "  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    // The chain is already in Display, once; a reporter that walks sources would say it twice.
}

/// Why [`Runner::launch`](crate::Runner::launch) did not return a started job.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Proven that nothing started and nothing can: another runner may be tried.
    #[error("{0}")]
    Refused(Error),
    /// It may have started: only [`Runner::settle`](crate::Runner::settle) can tell.
    #[error("{0} (it may have started)")]
    Indeterminate(Error),
}

impl LaunchError {
    /// The error itself.
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

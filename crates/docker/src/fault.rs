//! The failures of one request, and what each means.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use longshore_core::{Error, ErrorKind};
use tokio_rustls::rustls;

use crate::endpoint::Endpoint;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a request failed, on the wire.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("failed to connect")]
    Connect(#[source] BoxError),
    #[error("the address is not one of a host")]
    Address,
    #[error("failed to read {}", path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        error: BoxError,
    },
    #[error("the certificates are unusable")]
    Tls(#[source] rustls::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("the answer is not the JSON that an engine sends")]
    Json(#[from] serde_json::Error),
    #[error("the answer names no version of the API")]
    NoVersion,
    #[error("{what} has more than {limit} bytes")]
    TooLong { what: &'static str, limit: usize },
    #[error("the engine broke off the output")]
    BrokenOff,
    #[error("the answer has the status {status}: {message}")]
    Answered {
        status: u16,
        message: String,
        /// Whether it has the header that an engine writes to its answers.
        is_signed: bool,
    },
}

impl Cause {
    /// Whether the request did not reach the engine.
    pub(crate) fn is_unreached(&self) -> bool {
        unreached(self).is_some()
    }
}

/// Why a request to the engine failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The request did not reach the engine: it has no effect, now or later.
    Unreached(Error),
    /// The engine answered with a failure.
    Answered { status: u16, message: String },
    /// The engine did not answer: the request may have had its effect, or may yet.
    Unanswered(Error),
}

impl Fault {
    pub(crate) const fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) const fn is_not_found(&self) -> bool {
        matches!(self.status(), Some(404))
    }

    pub(crate) const fn is_conflict(&self) -> bool {
        matches!(self.status(), Some(409))
    }

    /// Classifies the failure of a request to `endpoint`.
    pub(crate) fn new(cause: Cause, endpoint: &Endpoint) -> Self {
        match cause {
            Cause::Answered { status, message, .. } => Self::Answered { status, message },
            Cause::BrokenOff => broken_off(),
            cause @ (Cause::Json(_) | Cause::NoVersion | Cause::TooLong { .. }) => {
                let error =
                    Error::new(ErrorKind::Unavailable, "the Docker engine's answer is unusable")
                        .with("address", &endpoint.address);
                Self::Unanswered(error.caused_by(cause))
            }
            cause => match unreached(&cause) {
                Some(why) => Self::Unreached(unreachable(why, endpoint).caused_by(cause)),
                None => Self::Unanswered(unanswered(endpoint).caused_by(cause)),
            },
        }
    }

    pub(crate) fn timed_out(after: Duration, endpoint: &Endpoint) -> Self {
        Self::Unanswered(unanswered(endpoint).with("waited", format!("{after:?}")))
    }

    /// Classifies the failure of the first request to `endpoint`, before which nothing else is sent.
    /// Whatever the status is, it says nothing about what was to be asked for: a server that is no
    /// engine answers 404 to everything.
    pub(crate) fn of_greeting(self, endpoint: &Endpoint) -> Self {
        match self {
            Self::Unreached(error) | Self::Unanswered(error) => Self::Unreached(error),
            Self::Answered { status, message } => {
                Self::Unreached(no_engine(status, &message, endpoint))
            }
        }
    }

    /// An answer that is not the engine's: the request may have had its effect, or may yet.
    pub(crate) fn of_stranger(status: u16, message: &str, endpoint: &Endpoint) -> Self {
        Self::Unanswered(no_engine(status, message, endpoint))
    }

    /// Converts to an error; `what` says what failed (`failed to …`).
    pub(crate) fn into_error(self, what: &'static str) -> Error {
        match self {
            Self::Unreached(error) => error,
            Self::Unanswered(error) => Error::new(error.kind(), what).caused_by(error),
            Self::Answered { status, message } => Error::new(kind(status), what)
                .with("status", status)
                .caused_by(message.trim().to_owned()),
        }
    }
}

/// The engine stopped in the middle of a job's output.
pub(crate) fn broken_off() -> Fault {
    Fault::Answered { status: 500, message: "the engine broke off the output".to_owned() }
}

/// The error of a launch whose deadline has passed.
pub(crate) fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the launch did not succeed before its deadline")
}

/// Something answers that is no engine, or does not let us speak to one.
fn no_engine(status: u16, message: &str, endpoint: &Endpoint) -> Error {
    let kind = match kind(status) {
        kind @ (ErrorKind::Denied | ErrorKind::Saturated) => kind,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the answer is not that of a Docker engine")
        .with("address", &endpoint.address)
        .with("status", status)
        .caused_by(message.trim().to_owned())
}

/// The kind of an answer to a request that is not about the job's specification; for the others see
/// [`refusal`](crate::refusal). The engine itself never answers 401; a proxy or an authorization plugin
/// in front of it answers 401 or 403.
const fn kind(status: u16) -> ErrorKind {
    match status {
        400 => ErrorKind::Unavailable,
        401 | 403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        429 => ErrorKind::Saturated,
        500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

fn unanswered(endpoint: &Endpoint) -> Error {
    Error::new(ErrorKind::Unavailable, "the Docker engine did not answer")
        .with("address", &endpoint.address)
}

/// Why the request cannot have reached the engine; `None` if it may have.
fn unreached(cause: &Cause) -> Option<Option<io::ErrorKind>> {
    match cause {
        Cause::Connect(error) => Some(io_kind(&**error)),
        Cause::Address | Cause::Certificate { .. } | Cause::Tls(_) => Some(None),
        _ => None,
    }
}

fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

/// Why the engine cannot be reached, and what to do about it.
///
/// A default socket that we may not open counts as no Docker at all; a configured one refuses us.
pub(crate) fn unreachable(why: Option<io::ErrorKind>, endpoint: &Endpoint) -> Error {
    let named = endpoint.named_by.is_some();
    let (kind, message) = match why {
        Some(io::ErrorKind::PermissionDenied) if named => (
            ErrorKind::Denied,
            "permission to open the Docker socket is missing: join the group that owns it \
             (usually `docker`), or configure another engine",
        ),
        Some(io::ErrorKind::PermissionDenied) => (
            ErrorKind::Unavailable,
            "permission to open the default Docker socket is missing: join the group that owns it \
             (usually `docker`), or set DOCKER_HOST",
        ),
        Some(io::ErrorKind::NotFound) if !named => {
            (ErrorKind::Unavailable, "there is no Docker socket: start Docker, or set DOCKER_HOST")
        }
        Some(io::ErrorKind::NotFound) => {
            (ErrorKind::Unavailable, "there is no Docker engine at this address: is it running?")
        }
        _ => (ErrorKind::Unavailable, "failed to connect to the Docker engine: is it running?"),
    };
    let error = Error::new(kind, message).with("address", &endpoint.address);
    match endpoint.named_by {
        Some(by) => error.with("named by", by),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Address;

    #[test]
    fn a_socket_we_may_not_open_is_denied_only_if_somebody_named_it() {
        let endpoint = |named_by| Endpoint { address: Address::Unix("/d.sock".into()), named_by };
        let denied = Some(io::ErrorKind::PermissionDenied);
        let error = unreachable(denied, &endpoint(Some("DOCKER_HOST")));
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("/d.sock") && error.to_string().contains("DOCKER_HOST"));
        let error = unreachable(denied, &endpoint(None));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("/d.sock"), "{error}");
        for why in [Some(io::ErrorKind::NotFound), Some(io::ErrorKind::ConnectionRefused), None] {
            let error = unreachable(why, &endpoint(Some("DOCKER_HOST")));
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
    }

    #[test]
    fn an_answer_is_told_from_no_answer() {
        let endpoint = Endpoint { address: Address::Unix("/d.sock".into()), named_by: None };
        let answer = Cause::Answered { status: 409, message: "no".to_owned(), is_signed: true };
        let fault = Fault::new(answer, &endpoint);
        assert!(fault.is_conflict());
        assert_eq!(fault.into_error("failed to x").to_string(), "failed to x (status: 409): no");
        let fault = Fault::new(Cause::Read(io::ErrorKind::ConnectionReset.into()), &endpoint);
        assert!(matches!(fault, Fault::Unanswered(_)));
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let fault = Fault::new(Cause::Connect(missing.into()), &endpoint);
        assert!(matches!(fault, Fault::Unreached(_)));
    }
}

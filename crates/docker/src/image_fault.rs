//! Why an image could not be had, by the engine's words. Pure.

use longshore_core::{Error, ErrorKind, ImageReason};

use crate::fault::Fault;

/// A failed pull. Cloned to everybody who waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullFault {
    kind: ErrorKind,
    message: String,
}

impl PullFault {
    /// The registry, or the engine for it, said so in these words.
    pub(crate) fn said(status: Option<u16>, message: &str) -> Self {
        let kind = ErrorKind::ImageUnavailable(reason(status, message));
        Self { kind, message: message.trim().to_owned() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        let kind = ErrorKind::ImageUnavailable(ImageReason::Unreachable);
        Self { kind, message: message.into() }
    }

    /// What a failed request means: an answer is about the image, anything else about the engine.
    pub(crate) fn new(fault: Fault) -> Self {
        match fault {
            Fault::Answered { status, message } => Self::said(Some(status), &message),
            Fault::Unreached(error) | Fault::Unanswered(error) => {
                Self { kind: error.kind(), message: error.to_string() }
            }
        }
    }

    pub(crate) fn error(&self, image: &str) -> Error {
        Error::new(self.kind, "failed to pull the image")
            .with("image", image)
            .caused_by(self.message.clone())
    }
}

/// Wordings of a definite answer. The registry's error codes are those of the distribution
/// specification (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>),
/// which the engine writes out in lower case with spaces; the engine's own stand beside them. An
/// answer that matches none is taken for transient: it is told in its own words and may pass.
const DEFINITE: &[(&str, ImageReason)] = &[
    // MANIFEST_UNKNOWN, MANIFEST_BLOB_UNKNOWN, BLOB_UNKNOWN, NAME_UNKNOWN.
    ("manifest unknown", ImageReason::NotFound),
    ("name unknown", ImageReason::NotFound),
    ("blob unknown", ImageReason::NotFound),
    ("repository name not known to registry", ImageReason::NotFound),
    // UNAUTHORIZED, DENIED. docker.io answers so for a repository that does not exist, too
    // ("pull access denied for x, repository does not exist or may require 'docker login'", with
    // 404): it does not say which, so that the one thing known is that it refuses us.
    ("pull access denied", ImageReason::Denied),
    ("unauthorized", ImageReason::Denied),
    ("requested access to the resource is denied", ImageReason::Denied),
    ("authentication required", ImageReason::Denied),
    ("no basic auth credentials", ImageReason::Denied),
    ("authorization failed", ImageReason::Denied),
    ("insufficient_scope", ImageReason::Denied),
    ("401 unauthorized", ImageReason::Denied),
    ("403 forbidden", ImageReason::Denied),
    // NAME_INVALID, MANIFEST_INVALID, and what the engine makes of content that is no image.
    ("no matching manifest for", ImageReason::Invalid),
    ("does not match the specified platform", ImageReason::Invalid),
    ("manifest invalid", ImageReason::Invalid),
    ("unsupported manifest media type", ImageReason::Invalid),
    ("unsupported media type", ImageReason::Invalid),
    ("mediatype in manifest should be", ImageReason::Invalid),
    ("encountered remote", ImageReason::Invalid),
    ("invalid reference format", ImageReason::Invalid),
    ("filesystem layer verification failed", ImageReason::Invalid),
    ("failed to register layer", ImageReason::Invalid),
    ("unexpected commit digest", ImageReason::Invalid),
    ("archive/tar: invalid tar header", ImageReason::Invalid),
    // Last: "manifest for x not found", and the containerd store's plain "not found".
    ("not found", ImageReason::NotFound),
];

/// Words of a transient failure, which win over any definite one in the same message: a rate
/// limit (TOOMANYREQUESTS) or a 5xx may well mention what was not found.
const TRANSIENT: &[&str] = &[
    "toomanyrequests",
    "too many requests",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "timeout exceeded",
    "deadline exceeded",
    "no such host",
    "temporary failure",
    "unexpected eof",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway",
    "received unexpected http status: 5",
];

fn reason(status: Option<u16>, message: &str) -> ImageReason {
    let message = message.to_ascii_lowercase();
    if TRANSIENT.iter().any(|words| message.contains(words)) {
        return ImageReason::Unreachable;
    }
    match DEFINITE.iter().find(|(words, _)| message.contains(words)) {
        Some((_, reason)) => *reason,
        // The engine's own status is 404 only for what the registry does not have.
        None if status == Some(404) => ImageReason::NotFound,
        None => ImageReason::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_say_of_a_failed_pull_is_classified() {
        use ImageReason::{Denied, Invalid, NotFound, Unreachable};
        for (status, message, expected) in [
            // Engine 20.10, seen.
            (
                Some(404),
                "manifest for localhost:5000/a:no not found: manifest unknown: manifest unknown",
                NotFound,
            ),
            (
                Some(500),
                r#"Get "http://localhost:5999/v2/": dial tcp 127.0.0.1:5999: connect: connection refused"#,
                Unreachable,
            ),
            (
                Some(500),
                r#"Get "https://r.invalid/v2/": dial tcp: lookup r.invalid on 127.0.0.1:53: no such host"#,
                Unreachable,
            ),
            (
                Some(500),
                r#"Head "http://localhost:5001/v2/a/manifests/1": no basic auth credentials"#,
                Denied,
            ),
            (
                Some(404),
                "pull access denied for a, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Denied,
            ),
            (Some(500), "unauthorized: authentication required", Denied),
            (Some(500), "toomanyrequests: You have reached your pull rate limit.", Unreachable),
            (Some(500), "received unexpected HTTP status: 503 Service Unavailable", Unreachable),
            (
                Some(500),
                r#"Get "http://r/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
                Unreachable,
            ),
            (None, "filesystem layer verification failed for digest sha256:0", Invalid),
            (
                Some(404),
                "no matching manifest for linux/amd64 in the manifest list entries",
                Invalid,
            ),
            // The containerd store.
            (
                Some(404),
                r#"failed to resolve reference "localhost:5000/a:no": localhost:5000/a:no: not found"#,
                NotFound,
            ),
            (
                Some(500),
                "failed to authorize: failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized",
                Denied,
            ),
            (
                Some(500),
                r#"failed to do request: Head "http://localhost:5999/v2/a/manifests/1": dial tcp 127.0.0.1:5999: connect: connection refused"#,
                Unreachable,
            ),
            (None, "something new", Unreachable),
        ] {
            assert_eq!(reason(status, message), expected, "{message}");
        }
    }

    #[test]
    fn an_engine_that_does_not_answer_is_no_fault_of_the_image() {
        let fault = Fault::Unanswered(Error::new(ErrorKind::Unavailable, "no answer"));
        assert_eq!(PullFault::new(fault).error("a").kind(), ErrorKind::Unavailable);
    }
}

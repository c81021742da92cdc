//! Why an image is not available, by the engine's message. Pure.

use std::fmt;

use longshore_core::{Error, ErrorKind, ImageReason};

use crate::fault::Fault;

/// A failed pull. Every launch that waited for it gets a clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PullFault {
    kind: ErrorKind,
    message: String,
    /// How often the engine tried to pull.
    tries: u32,
}

impl PullFault {
    fn of(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), tries: 0 }
    }

    /// Classifies the message of the registry, or of the engine about it.
    pub(crate) fn said(status: Option<u16>, message: &str) -> Self {
        let message = message.trim();
        let kind = match refuses_name(message) {
            true => ErrorKind::Unsupported,
            false => ErrorKind::ImageUnavailable(reason(status, message)),
        };
        match hint(message) {
            Some(hint) => Self::of(kind, format!("{message} ({hint})")),
            None => Self::of(kind, message),
        }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::ImageUnavailable(ImageReason::Unreachable), message)
    }

    /// Classifies a failed request: an answer is about the image, any other failure about the
    /// engine.
    pub(crate) fn new(fault: Fault) -> Self {
        match fault {
            Fault::Answered { status, message } => Self::said(Some(status), &message),
            Fault::Unreached(error) | Fault::Unanswered(error) => Self::from(error),
        }
    }

    /// Whether the registry gave no answer, so that a retry makes sense.
    pub(crate) fn is_transient(&self) -> bool {
        self.kind == ErrorKind::ImageUnavailable(ImageReason::Unreachable)
    }

    /// Sets how often the engine tried to pull.
    pub(crate) fn after(self, tries: u32) -> Self {
        Self { tries, ..self }
    }

    pub(crate) fn error(&self, image: &str) -> Error {
        let mut error = Error::new(self.kind, "failed to pull the image").with("image", image);
        if self.tries > 1 {
            error = error.with("tries", self.tries);
        }
        error.caused_by(self.message.clone())
    }
}

impl From<Error> for PullFault {
    fn from(error: Error) -> Self {
        Self::of(error.kind(), error.to_string())
    }
}

impl fmt::Display for PullFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Wordings, in lower case; the first one that a message contains decides. A message that contains
/// none counts as no answer: it is reported verbatim and may be temporary.
///
/// The registry's error codes are those of the distribution specification
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>). An engine
/// with its own store (20.10) writes the code before the registry's message, in lower case with
/// spaces; one with the containerd store (29) gives the registry's message alone, or the status.
const WORDINGS: &[(&str, ImageReason)] = &[
    // The engine's disk is full, during any step.
    ("no space left on device", ImageReason::Unreachable),
    // The content is complete and has the right digest, but is no image, whatever tar reports.
    ("failed to register layer", ImageReason::Invalid),
    ("failed to extract layer", ImageReason::Invalid),
    ("mismatched image rootfs and manifest layers", ImageReason::Invalid),
    ("unmarshal image config", ImageReason::Invalid),
    // The content has another digest than requested.
    ("filesystem layer verification failed", ImageReason::Invalid),
    ("image config verification failed", ImageReason::Invalid),
    ("manifest verification failed", ImageReason::Invalid),
    ("image verification failed for digest", ImageReason::Invalid),
    ("unexpected commit digest", ImageReason::Invalid),
    // No answer: TOOMANYREQUESTS, and Go's messages for a failed connection. These messages may
    // also contain "not found", so they precede that.
    ("toomanyrequests", ImageReason::Unreachable),
    ("too many requests", ImageReason::Unreachable),
    ("rate limit", ImageReason::Unreachable),
    ("connection refused", ImageReason::Unreachable),
    ("connection reset", ImageReason::Unreachable),
    ("i/o timeout", ImageReason::Unreachable),
    ("timeout exceeded", ImageReason::Unreachable),
    ("timeout awaiting", ImageReason::Unreachable),
    ("deadline exceeded", ImageReason::Unreachable),
    ("no such host", ImageReason::Unreachable),
    ("temporary failure", ImageReason::Unreachable),
    ("unexpected eof", ImageReason::Unreachable),
    // NAME_INVALID, MANIFEST_INVALID, and the engines' messages for content that is no usable
    // image.
    ("no matching manifest for", ImageReason::Invalid),
    ("no match for platform", ImageReason::Invalid),
    ("does not match the specified platform", ImageReason::Invalid),
    ("manifest invalid", ImageReason::Invalid),
    ("unsupported manifest media type", ImageReason::Invalid),
    ("unsupported media type", ImageReason::Invalid),
    ("mediatype in manifest should be", ImageReason::Invalid),
    ("(text/html) from remote", ImageReason::Invalid),
    ("encountered remote", ImageReason::Invalid),
    // Schema 1, which 20.10 still accepts if it is signed.
    ("missing signature key", ImageReason::Invalid),
    ("is no longer supported since containerd", ImageReason::Invalid),
    ("schema 1", ImageReason::Invalid),
    // UNAUTHORIZED, DENIED. docker.io gives this answer also for a repository that does not exist
    // ("pull access denied for x, repository does not exist or may require 'docker login'", with
    // 404). It does not distinguish the two, so the only certain fact is that it refuses us.
    ("pull access denied", ImageReason::Denied),
    ("unauthorized", ImageReason::Denied),
    ("requested access to the resource is denied", ImageReason::Denied),
    ("authentication required", ImageReason::Denied),
    ("no basic auth credentials", ImageReason::Denied),
    ("authorization failed", ImageReason::Denied),
    ("authorization token has expired", ImageReason::Denied),
    ("insufficient_scope", ImageReason::Denied),
    ("denied: ", ImageReason::Denied),
    // MANIFEST_UNKNOWN, MANIFEST_BLOB_UNKNOWN, BLOB_UNKNOWN, NAME_UNKNOWN.
    ("manifest unknown", ImageReason::NotFound),
    ("name unknown", ImageReason::NotFound),
    ("blob unknown", ImageReason::NotFound),
    ("unknown blob", ImageReason::NotFound),
    ("repository name not known to registry", ImageReason::NotFound),
    // "manifest for x not found", and the containerd store's plain "not found".
    ("not found", ImageReason::NotFound),
    // Go's JSON decoder, on an invalid manifest or configuration.
    ("invalid character", ImageReason::Invalid),
];

/// Whether the engine does not accept the name of an image. Longshore has checked the name by the rules
/// of the newest engines, so this is a limit of this engine and no mistake of the job: Docker 20.10 knows
/// no registry with an IPv6 address. A registry never says this.
pub(crate) fn refuses_name(message: &str) -> bool {
    without_names(&message.to_ascii_lowercase()).contains("invalid reference format")
}

/// The texts that precede the registry's status in a message.
const STATUS: &[&str] = &["unexpected http status: ", "error parsing http "];

/// Why the registry's answer gave no image. Engines with the containerd store pass on the
/// registry's 401 and 403 as their own status, with any message.
fn reason(status: Option<u16>, message: &str) -> ImageReason {
    let message = message.to_ascii_lowercase();
    let said = without_names(&message);
    let worded = || WORDINGS.iter().find(|(words, _)| said.contains(words));
    match (status, registrys_status(&message)) {
        (Some(401 | 403), _) | (_, Some(401 | 403)) => ImageReason::Denied,
        (_, Some(404)) => ImageReason::NotFound,
        (_, Some(408 | 429 | 500..)) => ImageReason::Unreachable,
        (status, _) => match worded() {
            Some((_, reason)) => *reason,
            None if is_denied_alone(&message) => ImageReason::Denied,
            // The engine's own status is 404 only for what the registry does not have.
            None if status == Some(404) => ImageReason::NotFound,
            None => ImageReason::Unreachable,
        },
    }
}

/// `message` without quoted text, names, digests and addresses, so that an image called
/// `unauthorized` decides nothing. Names are the words with a slash or a colon inside. A media type in
/// parentheses stays.
fn without_names(message: &str) -> String {
    let unquoted: Vec<&str> = message.split('"').step_by(2).collect();
    let bare = |word: &str| {
        let name = word.trim_end_matches([':', ',']);
        let is_plain = name == "i/o" || name.starts_with('(') || !name.contains(['/', ':']);
        if is_plain { word.to_owned() } else { word.replacen(name, "…", 1) }
    };
    unquoted.join("…").split_whitespace().map(bare).collect::<Vec<_>>().join(" ")
}

/// Whether a line ends with the code DENIED alone. Engines write that if the registry's message is
/// the distribution library's default for the code. "permission denied" is a message of the host.
fn is_denied_alone(message: &str) -> bool {
    message.lines().any(|line| line.rsplit(": ").next() == Some("denied"))
}

/// The registry's status, with any phrase after it: "unexpected status from HEAD request to
/// URL: 403 Forbidden", "received unexpected HTTP status: 503 Service Unavailable".
fn registrys_status(message: &str) -> Option<u16> {
    let rest = match STATUS.iter().find_map(|before| message.split_once(before)) {
        Some((_, rest)) => rest,
        None => message.split_once("unexpected status from ")?.1.rsplit_once(": ")?.1,
    };
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What a name means that the engine does not accept.
pub(crate) const NAME: &str = "the name is valid, but this Docker engine is too old for it: 20.10 knows no registry with an IPv6 \
     address";

/// Advice for a name that the engine does not accept, and for a registry that the engine is not
/// configured for. The messages about registries are those of Go's `net/http`, `crypto/tls` and
/// `crypto/x509`.
fn hint(message: &str) -> Option<&'static str> {
    if refuses_name(message) {
        return Some(NAME);
    }
    let says = |words: &str| message.contains(words);
    if says("server gave HTTP response to HTTPS client")
        || says("first record does not look like a TLS handshake")
    {
        return Some(
            "the registry speaks plain HTTP: list it under `insecure-registries` in the Docker \
             engine's configuration",
        );
    }
    if says("certificate signed by unknown authority")
        || says("certificate is not trusted")
        || says("doesn't contain any IP SANs")
    {
        return Some(
            "the Docker engine does not trust the registry's certificate: add its authority under \
             /etc/docker/certs.d, or list the registry under `insecure-registries`",
        );
    }
    None
}

#[cfg(test)]
#[path = "image_fault_tests.rs"]
mod tests;

//! Interprets what the kubelet and the container runtimes say about an image that is unavailable.

use longshore_core::ImageReason;

/// What the status of a container that waits for its image means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullFailure {
    /// The image is unavailable, and waiting does not help.
    Definite(ImageReason, String),
    /// The kubelet or the runtime does not accept the name of the image. Longshore has checked the name
    /// by the rules of the newest runtimes, so this is a limit of the node and no mistake of the job.
    NameRefused(String),
    /// The registry did not answer, or its answer is not in the table below. The kubelet tries
    /// again.
    Transient(String),
    /// The registry refused a pull for which the kubelet may not have had the login yet, with this
    /// reason and message. The kubelet reads the login again and tries again.
    WithoutLogin(ImageReason, String),
}

/// Returns what `reason` and `message` of a waiting container say about its image, or `None` if
/// they are not about the image. `known` is the last known failure of a pull.
///
/// The reasons are the kubelet's (`pkg/kubelet/images/types.go`, `pkg/kubelet/events`).
pub(crate) fn judge_waiting(
    reason: &str,
    message: &str,
    known: Option<&str>,
) -> Option<PullFailure> {
    let text = || message.to_owned();
    Some(match reason {
        "ErrImageNeverPull" => PullFailure::Definite(ImageReason::NotPresent, text()),
        "InvalidImageName" => PullFailure::NameRefused(text()),
        "SignatureValidationFailed" => PullFailure::Definite(ImageReason::Invalid, text()),
        "ErrImagePull" | "ImagePullBackOff" => {
            judge(runtime_message(reason, message).or(known).unwrap_or(message))
        }
        // The runtime could not read its own store, or the registry is down. The image is not the
        // cause, and the kubelet tries again.
        "ImageInspectError" | "RegistryUnavailable" => PullFailure::Transient(text()),
        _ => return None,
    })
}

/// Returns what the runtime's message about a failed pull means.
pub(crate) fn judge(failure: &str) -> PullFailure {
    if refuses_name(failure) {
        return PullFailure::NameRefused(failure.to_owned());
    }
    match classify(failure) {
        ImageReason::Unreachable => PullFailure::Transient(failure.to_owned()),
        definite => PullFailure::Definite(definite, failure.to_owned()),
    }
}

/// Returns the runtime's message within what a kubelet says about a failed pull, in a container's
/// status or in an Event, or `None` if there is none.
///
/// While a kubelet waits before it pulls again, it says only that before Kubernetes 1.31, and
/// repeats the failure since then (`pkg/kubelet/images/image_manager.go`). The text about waiting
/// is never evidence.
pub(crate) fn runtime_message<'a>(reason: &str, message: &'a str) -> Option<&'a str> {
    let after = |start: &str| {
        let rest = message.strip_prefix(start)?.strip_prefix('"')?;
        // The name of an image cannot contain a quote.
        rest.split_once('"')?.1.strip_prefix(": ")
    };
    match reason {
        "ErrImagePull" | "ErrImageNeverPull" => Some(message),
        "ImagePullBackOff" => {
            let cause = after("Back-off pulling image ")?;
            Some(cause.strip_prefix("ErrImagePull: ").unwrap_or(cause))
        }
        "Failed" => after("Failed to pull image "),
        _ => None,
    }
    .filter(|text| !text.is_empty())
}

/// Phrases of the runtimes and the reason that each one means, in order: the first phrase that the
/// message contains wins. The comparison ignores case, quoted text, names and addresses (an
/// ellipsis replaces each), so that an image called `unauthorized` changes nothing. A message
/// without any of these phrases is `Unreachable`, so the kubelet keeps trying.
///
/// Sources:
/// - containerd 1 and 2, `core/remotes/docker` (`resolver.go`, `fetcher.go`, `authorizer.go`, the
///   distribution specification's codes in `errcode.go`), `core/remotes/errors` (`unexpected status
///   from HEAD request to …`; in 1.x also `unexpected status code …`), `core/content` (`helpers.go`:
///   `short read`, `read past expected size`), `plugins/content/local/writer.go` (`unexpected commit
///   digest`), `core/images`, `core/transfer/local/pull.go`; gRPC codes from `errdefs`.
/// - CRI-O: containers/image, `docker/errors.go` (`too many requests to registry`, `invalid status
///   code from registry`, `unable to retrieve auth token: invalid username/password`), the words of
///   the distribution specification's codes, `digest did not match`, `no image found in …`.
/// - cri-dockerd passes on the messages of the Docker Engine (`Error response from daemon: …`):
///   moby, `distribution` (`no matching manifest`, `verification failed for digest`), and with its
///   containerd store those of containerd.
const WORDS: &[(&str, ImageReason)] = &[
    // The kubelet's own message (`pkg/kubelet/images/image_manager.go`).
    ("is not present with pull policy of never", ImageReason::NotPresent),
    // These are no answer, whatever else the message says: a request for a token may be throttled,
    // too.
    ("toomanyrequests", ImageReason::Unreachable),
    ("too many requests", ImageReason::Unreachable),
    ("status 429", ImageReason::Unreachable),
    ("500 internal server error", ImageReason::Unreachable),
    ("502 bad gateway", ImageReason::Unreachable),
    ("503 service unavailable", ImageReason::Unreachable),
    ("504 gateway timeout", ImageReason::Unreachable),
    ("gateway time-out", ImageReason::Unreachable),
    ("connection refused", ImageReason::Unreachable),
    ("no such host", ImageReason::Unreachable),
    ("i/o timeout", ImageReason::Unreachable),
    ("unexpected eof", ImageReason::Unreachable),
    // The node's own settings or tools, or a web page instead of a token.
    ("unable to decode token response", ImageReason::Unreachable),
    ("no resolve hosts", ImageReason::Unreachable),
    ("no pull hosts", ImageReason::Unreachable),
    ("executable file not found", ImageReason::Unreachable),
    // What the registry sent is not an image, not for this platform, or does not match its digest.
    // Before "not found", with which containerd ends some of these messages, too.
    ("no match for platform", ImageReason::Invalid),
    ("no matching manifest for", ImageReason::Invalid),
    ("no image found in image index", ImageReason::Invalid),
    ("no image found in manifest list", ImageReason::Invalid),
    ("image architecture mismatch", ImageReason::Invalid),
    ("unexpected commit digest", ImageReason::Invalid),
    ("unexpected commit size", ImageReason::Invalid),
    ("failed size validation", ImageReason::Invalid),
    ("read past expected size", ImageReason::Invalid),
    ("read exceeds expected size", ImageReason::Invalid),
    ("digest did not match", ImageReason::Invalid),
    ("verification failed for digest", ImageReason::Invalid),
    ("invalid desc ", ImageReason::Invalid),
    ("unexpected media type", ImageReason::Invalid),
    ("unsupported media type", ImageReason::Invalid),
    ("unsupported manifest", ImageReason::Invalid),
    ("no longer supported", ImageReason::Invalid),
    ("byte manifest for", ImageReason::Invalid),
    ("blocked pull of", ImageReason::Invalid),
    // Refused. A registry that hides what it refuses ("does not exist or may require
    // authorization") counts as refusing, because the credentials are the first thing to check.
    ("pull access denied", ImageReason::Denied),
    ("401 unauthorized", ImageReason::Denied),
    ("403 forbidden", ImageReason::Denied),
    ("403 (forbidden)", ImageReason::Denied),
    ("code = unauthenticated", ImageReason::Denied),
    ("code = permissiondenied", ImageReason::Denied),
    ("authorization failed", ImageReason::Denied),
    ("no basic auth credentials", ImageReason::Denied),
    ("missing username or secret", ImageReason::Denied),
    ("invalid username/password", ImageReason::Denied),
    ("unauthorized", ImageReason::Denied),
    ("denied:", ImageReason::Denied),
    (": forbidden", ImageReason::Denied),
    // The token server, not the image, was not found.
    ("oauth token", ImageReason::Unreachable),
    ("anonymous token", ImageReason::Unreachable),
    ("bearer token", ImageReason::Unreachable),
    // Not found.
    ("code = notfound", ImageReason::NotFound),
    ("manifest unknown", ImageReason::NotFound),
    ("name unknown", ImageReason::NotFound),
    ("repository name not known to registry", ImageReason::NotFound),
    ("404 not found", ImageReason::NotFound),
    (": not found", ImageReason::NotFound),
    ("… not found", ImageReason::NotFound),
];

/// Returns why a pull failed, according to the runtime's message.
fn classify(message: &str) -> ImageReason {
    let text = bare(message).to_lowercase();
    WORDS
        .iter()
        .find(|(words, _)| text.contains(words))
        .map_or(ImageReason::Unreachable, |(_, reason)| *reason)
}

/// Returns whether the runtime does not accept the name of an image, according to its message.
fn refuses_name(message: &str) -> bool {
    let text = bare(message).to_lowercase();
    ["invalid reference format", "couldn't parse image"].iter().any(|words| text.contains(words))
}

/// Returns `message` without quoted text, and with an ellipsis for each name, digest and address.
/// These are the words that contain a slash or a colon, and the tag in CRI-O's `reading manifest
/// TAG in …`.
fn bare(message: &str) -> String {
    let unquoted: Vec<&str> = message.split('"').step_by(2).collect();
    let unquoted = unquoted.join("''");
    let words: Vec<&str> = unquoted.split_whitespace().collect();
    let bared = words.iter().enumerate().map(|(at, word)| {
        let is_tag = at > 0 && words[at - 1] == "manifest" && words.get(at + 1) == Some(&"in");
        // A colon after the name belongs to the sentence.
        let name = word.trim_end_matches(':');
        let is_plain = matches!(name, "i/o" | "username/password") || !name.contains(['/', ':']);
        if is_plain && !is_tag {
            *word
        } else if word.ends_with(':') {
            "…:"
        } else {
            "…"
        }
    });
    bared.collect::<Vec<_>>().join(" ")
}

/// Returns whether the node asked a registry, according to one of the Pod's Events, or `None` if
/// the Event is not about that. The kubelet reports `Pulling` before it asks, and `Pulled`
/// afterwards or if the image was already on the node (`pkg/kubelet/images/image_manager.go`).
pub(crate) fn registry_consulted(event_reason: &str, message: &str) -> Option<bool> {
    match event_reason {
        "Pulling" => Some(true),
        "Pulled" if message.starts_with("Successfully pulled image") => Some(true),
        "Pulled" if message.contains("already present on machine") => Some(false),
        _ => None,
    }
}

/// Returns the digest that the node resolved the image to, from the `imageID` of a container
/// status: `REPOSITORY@DIGEST`, which cri-dockerd prefixes with `docker-pullable://`. An image that
/// was only loaded or imported has a bare ID instead, which contains no digest.
pub(crate) fn digest(image_id: &str) -> Option<String> {
    image_id.rsplit_once('@').map(|(_, digest)| digest.to_owned())
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;

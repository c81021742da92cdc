//! What the kubelet and the container runtimes say when an image cannot be had.

use longshore_core::ImageReason;

/// What a container that waits for its image tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullTrouble {
    /// It cannot be had: waiting longer does not help.
    Definite(ImageReason, String),
    /// The registry gave no answer, or one that is not known here; the kubelet tries again.
    Transient(String),
    /// The registry refused a kubelet that may not have had the login yet, for this reason and in
    /// these words; the kubelet reads the login again, and tries again.
    WithoutLogin(ImageReason, String),
}

/// What `reason` and `message` of a waiting container say about its image; none if they are not
/// about the image. `known` is what was last heard of a failed pull.
///
/// The reasons are the kubelet's (`pkg/kubelet/images/types.go`, `pkg/kubelet/events`).
pub(crate) fn trouble(reason: &str, message: &str, known: Option<&str>) -> Option<PullTrouble> {
    let said = || message.to_owned();
    Some(match reason {
        "ErrImageNeverPull" => PullTrouble::Definite(ImageReason::NotPresent, said()),
        "InvalidImageName" | "SignatureValidationFailed" => {
            PullTrouble::Definite(ImageReason::Invalid, said())
        }
        "ErrImagePull" | "ImagePullBackOff" => {
            judge(failure(reason, message).or(known).unwrap_or(message))
        }
        // The runtime could not look at its own store, or the registry is gone: not the image's
        // fault, and tried again.
        "ImageInspectError" | "RegistryUnavailable" => PullTrouble::Transient(said()),
        _ => return None,
    })
}

/// What the runtime's words about a failed pull mean.
pub(crate) fn judge(failure: &str) -> PullTrouble {
    match classify(failure) {
        ImageReason::Unreachable => PullTrouble::Transient(failure.to_owned()),
        definite => PullTrouble::Definite(definite, failure.to_owned()),
    }
}

/// The runtime's words in what a kubelet says about a failed pull, as a container's status or as an
/// Event; none if it says nothing of the kind.
///
/// A kubelet that waits before it pulls again only says so, before Kubernetes 1.31; since then it
/// repeats the failure (`pkg/kubelet/images/image_manager.go`). What it says of its waiting is never
/// evidence.
pub(crate) fn failure<'a>(reason: &str, message: &'a str) -> Option<&'a str> {
    let after = |start: &str| {
        let rest = message.strip_prefix(start)?.strip_prefix('"')?;
        // No image's name holds a quote.
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
    .filter(|said| !said.is_empty())
}

/// Words of the runtimes and the reason they stand for, in order: the first that is contained
/// wins. Compared in lower case, without what is quoted and without names and addresses (each is an
/// ellipsis), so that an image called `unauthorized` changes nothing. What nothing matches is
/// `Unreachable`, so the kubelet goes on trying.
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
/// - cri-dockerd hands on the Docker Engine's words (`Error response from daemon: …`): moby,
///   `distribution` (`no matching manifest`, `verification failed for digest`), and with its
///   containerd store those of containerd.
const WORDS: &[(&str, ImageReason)] = &[
    // The kubelet's own (`pkg/kubelet/images/image_manager.go`).
    ("is not present with pull policy of never", ImageReason::NotPresent),
    // No answer that counts, whatever else is said: asking for a token may be throttled too.
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
    // The node's own settings or tools, or a web page in the place of a token.
    ("unable to decode token response", ImageReason::Unreachable),
    ("no resolve hosts", ImageReason::Unreachable),
    ("no pull hosts", ImageReason::Unreachable),
    ("executable file not found", ImageReason::Unreachable),
    // What was sent is no image, not for this platform, or not what its digest says. Before "not
    // found", with which containerd ends some of these messages too.
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
    ("invalid reference format", ImageReason::Invalid),
    ("couldn't parse image", ImageReason::Invalid),
    // Refused. A registry that hides what it refuses ("does not exist or may require
    // authorization") counts as refusing: credentials are the first thing to look at.
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
    // It is where tokens are had that is not there.
    ("oauth token", ImageReason::Unreachable),
    ("anonymous token", ImageReason::Unreachable),
    ("bearer token", ImageReason::Unreachable),
    // Not there.
    ("code = notfound", ImageReason::NotFound),
    ("manifest unknown", ImageReason::NotFound),
    ("name unknown", ImageReason::NotFound),
    ("repository name not known to registry", ImageReason::NotFound),
    ("404 not found", ImageReason::NotFound),
    (": not found", ImageReason::NotFound),
    ("… not found", ImageReason::NotFound),
];

/// Why a pull failed, from the runtime's words.
fn classify(message: &str) -> ImageReason {
    let said = bare(message).to_lowercase();
    WORDS
        .iter()
        .find(|(words, _)| said.contains(words))
        .map_or(ImageReason::Unreachable, |(_, reason)| *reason)
}

/// `message` without quoted text, and with an ellipsis for each name, digest and address: what has a
/// slash or a colon within it, and the tag in CRI-O's `reading manifest TAG in …`.
fn bare(message: &str) -> String {
    let unquoted: Vec<&str> = message.split('"').step_by(2).collect();
    let unquoted = unquoted.join("''");
    let words: Vec<&str> = unquoted.split_whitespace().collect();
    let bared = words.iter().enumerate().map(|(at, word)| {
        let is_tag = at > 0 && words[at - 1] == "manifest" && words.get(at + 1) == Some(&"in");
        // The colon that ends a name belongs to the sentence.
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

/// Whether the node asked a registry, from one of the Pod's Events; none if the Event is not
/// about that. The kubelet notes `Pulling` before it asks and `Pulled` after, the latter also for
/// an image that was there (`pkg/kubelet/images/image_manager.go`).
pub(crate) fn registry_consulted(event_reason: &str, message: &str) -> Option<bool> {
    match event_reason {
        "Pulling" => Some(true),
        "Pulled" if message.starts_with("Successfully pulled image") => Some(true),
        "Pulled" if message.contains("already present on machine") => Some(false),
        _ => None,
    }
}

/// The digest that the node resolved the image to, from a container status's `imageID`:
/// `REPOSITORY@DIGEST`, with `docker-pullable://` before it from cri-dockerd. A bare id is that of
/// an image which was only loaded or imported, and names no digest.
pub(crate) fn digest(image_id: &str) -> Option<String> {
    image_id.rsplit_once('@').map(|(_, digest)| digest.to_owned())
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;

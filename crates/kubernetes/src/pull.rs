//! What the kubelet and the container runtimes say when an image cannot be had.

use longshore_core::ImageReason;

/// What a container that waits for its image tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullTrouble {
    /// It cannot be had: waiting longer does not help.
    Definite(ImageReason, String),
    /// The registry gave no answer, or one that is not known here; the kubelet tries again.
    Transient(String),
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
        "ErrImagePull" => Some(message),
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
/// wins. Compared in lower case, without what is quoted and without addresses, so that an image
/// called `unauthorized` changes nothing. What nothing matches is `Unreachable`, so the kubelet
/// goes on trying.
///
/// Sources: containerd `core/remotes/docker` (`unexpected status code …`, `pull access denied,
/// repository does not exist or may require authorization`, `failed to fetch oauth token`) and
/// `core/images` (`no match for platform`); gRPC codes from `errdefs`. CRI-O through
/// containers/image `docker/errors.go` (`toomanyrequests`, `invalid status code from registry`,
/// `reading manifest`), e.g. cri-o issues 4388, 5282, 7007. cri-dockerd hands on the Docker
/// Engine's words (`Error response from daemon: …`). The error codes are the distribution
/// specification's (`MANIFEST_UNKNOWN`, `NAME_UNKNOWN`, `UNAUTHORIZED`, `DENIED`,
/// `TOOMANYREQUESTS`), which each client writes in lower case with spaces.
const WORDS: &[(&str, ImageReason)] = &[
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
    // What was sent is no image, or not for this platform. Before "not found", with which
    // containerd ends this message too.
    ("no match for platform", ImageReason::Invalid),
    ("no matching manifest for", ImageReason::Invalid),
    ("no image found in image index", ImageReason::Invalid),
    ("no image found in manifest list", ImageReason::Invalid),
    ("unexpected commit digest", ImageReason::Invalid),
    ("failed size validation", ImageReason::Invalid),
    ("unsupported media type", ImageReason::Invalid),
    ("unsupported manifest", ImageReason::Invalid),
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
    ("unauthorized", ImageReason::Denied),
    ("denied:", ImageReason::Denied),
    (": forbidden", ImageReason::Denied),
    // Not there.
    ("code = notfound", ImageReason::NotFound),
    ("manifest unknown", ImageReason::NotFound),
    ("name unknown", ImageReason::NotFound),
    ("repository name not known to registry", ImageReason::NotFound),
    ("404 not found", ImageReason::NotFound),
    (": not found", ImageReason::NotFound),
];

/// Why a pull failed, from the runtime's words.
fn classify(message: &str) -> ImageReason {
    let said = bare(message).to_lowercase();
    WORDS
        .iter()
        .find(|(words, _)| said.contains(words))
        .map_or(ImageReason::Unreachable, |(_, reason)| *reason)
}

/// `message` without quoted text and without addresses.
fn bare(message: &str) -> String {
    let unquoted: Vec<&str> = message.split('"').step_by(2).collect();
    let unquoted = unquoted.join("''");
    let words = unquoted.split(' ').map(|word| {
        let address = word.contains("://");
        // The colon that ends an address belongs to the sentence.
        if address { if word.ends_with(':') { "…:" } else { "…" } } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
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
mod tests {
    use super::*;
    use ImageReason::{Denied, Invalid, NotFound, Unreachable};

    /// Messages as users reported them or as the lab showed them.
    const SEEN: &[(&str, ImageReason)] = &[
        // containerd 1.6
        (
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "localhost:5000/x:1": failed to resolve reference "localhost:5000/x:1": localhost:5000/x:1: not found"#,
            NotFound,
        ),
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "127.0.0.1:1/x:1": failed to resolve reference "127.0.0.1:1/x:1": failed to do request: Head "http://127.0.0.1:1/v2/x/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused"#,
            Unreachable,
        ),
        (
            r#"failed to pull and unpack image "r/x:1": failed to resolve reference "r/x:1": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
            Denied,
        ),
        (
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "r/x:1": failed to resolve reference "r/x:1": failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized"#,
            Denied,
        ),
        (
            r#"rpc error: code = Unknown desc = failed to resolve image "r/x:1": failed to authorize: failed to fetch oauth token: unexpected status: 429 Too Many Requests"#,
            Unreachable,
        ),
        (
            r#"failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/x/manifests/sha256:05: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit."#,
            Unreachable,
        ),
        // containerd 2
        (
            r#"failed to pull and unpack image "r/x:1": failed to resolve reference "r/x:1": unexpected status from HEAD request to https://r/v2/x/manifests/1: 403 Forbidden"#,
            Denied,
        ),
        (
            r#"failed to pull and unpack image "r/x:1": failed to resolve reference "r/x:1": unexpected status from HEAD request to http://r/v2/x/manifests/1: 503 Service Unavailable"#,
            Unreachable,
        ),
        (
            r#"failed to pull and unpack image "r/x:1": no match for platform in manifest: not found"#,
            Invalid,
        ),
        (
            r#"failed commit on ref "layer-sha256:aa": unexpected commit digest sha256:bb, expected sha256:aa: failed precondition"#,
            Invalid,
        ),
        (
            r#"failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://r/v2/x/blobs/sha256:d0": context canceled"#,
            Unreachable,
        ),
        (
            r#"failed to do request: Head "https://r.example/v2/x": dial tcp: lookup r.example on 10.0.0.1:53: no such host"#,
            Unreachable,
        ),
        // CRI-O
        (
            "rpc error: code = Unknown desc = Error reading manifest latest in registry.mydomain/image: manifest unknown: manifest unknown",
            NotFound,
        ),
        (
            "rpc error: code = Unknown desc = Requesting bearer token: invalid status code from registry 403 (Forbidden)",
            Denied,
        ),
        (
            "Error reading manifest 1 in quay.io/x/y: unauthorized: access to the requested resource is not authorized",
            Denied,
        ),
        (
            "reading manifest v3 in docker.io/x/y: toomanyrequests: You have reached your pull rate limit.",
            Unreachable,
        ),
        (
            "initializing source docker://r/x:1: pinging container registry r: Get \"https://r/v2/\": dial tcp 10.0.0.9:443: i/o timeout",
            Unreachable,
        ),
        // cri-dockerd
        (
            "rpc error: code = Unknown desc = Error response from daemon: manifest for x:1 not found: manifest unknown: manifest unknown",
            NotFound,
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Denied,
        ),
        (
            "rpc error: code = Unknown desc = Error response from daemon: unauthorized: authentication required",
            Denied,
        ),
        (r#"Error response from daemon: Head "https://r/v2/x/manifests/1": Forbidden"#, Denied),
        // The image's name is not evidence.
        (r#"failed to pull image "r/unauthorized:not-found": EOF"#, Unreachable),
        ("something that nobody has seen before", Unreachable),
    ];

    #[test]
    fn each_runtimes_words_are_classified() {
        for (message, reason) in SEEN {
            assert_eq!(classify(message), *reason, "{message}");
        }
    }

    #[test]
    fn only_what_gave_no_answer_is_tried_again() {
        assert!(matches!(
            trouble("ErrImagePull", "503 Service Unavailable", None),
            Some(PullTrouble::Transient(_))
        ));
        let definite = |reason, message| match trouble(reason, message, None) {
            Some(PullTrouble::Definite(reason, _)) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(definite("ErrImageNeverPull", "…"), ImageReason::NotPresent);
        assert_eq!(definite("InvalidImageName", "…"), Invalid);
        assert_eq!(trouble("ContainerCreating", "", Some("x: not found")), None);
        let config = trouble("CreateContainerConfigError", "secret \"x\" not found", None);
        assert_eq!(config, None);
    }

    #[test]
    fn that_the_kubelet_waits_changes_nothing() {
        let not_found = "rpc error: code = NotFound desc = x: not found";
        let since_1_31 = format!(r#"Back-off pulling image "x:1": ErrImagePull: {not_found}"#);
        let before = r#"Back-off pulling image "x:1""#;
        let expected = Some(PullTrouble::Definite(NotFound, not_found.to_owned()));
        assert_eq!(trouble("ErrImagePull", not_found, None), expected);
        assert_eq!(trouble("ImagePullBackOff", &since_1_31, None), expected);
        assert_eq!(trouble("ImagePullBackOff", before, Some(not_found)), expected);
        let refused = "dial tcp 127.0.0.1:9: connect: connection refused";
        let expected = Some(PullTrouble::Transient(refused.to_owned()));
        assert_eq!(trouble("ImagePullBackOff", before, Some(refused)), expected);
        let nothing = Some(PullTrouble::Transient(before.to_owned()));
        assert_eq!(trouble("ImagePullBackOff", before, None), nothing);
    }

    #[test]
    fn a_failed_pull_is_heard_from_the_event_as_from_the_status() {
        let event = r#"Failed to pull image "x:1": dial tcp: i/o timeout"#;
        assert_eq!(failure("Failed", event), Some("dial tcp: i/o timeout"));
        assert_eq!(failure("Failed", "Error: ErrImagePull"), None);
        assert_eq!(failure("BackOff", r#"Back-off pulling image "x:1""#), None);
        assert_eq!(failure("ErrImagePull", ""), None);
    }

    #[test]
    fn the_pods_events_tell_whether_a_registry_was_asked() {
        let present =
            "Container image \"x\" already present on machine and can be accessed by the pod";
        assert_eq!(registry_consulted("Pulled", present), Some(false));
        assert_eq!(
            registry_consulted("Pulled", "Successfully pulled image \"x\" in 10ms"),
            Some(true)
        );
        assert_eq!(registry_consulted("Pulling", "Pulling image \"x\""), Some(true));
        assert_eq!(registry_consulted("Scheduled", "…"), None);
    }

    #[test]
    fn an_image_that_was_only_imported_has_no_digest() {
        assert_eq!(digest("localhost:5000/x@sha256:ab").as_deref(), Some("sha256:ab"));
        assert_eq!(digest("docker-pullable://x@sha256:ab").as_deref(), Some("sha256:ab"));
        assert_eq!(digest("sha256:ab"), None);
        assert_eq!(digest(""), None);
    }
}

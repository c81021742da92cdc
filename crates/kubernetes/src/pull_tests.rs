use super::*;
use ImageReason::{Denied, Invalid, NotFound, Unreachable};

/// Messages that users reported or that the lab produced.
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
    // containerd 2.4 with its transfer service, as the lab's kubelet reported them.
    (
        r#"failed to pull and unpack image "l:1/x:1": failed to resolve image: unexpected status from HEAD request to http://l:1/v2/x/manifests/1: 401 Unauthorized"#,
        Denied,
    ),
    (
        r#"failed to pull and unpack image "l:1/x:1": failed to resolve image: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"#,
        Denied,
    ),
    (
        "failed to resolve image: unexpected status from HEAD request to http://l:1/v2/x/manifests/1: 403 Forbidden\ndenied",
        Denied,
    ),
    (
        r#"rpc error: code = NotFound desc = failed to pull and unpack image "l:1/x:1": failed to resolve image: l:1/x:1: not found"#,
        NotFound,
    ),
    (
        "failed to resolve image: unexpected status from HEAD request to http://l:1/v2/x/manifests/1: 429 Too Many Requests",
        Unreachable,
    ),
    (
        "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to http://l:1/v2/x/blobs/sha256:9d: 401 Unauthorized\nunauthorized",
        Denied,
    ),
    (
        "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to http://l:1/v2/x/blobs/sha256:9d: 500 Internal Server Error\nunknown",
        Unreachable,
    ),
    (
        "rpc error: code = NotFound desc = failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:9d (application/vnd.docker.container.image.v1+json) from remote: not found",
        NotFound,
    ),
    (
        "failed to resolve image: failed to authorize: failed to fetch anonymous token: unexpected status from GET request to http://l:1/token?scope=repository%3Ax%3Apull: 401 Unauthorized",
        Denied,
    ),
    (
        "failed to resolve image: failed to authorize: failed to fetch anonymous token: unexpected status from GET request to http://l:1/token: 404 Not Found",
        Unreachable,
    ),
    (
        "rpc error: code = NotFound desc = get image config descriptor: no match for platform in manifest sha256:38: not found",
        Invalid,
    ),
    (
        "rpc error: code = FailedPrecondition desc = failed to copy: httpReadSeeker: read past expected size 438: failed precondition",
        Invalid,
    ),
    (
        r#"failed to pull and unpack image "l:1/x:1": children: invalid desc sha256:2c: invalid character 'h' looking for beginning of value"#,
        Invalid,
    ),
    (
        "rpc error: code = InvalidArgument desc = schema 1 image manifests are no longer supported: invalid argument",
        Invalid,
    ),
    (
        r#"failed to pull and unpack image "l:1/x:1": short read: expected 307200 bytes but got 150000: unexpected EOF"#,
        Unreachable,
    ),
    (
        r#"failed to do request: Get "https://l:1/v2/x/blobs/sha256:86": read tcp 127.0.0.1:52448->127.0.0.1:1: read: connection reset by peer"#,
        Unreachable,
    ),
    (
        r#"rpc error: code = DeadlineExceeded desc = failed to resolve image: failed to do request: Head "https://l:1/v2/x/manifests/1": net/http: timeout awaiting response headers"#,
        Unreachable,
    ),
    (
        r#"failed to do request: Head "https://vm:1/v2/x/manifests/1": http: server gave HTTP response to HTTPS client"#,
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
    (
        "unable to retrieve auth token: invalid username/password: unauthorized: Please login to the Red Hat Registry",
        Denied,
    ),
    (
        r#"choosing image instance: no image found in manifest list for architecture amd64, variant "", OS linux"#,
        Invalid,
    ),
    ("invalid status code from registry 503 (Service Unavailable)", Unreachable),
    ("reading manifest unauthorized in r.example/x: manifest unknown", NotFound),
    ("writing blob: Digest did not match, expected sha256:aa, got sha256:bb", Invalid),
    // cri-dockerd
    (
        "Error response from daemon: no matching manifest for linux/amd64 in the manifest list entries",
        Invalid,
    ),
    (
        "Error response from daemon: filesystem layer verification failed for digest sha256:aa",
        Invalid,
    ),
    ("Error response from daemon: unknown: artifact team/x:1 not found", NotFound),
    ("Error response from daemon: received unexpected HTTP status: 502 Bad Gateway", Unreachable),
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
    // The name of the image is no evidence.
    (r#"failed to pull image "r/unauthorized:not-found": EOF"#, Unreachable),
    ("failed to resolve image: l:1/denied/unauthorized:1: not found", NotFound),
    ("manifest for unauthorized:latest not found: manifest unknown: manifest unknown", NotFound),
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
        judge_waiting("ErrImagePull", "503 Service Unavailable", None),
        Some(PullFailure::Transient(_))
    ));
    let definite = |reason, message| match judge_waiting(reason, message, None) {
        Some(PullFailure::Definite(reason, _)) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(definite("ErrImageNeverPull", "…"), ImageReason::NotPresent);
    assert_eq!(judge_waiting("ContainerCreating", "", Some("x: not found")), None);
    let config = judge_waiting("CreateContainerConfigError", "secret \"x\" not found", None);
    assert_eq!(config, None);
}

/// A name such as `[::1]:5000/x` ended the job as an image that is invalid, though another runner can
/// pull it.
#[test]
fn a_name_that_an_old_runtime_does_not_accept_was_an_invalid_image() {
    let refused = "Error response from daemon: invalid reference format";
    let parse = "rpc error: code = InvalidArgument desc = failed to parse image reference \"[::1]:5000/x\": \
                 invalid reference format";
    for (reason, message) in
        [("ErrImagePull", refused), ("ErrImagePull", parse), ("InvalidImageName", "…")]
    {
        let expected = Some(PullFailure::NameRefused(message.to_owned()));
        assert_eq!(judge_waiting(reason, message, None), expected);
    }
    let registry = r#"rpc error: code = NotFound desc = "invalid reference format": not found"#;
    assert_eq!(judge(registry), PullFailure::Definite(NotFound, registry.to_owned()));
}

#[test]
fn that_the_kubelet_waits_changes_nothing() {
    let not_found = "rpc error: code = NotFound desc = x: not found";
    let since_1_31 = format!(r#"Back-off pulling image "x:1": ErrImagePull: {not_found}"#);
    let before = r#"Back-off pulling image "x:1""#;
    let expected = Some(PullFailure::Definite(NotFound, not_found.to_owned()));
    assert_eq!(judge_waiting("ErrImagePull", not_found, None), expected);
    assert_eq!(judge_waiting("ImagePullBackOff", &since_1_31, None), expected);
    assert_eq!(judge_waiting("ImagePullBackOff", before, Some(not_found)), expected);
    let refused = "dial tcp 127.0.0.1:9: connect: connection refused";
    let expected = Some(PullFailure::Transient(refused.to_owned()));
    assert_eq!(judge_waiting("ImagePullBackOff", before, Some(refused)), expected);
    let nothing = Some(PullFailure::Transient(before.to_owned()));
    assert_eq!(judge_waiting("ImagePullBackOff", before, None), nothing);
}

#[test]
fn a_failed_pull_is_heard_from_the_event_as_from_the_status() {
    let event = r#"Failed to pull image "x:1": dial tcp: i/o timeout"#;
    assert_eq!(runtime_message("Failed", event), Some("dial tcp: i/o timeout"));
    assert_eq!(runtime_message("Failed", "Error: ErrImagePull"), None);
    assert_eq!(runtime_message("BackOff", r#"Back-off pulling image "x:1""#), None);
    assert_eq!(runtime_message("ErrImagePull", ""), None);
}

#[test]
fn the_pods_events_tell_whether_a_registry_was_asked() {
    let present = "Container image \"x\" already present on machine and can be accessed by the pod";
    assert_eq!(registry_consulted("Pulled", present), Some(false));
    assert_eq!(registry_consulted("Pulled", "Successfully pulled image \"x\" in 10ms"), Some(true));
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

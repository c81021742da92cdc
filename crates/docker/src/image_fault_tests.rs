//! Messages of engines about failed pulls: recorded from Docker 20.10.24 (its own store) and 29.8 (the
//! containerd store), with a registry on 127.0.0.1 that failed this way, unless a line says
//! otherwise.

use longshore_core::ImageReason::{self, Denied, Invalid, NotFound, Unreachable};

use super::*;

#[track_caller]
fn classified(cases: &[(Option<u16>, &str, ImageReason)]) {
    for (status, message, expected) in cases {
        assert_eq!(reason(*status, message), *expected, "{status:?} {message}");
    }
}

#[test]
fn the_words_of_docker_20_10_are_classified() {
    classified(&[
        // 401: with a challenge for which there is no login, without one, from the token service.
        (
            Some(500),
            r#"Head "http://localhost:21002/v2/x/manifests/1": no basic auth credentials"#,
            Denied,
        ),
        (Some(500), "unauthorized: authentication required", Denied),
        (
            Some(500),
            r#"Head "http://localhost:21003/v2/x/manifests/1": unauthorized: authentication required"#,
            Denied,
        ),
        // 403 with the usual message of its code, which is left out.
        (Some(500), "denied", Denied),
        (Some(500), r#"Head "http://localhost:21003/v2/x/manifests/1": denied"#, Denied),
        (Some(500), "open /var/lib/docker/tmp/1: permission denied", Unreachable),
        // 403: of the token service, the manifest, a web server in between, the configuration.
        (
            Some(500),
            r#"Head "http://localhost:21004/v2/x/manifests/1": denied: requested access to the resource is denied"#,
            Denied,
        ),
        (
            Some(404),
            "pull access denied for localhost:21017/x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
            Denied,
        ),
        (
            Some(500),
            r#"error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: "<html>\r\n<head><title>403</title></head><body>nginx</body></html>""#,
            Denied,
        ),
        (
            None,
            "error pulling image configuration: download failed after attempts=1: denied: requested access to the resource is denied",
            Denied,
        ),
        // Its source: an expired token of a registry's.
        (
            Some(500),
            "denied: Your authorization token has expired. Reauthenticate and try again.",
            Denied,
        ),
        // 404: manifest, repository, web server, layer, configuration.
        (
            Some(404),
            "manifest for localhost:21019/x:1 not found: manifest unknown: manifest unknown",
            NotFound,
        ),
        (Some(404), "repository localhost:21020/x not found: name unknown: name unknown", NotFound),
        (
            Some(500),
            r#"error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: "<html>\r\n<head><title>404</title></head><body>nginx</body></html>""#,
            NotFound,
        ),
        (None, "unknown blob", NotFound),
        (
            None,
            "error pulling image configuration: download failed after attempts=1: unknown blob",
            NotFound,
        ),
        // 429 with Retry-After, with the registry's words and without.
        (Some(500), "toomanyrequests: too many requests", Unreachable),
        (
            Some(500),
            r#"error parsing HTTP 429 response body: invalid character '<' looking for beginning of value: "<html>\r\n<head><title>429</title></head><body>nginx</body></html>""#,
            Unreachable,
        ),
        (
            Some(500),
            r#"Head "http://localhost:21006/v2/x/manifests/1": toomanyrequests: too many requests"#,
            Unreachable,
        ),
        // 5xx.
        (Some(500), "received unexpected HTTP status: 500 Internal Server Error", Unreachable),
        (Some(500), "received unexpected HTTP status: 502 Bad Gateway", Unreachable),
        (None, "received unexpected HTTP status: 503 Service Unavailable", Unreachable),
        (Some(500), "received unexpected HTTP status: 504 Gateway Timeout", Unreachable),
        (
            None,
            "error pulling image configuration: download failed after attempts=6: received unexpected HTTP status: 503 Service Unavailable",
            Unreachable,
        ),
        // Connections.
        (
            Some(500),
            r#"Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"Head "http://localhost:21007/v2/x/manifests/1": Get "http://127.0.0.1:1/token/bearerdead?scope=repository%3Ax%3Apull&service=x": dial tcp 127.0.0.1:1: connect: connection refused"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"Get "https://r.invalid/v2/": dial tcp: lookup r.invalid on 127.0.0.1:53: no such host"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"Head "http://localhost:21040/v2/x/manifests/1": read tcp 127.0.0.1:38364->127.0.0.1:21040: read: connection reset by peer"#,
            Unreachable,
        ),
        (Some(500), r#"Head "http://localhost:21041/v2/x/manifests/1": EOF"#, Unreachable),
        (Some(500), r#"Get "http://localhost:21060/v2/": context deadline exceeded"#, Unreachable),
        (
            Some(500),
            r#"Get "http://r/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#,
            Unreachable,
        ),
        // Truncated: manifest, configuration; a layer is tried again.
        (Some(500), "unexpected EOF", Unreachable),
        (
            None,
            "error pulling image configuration: download failed after attempts=6: unexpected EOF",
            Unreachable,
        ),
        // Corrupted: layer, configuration.
        (
            None,
            "filesystem layer verification failed for digest sha256:46b1e9d3fd9835359d8c3abdf39abcea4e68ef8292d483d5ce8c05aa1a547ed8",
            Invalid,
        ),
        (
            None,
            "error pulling image configuration: image config verification failed for digest sha256:e293cf0c9e16fb70e7d5d0aa19dde6f75528c3b8ab0e3b7ebdd9853611890d4c",
            Invalid,
        ),
        // No image: another platform, no manifest, schema 1 unsigned, a chart, no configuration, no
        // archive.
        (None, "no matching manifest for linux/amd64 in the manifest list entries", Invalid),
        (Some(500), "invalid character 'o' in literal null (expecting 'u')", Invalid),
        (
            Some(500),
            "error unmarshalling content: invalid character '<' looking for beginning of value",
            Invalid,
        ),
        (Some(500), "missing signature key", Invalid),
        (None, "unsupported media type application/vnd.cncf.helm.config.v1+json", Invalid),
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header",
            Invalid,
        ),
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): unexpected EOF",
            Invalid,
        ),
        // The engine's own disk (its source).
        (
            None,
            "failed to register layer: Error processing tar file(exit status 1): write /f: no space left on device",
            Unreachable,
        ),
    ]);
}

#[test]
fn the_words_of_docker_29_are_classified() {
    classified(&[
        // 401: without a challenge, with one, from the token service, for a layer.
        (
            Some(500),
            r#"unknown: failed to resolve reference "127.0.0.1:21014/x:1": unexpected status from HEAD request to http://127.0.0.1:21014/v2/x/manifests/1: 401 Unauthorized"#,
            Denied,
        ),
        (
            Some(500),
            r#"failed to resolve reference "127.0.0.1:21015/x:1": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"#,
            Denied,
        ),
        (Some(401), "error from registry: authentication required", Denied),
        (Some(401), "error from registry: project not found", Denied),
        (None, "error from registry: authentication required", Denied),
        // 403: manifest, web server, layer.
        (Some(500), "error from registry: denied\ndenied", Denied),
        (Some(403), "error from registry: requested access to the resource is denied", Denied),
        (
            Some(500),
            r#"unknown: failed to resolve reference "127.0.0.1:21018/x:1": unexpected status from HEAD request to http://127.0.0.1:21018/v2/x/manifests/1: 403 Forbidden"#,
            Denied,
        ),
        (None, "error from registry: requested access to the resource is denied", Denied),
        // 404: manifest, layer, configuration.
        (
            Some(404),
            r#"failed to resolve reference "127.0.0.1:21019/x:1": 127.0.0.1:21019/x:1: not found"#,
            NotFound,
        ),
        (
            None,
            "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:a482470a86586fcb074d595002f2f68df3aec749e41dfcaff361df4ac179fa4f (application/vnd.docker.image.rootfs.diff.tar) from remote: not found",
            NotFound,
        ),
        (
            None,
            "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:830b2b89ad8dc3224eed5356b90c79597340b98b5fcd7e3d3d495e44c8a4407f (application/vnd.docker.container.image.v1+json) from remote: not found",
            NotFound,
        ),
        // 429 with Retry-After: manifest, layer, token service; docker.io's own words (its source).
        (
            Some(500),
            r#"unknown: failed to resolve reference "127.0.0.1:21022/x:1": unexpected status from HEAD request to http://127.0.0.1:21022/v2/x/manifests/1: 429 Too Many Requests"#,
            Unreachable,
        ),
        (None, "error from registry: too many requests", Unreachable),
        (
            Some(500),
            "error from registry: You have reached your unauthenticated pull rate limit.",
            Unreachable,
        ),
        // 5xx: manifest, layer, token service.
        (
            Some(500),
            r#"unknown: failed to resolve reference "127.0.0.1:21024/x:1": unexpected status from HEAD request to http://127.0.0.1:21024/v2/x/manifests/1: 500 Internal Server Error"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"unknown: failed to resolve reference "127.0.0.1:21026/x:1": unexpected status from HEAD request to http://127.0.0.1:21026/v2/x/manifests/1: 502 Bad Gateway"#,
            Unreachable,
        ),
        (
            None,
            "unknown: failed to copy: httpReadSeeker: failed open: unexpected status from GET request to http://127.0.0.1:21036/v2/x/blobs/sha256:a7a13805cafe500e1c4679c797ecabb41f291c62537dd8764942c22a2786225a: 503 Service Unavailable",
            Unreachable,
        ),
        (
            Some(500),
            r#"unknown: failed to resolve reference "127.0.0.1:21029/x:1": unexpected status from HEAD request to http://127.0.0.1:21029/v2/x/manifests/1: 504 Gateway Timeout"#,
            Unreachable,
        ),
        (None, "error from registry: unknown error", Unreachable),
        // Connections.
        (
            Some(500),
            r#"failed to resolve reference "127.0.0.1:1/x:1": failed to do request: Head "https://127.0.0.1:1/v2/x/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"failed to resolve reference "127.0.0.1:21204/x:1": failed to authorize: failed to fetch anonymous token: Get "http://127.0.0.1:1/token/bearerdead?scope=repository%3Ax%3Apull&service=x": dial tcp 127.0.0.1:1: connect: connection refused"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"failed to resolve reference "r.invalid/x:1": failed to do request: Head "https://r.invalid/v2/x/manifests/1": dial tcp: lookup r.invalid on 127.0.0.1:53: no such host"#,
            Unreachable,
        ),
        (
            None,
            r#"failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://127.0.0.1:21042/v2/x/blobs/sha256:095a": read tcp 127.0.0.1:34180->127.0.0.1:21042: read: connection reset by peer"#,
            Unreachable,
        ),
        (
            None,
            r#"failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://127.0.0.1:21043/v2/x/blobs/sha256:4020": EOF"#,
            Unreachable,
        ),
        (
            Some(500),
            r#"failed to resolve reference "127.0.0.1:21061/x:1": failed to do request: Head "https://127.0.0.1:21061/v2/x/manifests/1": net/http: timeout awaiting response headers"#,
            Unreachable,
        ),
        // Truncated.
        (None, "short read: expected 3010560 bytes but got 1505280: unexpected EOF", Unreachable),
        // Corrupted: layer, manifest.
        (
            None,
            r#"failed commit on ref "layer-sha256:46b1e9d3fd98": commit failed: unexpected commit digest sha256:b38e488881cf, expected sha256:46b1e9d3fd98: failed precondition"#,
            Invalid,
        ),
        (
            None,
            r#"failed commit on ref "manifest-sha256:000000000000": commit failed: unexpected commit digest sha256:d736660505d4, expected sha256:000000000000: failed precondition"#,
            Invalid,
        ),
        // No image: another platform, no manifest, a web page, schema 1, a chart, no configuration,
        // no archive.
        (
            Some(404),
            "no matching manifest for linux/amd64/v4 in the manifest list entries: no match for platform in manifest: not found",
            Invalid,
        ),
        (
            None,
            "children: invalid desc sha256:7ccfa1fbf394: invalid character 'o' in literal null (expecting 'u')",
            Invalid,
        ),
        (
            Some(404),
            "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:95e4066e1cf4 (text/html) from remote: not found",
            Invalid,
        ),
        (
            Some(501),
            r#"not implemented: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.1, please rebuild the image as "application/vnd.docker.distribution.manifest.v2+json" or "application/vnd.oci.image.manifest.v1+json""#,
            Invalid,
        ),
        (
            None,
            "failed to unpack image on snapshotter overlayfs: mismatched image rootfs and manifest layers",
            Invalid,
        ),
        (
            None,
            "unmarshal image config: invalid character 'o' in literal null (expecting 'u')",
            Invalid,
        ),
        (
            None,
            r#"failed to extract layer (application/vnd.docker.image.rootfs.diff.tar sha256:e5ee97627ad0) to overlayfs as "extract-96125763-2RpM sha256:facfc585aaf2": archive/tar: invalid tar header"#,
            Invalid,
        ),
    ]);
}

#[test]
fn the_registrys_status_counts_whatever_phrase_or_message_comes_with_it() {
    let heard = |status: &str| {
        format!(
            "unknown: failed to resolve reference \"r/not found:1\": unexpected status from HEAD request to http://r/v2/x/manifests/1: {status}"
        )
    };
    for (status, expected) in [
        ("401 Go away", Denied),
        ("403 ", Denied),
        ("404 not found", NotFound),
        ("408 Request Timeout", Unreachable),
        ("429", Unreachable),
        ("521 unauthorized", Unreachable),
    ] {
        classified(&[
            (Some(500), &heard(status), expected),
            (None, &format!("error parsing HTTP {status} response body: x"), expected),
            (None, &format!("received unexpected HTTP status: {status}"), expected),
        ]);
    }
}

#[test]
fn what_matches_nothing_is_no_answer_but_for_the_engines_404() {
    classified(&[(None, "something new", Unreachable), (Some(500), "EOF", Unreachable)]);
    classified(&[(Some(404), "something new", NotFound)]);
}

#[test]
fn a_registry_that_the_engine_is_not_set_up_for_is_unreachable_with_what_to_do() {
    for (message, hint) in [
        // Docker 29, recorded.
        (
            r#"failed to resolve reference "localhost:21000/x:1": failed to do request: Head "https://localhost:21000/v2/x/manifests/1": tls: first record does not look like a TLS handshake"#,
            "insecure-registries",
        ),
        // Go's net/http and crypto/x509.
        (
            r#"Get "https://r:5000/v2/": http: server gave HTTP response to HTTPS client"#,
            "insecure-registries",
        ),
        (
            r#"Get "https://r/v2/": x509: certificate signed by unknown authority"#,
            "/etc/docker/certs.d",
        ),
    ] {
        let fault = PullFault::said(Some(500), message);
        assert!(fault.is_transient());
        let error = fault.error("r/x").to_string();
        assert!(error.contains(hint) && error.contains(message), "{error}");
    }
    assert_eq!(hint("manifest unknown"), None);
}

#[test]
fn an_engine_that_does_not_answer_is_no_fault_of_the_image_and_is_not_asked_again() {
    let fault = Fault::Unanswered(Error::new(ErrorKind::Unavailable, "no answer"));
    let fault = PullFault::new(fault);
    assert!(!fault.is_transient());
    assert_eq!(fault.error("a").kind(), ErrorKind::Unavailable);
}

#[test]
fn the_error_says_how_often_the_registry_was_asked() {
    let fault = PullFault::unreachable("the registry gave no answer");
    assert_eq!(
        fault.clone().after(3).error("r/x").to_string(),
        "failed to pull the image (image: r/x, tries: 3): the registry gave no answer"
    );
    assert!(!fault.after(1).error("r/x").to_string().contains("tries"));
}

/// A registry that gave no answer about such an image had "refused" it.
#[test]
fn an_image_called_unauthorized_is_not_refused() {
    classified(&[
        (Some(500), r#"Head "http://r:1/v2/team/unauthorized/manifests/1": EOF"#, Unreachable),
        (Some(404), "manifest for r:1/unauthorized:1 not found: manifest unknown", NotFound),
        (None, "failed to copy: r/toomanyrequests:1: unexpected commit digest", Invalid),
    ]);
}

/// The job ended as invalid, though another runner would have taken it.
#[test]
fn a_name_that_an_engine_is_too_old_for_is_no_mistake_of_the_job() {
    for said in
        ["invalid reference format", "no such image: [::1]:5000/x:1: invalid reference format"]
    {
        assert!(refuses_name(said), "{said}");
        let error = PullFault::said(Some(400), said).error("[::1]:5000/x:1");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("too old"), "{error}");
    }
    assert!(!refuses_name(r#"manifest for "invalid reference format" not found"#));
}

//! Tests of Docker's `config.json`, as Docker and people write it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use longshore_registry::Found;

use crate::support::{Folder, PASSWORD, auth, find, token, warned};

const APP: &str = "harbor.example.org/team/app:1";
const HARBOR: &str = "harbor.example.org";
const ME: &str = "bWU6aHVudGVyMg=="; // me:hunter2

#[tokio::test]
async fn an_absent_or_empty_configuration_says_nothing() {
    let folder = Folder::new();
    assert_eq!(find(&folder.docker(), APP).await, Found::default());
    for content in ["", " \n", "{}", r#"{"auths": {}}"#, r#"{"auths": null, "credsStore": ""}"#] {
        folder.config(content);
        assert_eq!(find(&folder.docker(), APP).await, Found::default(), "{content}");
    }
}

#[tokio::test]
async fn auths_are_read_as_docker_writes_them() {
    let folder = Folder::new();
    let path = folder.path().join("config.json");
    for (entry, expected) in [
        (format!(r#"{{"auth": "{ME}"}}"#), auth(HARBOR, "me", PASSWORD)),
        (r#"{"auth": "bWU6aHVudGVyMg"}"#.to_owned(), auth(HARBOR, "me", PASSWORD)),
        (r#"{"auth": "bWU6aHVudGVyMgo="}"#.to_owned(), auth(HARBOR, "me", PASSWORD)),
        (r#"{"auth": "bWU6aHVudGVyMgAA"}"#.to_owned(), auth(HARBOR, "me", PASSWORD)),
        (r#"{"auth": "bWU6YTpi"}"#.to_owned(), auth(HARBOR, "me", "a:b")),
        (r#"{"username": "me", "password": "hunter2"}"#.to_owned(), auth(HARBOR, "me", PASSWORD)),
        (format!(r#"{{"auth": "{ME}", "identitytoken": "t", "x": []}}"#), token(HARBOR, "t")),
        (r#"{}"#.to_owned(), None),
        (r#"{"auth": "", "username": null, "email": "a@b"}"#.to_owned(), None),
    ] {
        folder.config(&format!(r#"{{"auths": {{"{HARBOR}": {entry}, "other": 7}}}}"#));
        let found = find(&folder.docker(), APP).await;
        assert_eq!(found.auth, expected, "{entry}");
        assert_eq!(found.warnings, [""; 0], "{entry}");
        let origin = expected.map(|_| format!("{} (auths)", path.display()));
        assert_eq!(found.origin, origin, "{entry}");
    }
}

#[tokio::test]
async fn keys_are_matched_without_scheme_and_version_and_the_longest_counts() {
    let folder = Folder::new();
    let entry = |name: &str| format!(r#"{{"username": "{name}", "password": "p"}}"#);
    for (keys, image, expected) in [
        (&["https://index.docker.io/v1/"][..], "busybox", Some(0)),
        (&["docker.io"], "busybox", Some(0)),
        (&["docker.io", "https://index.docker.io/v1/", "index.docker.io"], "busybox", Some(1)),
        (&["https://docker.io/me"], "busybox", None),
        (&["https://harbor.example.org/v2/"], APP, Some(0)),
        (&["http://harbor.example.org", HARBOR], APP, Some(1)),
        (&[HARBOR, "harbor.example.org/team"], APP, Some(1)),
        (&[HARBOR, "https://harbor.example.org/v2/team/"], APP, Some(1)),
        (&[HARBOR, "harbor.example.org/teamwork"], APP, Some(0)),
        (&["harbor.example.org:443"], APP, None),
        (&["", "/", "://", "https://"], APP, None),
    ] {
        let auths: Vec<_> = keys
            .iter()
            .enumerate()
            .map(|(at, key)| format!(r#""{key}": {}"#, entry(&at.to_string())))
            .collect();
        folder.config(&format!(r#"{{"auths": {{{}}}}}"#, auths.join(",")));
        let found = find(&folder.docker(), image).await;
        let server = if image == APP { HARBOR } else { "docker.io" };
        let expected = expected.and_then(|at: usize| auth(server, &at.to_string(), "p"));
        assert_eq!(found.auth, expected, "{keys:?}");
    }
}

#[tokio::test]
async fn a_registrys_helper_counts_before_the_store_and_that_before_auths() {
    let folder = Folder::new();
    folder.helper("own", r#"echo '{"Username":"own","Secret":"p"}'"#);
    folder.helper("store", r#"echo '{"Username":"store","Secret":"p"}'"#);
    folder.helper("none", "echo credentials not found in native keychain; exit 1");
    for (helpers, store, expected, key) in [
        (r#""harbor.example.org": "own""#, "store", "own", "credHelpers"),
        (r#""https://harbor.example.org": "own""#, "store", "own", "credHelpers"),
        (r#""quay.io": "own""#, "store", "store", "credsStore"),
        ("", "store", "store", "credsStore"),
        ("", "", "me", "auths"),
        ("", "none", "me", "auths"),
        // An empty helper name keeps the registry out of the store.
        (r#""harbor.example.org": """#, "store", "me", "auths"),
        (r#""harbor.example.org": "none""#, "store", "me", "auths"),
    ] {
        let path = folder.config(&format!(
            r#"{{"credHelpers": {{{helpers}}}, "credsStore": "{store}",
                 "auths": {{"harbor.example.org": {{"username": "me", "password": "p"}}}}}}"#
        ));
        let found = find(&folder.docker(), APP).await;
        assert_eq!(found.auth, auth(HARBOR, expected, "p"), "{helpers} {store}");
        assert_eq!(found.origin, Some(format!("{} ({key})", path.display())));
        assert_eq!(found.warnings, [""; 0]);
    }
}

#[tokio::test]
async fn what_the_configuration_lacks_is_a_warning_and_the_registry_is_asked_without_a_name() {
    let folder = Folder::new();
    folder.helper("fails", "echo boom >&2; exit 1");
    folder.helper("hangs", "exec sleep 60");
    folder.helper("rubbish", "echo hunter2");
    let auths = |entry: &str| format!(r#"{{"auths": {{"{HARBOR}": {entry}}}}}"#);
    let store = |name: &str| {
        format!(r#"{{"credsStore": "{name}", "auths": {{"{HARBOR}": {{"auth": "{ME}"}}}}}}"#)
    };
    let own = |name: &str| format!(r#"{{"credHelpers": {{"{HARBOR}": {name}}}}}"#);
    for (content, expected) in [
        ("{".to_owned(), "is not a Docker configuration (line 1"),
        ("[]".to_owned(), "is not a Docker configuration"),
        (r#"{"auths": "hunter2"}"#.to_owned(), "is not a Docker configuration"),
        (r#"{"credsStore": {"hunter2": 1}}"#.to_owned(), "is not a Docker configuration"),
        (auths(r#""hunter2""#), "(auths): the server's entry is not an object"),
        (
            auths(r#"{"auth": ["hunter2"]}"#),
            "(auths): a value in the server's entry is not a string",
        ),
        (auths(r#"{"auth": "hunter2!"}"#), "(auths): the server's `auth` is not"),
        (auths(r#"{"auth": "bm9jb2xvbg=="}"#), "(auths): the server's `auth` is not"),
        (auths(r#"{"auth": "Omh1bnRlcjI="}"#), "(auths): the server's user name"),
        (auths(r#"{"auth": "bWU6"}"#), "(auths): the server's password is empty"),
        (
            auths(r#"{"username": "me", "password": "a\nhunter2"}"#),
            "password is empty or has a newline",
        ),
        (auths(r#"{"username": "me"}"#), "(auths): the server's password is empty"),
        (auths(r#"{"identitytoken": "a\nhunter2"}"#), "`identitytoken` is invalid"),
        (auths(r#"{"registrytoken": "hunter2"}"#), "`registrytoken` is not supported"),
        (own("7"), "(credHelpers): the helper's name is not a string"),
        (own(r#""../evil""#), "(credHelpers): the helper's name is not a helper's plain name"),
        (store("a b"), "(credsStore): the helper's name is not a helper's plain name"),
        (store("absent"), "it is not in a folder of PATH"),
        (store("fails"), "it failed (exit status: 1): boom"),
        (store("hangs"), "it did not answer within 300ms"),
        (store("rubbish"), "its answer is not a JSON object"),
    ] {
        let path = folder.config(&content);
        let keyring = folder.docker().with_helper_timeout(Duration::from_millis(300));
        // Only the helper that hangs gets the short timeout, so that others have time to answer.
        let keyring = if content.contains("hangs") { keyring } else { folder.docker() };
        let said = warned(&keyring, APP).await;
        assert!(said.starts_with(&*path.to_string_lossy()), "{content}: {said}");
        assert!(said.contains(expected), "{content}: {said}");
        assert!(said.ends_with("; accessing harbor.example.org anonymously"), "{said}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_is_a_warning() {
    let folder = Folder::new();
    let path = folder.path().join("config.json");
    std::fs::create_dir(&path).unwrap();
    let said = warned(&folder.docker(), APP).await;
    assert!(said.contains("it is not a regular file"), "{said}");

    std::fs::remove_dir(&path).unwrap();
    folder.config(&" ".repeat(1024 * 1024 + 1));
    let said = warned(&folder.docker(), APP).await;
    assert!(said.contains("it is larger than 1024 KiB"), "{said}");
}

/// Uses a file that even root cannot read.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_configuration_whose_reading_fails_is_a_warning() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("/proc/self/mem", folder.path().join("config.json")).unwrap();
    let said = warned(&folder.docker(), APP).await;
    assert!(said.starts_with("failed to read ") && said.contains("os error"), "{said}");
}

#[tokio::test]
async fn passwords_in_a_configuration_that_others_may_read_are_a_warning() {
    let folder = Folder::new();
    folder.helper("x", r#"echo '{"Username":"me","Secret":"hunter2"}'"#);
    for (content, warns) in [
        (format!(r#"{{"auths": {{"{HARBOR}": {{"auth": "{ME}"}}}}}}"#), true),
        (r#"{"credsStore": "x"}"#.to_owned(), false),
    ] {
        let path = folder.config(&content);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let found = find(&folder.docker(), APP).await;
        assert_eq!(found.auth, auth(HARBOR, "me", PASSWORD));
        assert_eq!(found.warnings.len(), usize::from(warns), "{found:?}");
    }
}

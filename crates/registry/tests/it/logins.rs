//! Tests of the logins of the job and of the configuration.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use longshore_core::ErrorKind;
use longshore_registry::{Found, Keyring};

use crate::support::{Folder, PASSWORD, auth, by_file, by_helper, find, image, login, refused};

const HARBOR: &str = "harbor.example.org";
const APP: &str = "harbor.example.org/team/app:1";

#[tokio::test]
async fn the_default_keyring_knows_nothing() {
    assert_eq!(find(&Keyring::default(), APP).await, Found::default());
    assert_eq!(find(&Keyring::default(), "busybox").await, Found::default());
}

#[tokio::test]
async fn a_login_with_a_password_file_is_shown_to_its_registry_alone() {
    let folder = Folder::new();
    let path = folder.file("pw", format!("{PASSWORD}\n"));
    let keyring = folder.keyring(vec![by_file(HARBOR, "me", path)]);
    let found = find(&keyring, APP).await;
    assert_eq!(found.auth, auth(HARBOR, "me", PASSWORD));
    assert_eq!(found.origin.as_deref(), Some("job.registries[0]"));
    assert_eq!(found.warnings, [""; 0]);
    assert!(!format!("{found:?} {keyring:?}").contains(PASSWORD));
    assert_eq!(find(&keyring, "busybox").await, Found::default());
}

#[tokio::test]
async fn a_login_with_a_variable_is_read_from_our_environment() {
    let mut by_variable = login("docker.io");
    by_variable.username = Some("me".to_owned());
    by_variable.password_env = Some("PATH".to_owned());
    let keyring = Keyring::new(vec![by_variable.clone()]);
    let found = find(&keyring, "busybox").await;
    assert_eq!(found.auth, auth("docker.io", "me", &std::env::var("PATH").unwrap()));

    by_variable.password_env = Some("LONGSHORE_NO_SUCH".to_owned());
    let said = refused(&Keyring::new(vec![by_variable]), "busybox").await;
    assert!(said.contains("job.registries[0].passwordEnv"), "{said}");
    assert!(said.contains("LONGSHORE_NO_SUCH") && said.contains("it is not set"), "{said}");
}

#[tokio::test]
async fn the_jobs_own_login_counts_before_the_configured_and_that_before_dockers() {
    let folder = Folder::new();
    let (own, configured) = (folder.file("own", "1"), folder.file("configured", "2"));
    folder.config(
        r#"{"auths": {"harbor.example.org/team/app": {"username": "d", "password": "3"}}}"#,
    );
    // A longer server in a later source does not take precedence over a shorter one in an earlier
    // source.
    let own = [by_file(HARBOR, "own", own)];
    let configured = vec![by_file("harbor.example.org/team", "configured", configured)];
    let keyring = folder.keyring(configured).with_docker_config(Some(folder.path().to_owned()));

    let found = keyring.find(&image(APP), &own).await.unwrap();
    assert_eq!(found.auth, auth(HARBOR, "own", "1"));
    assert_eq!(found.origin.as_deref(), Some("registries[0]"));
    let found = find(&keyring, APP).await;
    assert_eq!(found.auth, auth(HARBOR, "configured", "2"));
    let found = find(&folder.docker(), APP).await;
    assert_eq!(found.auth, auth(HARBOR, "d", "3"));
}

#[tokio::test]
async fn the_longest_server_counts() {
    let folder = Folder::new();
    let path = folder.file("pw", "x");
    let servers = [HARBOR, "harbor.example.org/team/app", "harbor.example.org/team", "docker.io"];
    let logins = servers.iter().map(|server| by_file(server, server, &path)).collect();
    let keyring = folder.keyring(logins);
    for (name, origin) in [
        (APP, Some("job.registries[1]")),
        ("harbor.example.org/team/application", Some("job.registries[2]")),
        ("harbor.example.org/teamwork/app", Some("job.registries[0]")),
        ("index.docker.io/library/busybox", Some("job.registries[3]")),
        ("me/busybox", Some("job.registries[3]")),
        ("harbor.example.org:443/team/app", None),
        ("localhost:5000/team/app", None),
    ] {
        assert_eq!(find(&keyring, name).await.origin.as_deref(), origin, "{name}");
    }
}

#[tokio::test]
async fn a_password_file_that_is_of_no_use_is_refused_by_key_and_path() {
    let folder = Folder::new();
    for (name, content, expected) in [
        ("large", &[b'x'; 64 * 1024 + 1][..], "it is larger than 64 KiB"),
        ("latin1", b"hunter2\xe9", "it is not UTF-8"),
        ("empty", b"", "it is empty"),
        ("blank", b"\n", "it is empty"),
        ("lines", b"hunter2\nhunter2\n", "it has a newline inside"),
        ("nul", b"hunter2\0", "it has a NUL character"),
    ] {
        let path = folder.file(name, content);
        let said = refused(&folder.keyring(vec![by_file(HARBOR, "me", &path)]), APP).await;
        for part in ["job.registries[0].passwordFile", &*path.to_string_lossy(), expected] {
            assert!(said.contains(part), "{name}: {said}");
        }
    }
    for (path, expected) in
        [("/no/such/file", "No such file"), ("/", "not a regular file"), ("/dev/zero", "not a reg")]
    {
        let said = refused(&folder.keyring(vec![by_file(HARBOR, "me", path)]), APP).await;
        assert!(said.contains(path) && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_password_file_of_the_largest_size_is_read() {
    let folder = Folder::new();
    let path = folder.file("pw", vec![b'x'; 64 * 1024]);
    let found = find(&folder.keyring(vec![by_file(HARBOR, "me", path)]), APP).await;
    assert_eq!(found.auth, auth(HARBOR, "me", &"x".repeat(64 * 1024)));
}

#[tokio::test]
async fn a_password_that_others_may_read_is_a_warning() {
    let folder = Folder::new();
    let path = folder.file("pw", PASSWORD);
    for (mode, warns) in
        [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o604, true)]
    {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let found = find(&folder.keyring(vec![by_file(HARBOR, "me", &path)]), APP).await;
        assert_eq!(found.auth, auth(HARBOR, "me", PASSWORD));
        assert_eq!(!found.warnings.is_empty(), warns, "{found:?}");
        for warning in found.warnings {
            let place =
                format!("job.registries[0].passwordFile: others may read {}", path.display());
            assert!(warning.starts_with(&place), "{warning}");
            assert!(warning.contains(&format!("mode {mode:04o}")), "{warning}");
        }
    }
}

#[tokio::test]
async fn a_login_that_makes_no_sense_is_refused_whichever_image_it_is_for() {
    let mut nameless = by_file(HARBOR, "me", "/pw");
    nameless.username = None;
    let own = [by_helper("docker.io", "x"), nameless];
    let error = Keyring::default().find(&image("localhost:5000/x"), &own).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    let said = error.to_string();
    assert!(said.contains("registries[1].username") && said.contains("is missing"), "{said}");
    let said = refused(&Keyring::new(own.to_vec()), "localhost:5000/x").await;
    assert!(said.contains("job.registries[1].username"), "{said}");
    let error = Keyring::check(&own).unwrap_err();
    assert_eq!((error.index, error.key), (1, "username"));
}

#[tokio::test]
async fn a_password_that_changes_is_read_anew() {
    let folder = Folder::new();
    let path = folder.file("pw", "old");
    let keyring = folder.keyring(vec![by_file(HARBOR, "me", path)]);
    assert_eq!(find(&keyring, APP).await.auth, auth(HARBOR, "me", "old"));
    folder.file("pw", "new");
    assert_eq!(find(&keyring.clone(), APP).await.auth, auth(HARBOR, "me", "new"));
}

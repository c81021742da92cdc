//! A folder with files, helpers and Docker's configuration for one test.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longshore_core::{ErrorKind, ImageRef, RegistryAuth, RegistryLogin, Secret};
use longshore_registry::{Found, Keyring};
use tempfile::TempDir;

/// The password that no error, warning or `Debug` text may contain.
pub const PASSWORD: &str = "hunter2";

pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file that only this user may read.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Writes a program, in a separate process.
    ///
    /// If this process had the file open for writing while another test forks, the program could not
    /// be run.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path().join(name);
        let write = r#"cat > "$0" && chmod 0755 "$0""#;
        let mut shell = Command::new("/bin/sh");
        let shell = shell.args(["-c", write]).arg(&path).stdin(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        write!(child.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        assert!(child.wait().unwrap().success());
        path
    }

    /// Writes a helper `name` that answers with the output of `script`.
    pub fn helper(&self, name: &str, script: &str) {
        self.program(&format!("docker-credential-{name}"), script);
    }

    /// Writes Docker's configuration.
    pub fn config(&self, json: &str) -> PathBuf {
        self.file("config.json", json)
    }

    /// Creates a keyring with `logins` that searches for helpers only in this folder.
    pub fn keyring(&self, logins: Vec<RegistryLogin>) -> Keyring {
        Keyring::new(logins).with_path(self.path())
    }

    /// Creates a keyring that reads Docker's configuration in this folder.
    pub fn docker(&self) -> Keyring {
        self.keyring(vec![]).with_docker_config(Some(self.path().to_owned()))
    }
}

pub fn login(server: &str) -> RegistryLogin {
    let mut login = RegistryLogin::default();
    login.server = server.to_owned();
    login
}

pub fn by_file(server: &str, username: &str, path: impl Into<PathBuf>) -> RegistryLogin {
    let mut login = login(server);
    login.username = Some(username.to_owned());
    login.password_file = Some(path.into());
    login
}

pub fn by_helper(server: &str, helper: &str) -> RegistryLogin {
    let mut login = login(server);
    login.credential_helper = Some(helper.to_owned());
    login
}

pub fn image(name: &str) -> ImageRef {
    name.parse().unwrap()
}

pub async fn find(keyring: &Keyring, name: &str) -> Found {
    keyring.find(&image(name), &[]).await.unwrap()
}

/// Returns the text of the error, which is `InvalidSpec` and contains no secret.
pub async fn refused(keyring: &Keyring, name: &str) -> String {
    let error = keyring.find(&image(name), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    let (line, all) = (error.to_string(), format!("{error:?}"));
    assert!(!line.contains(PASSWORD) && !all.contains(PASSWORD), "{all}");
    assert!(!line.contains('\n'), "{line}");
    line
}

/// Returns the only warning of a search that found no credentials. It contains no secret.
pub async fn warned(keyring: &Keyring, name: &str) -> String {
    let found = find(keyring, name).await;
    assert_eq!((&found.auth, &found.origin), (&None, &None), "{found:?}");
    assert!(!format!("{found:?}").contains(PASSWORD), "{found:?}");
    let [warning] = found.warnings.as_slice() else { panic!("{found:?}") };
    warning.clone()
}

pub fn auth(server: &str, username: &str, password: &str) -> Option<RegistryAuth> {
    Some(RegistryAuth::password(server, username, Secret::new(password)))
}

pub fn token(server: &str, token: &str) -> Option<RegistryAuth> {
    Some(RegistryAuth::token(server, Secret::new(token)))
}

/// Waits at most five seconds until `done` returns true.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

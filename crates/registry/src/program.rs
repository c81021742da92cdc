//! The program of a credential helper.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The program of a helper: `docker-credential-X`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program(String);

impl Program {
    /// Returns the program of the helper `name`, which must not lead out of the folders of `PATH`.
    pub(crate) fn of(name: &str) -> Result<Self, &'static str> {
        let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        if name.is_empty() || !name.chars().all(plain) {
            return Err("is not a helper's plain name: `X` for the program `docker-credential-X`");
        }
        Ok(Self(format!("docker-credential-{name}")))
    }

    /// Returns the first executable with this name in the folders of `path`.
    ///
    /// Skips relative folders: any user may have put a file in the current folder.
    pub(crate) async fn find(&self, path: &OsStr) -> Option<PathBuf> {
        for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
            let file = folder.join(&self.0);
            let metadata = tokio::fs::metadata(&file).await;
            if metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0) {
                return Some(file);
            }
        }
        None
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

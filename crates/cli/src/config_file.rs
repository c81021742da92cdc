//! Finds the configuration file.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::output;

/// The variable that names the configuration file.
const VARIABLE: &str = "LONGSHORE_CONFIG";
/// The names of a configuration file in the user's and the system's folder.
const NAMES: [&str; 5] =
    ["longshore.toml", "longshore.yaml", "longshore.yml", "longshore.json", "longshore.conf"];
const SYSTEM: &str = "/etc/longshore";

/// Returns the file that `flag` names, else the file that `LONGSHORE_CONFIG` names, else the file in
/// the user's or the system's configuration folder, if there is one.
///
/// # Errors
/// If a configuration folder contains several configuration files.
pub fn find(flag: Option<&Path>) -> Result<Option<PathBuf>, CliError> {
    let named = flag.map(Path::to_owned).or_else(|| set(VARIABLE).map(PathBuf::from));
    if named.is_some() {
        return Ok(named);
    }
    for folder in folders() {
        if let Some(file) = in_folder(&folder)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Returns the value of an environment variable. An empty one counts as unset.
fn set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// Returns the folders for configuration files, the one that takes precedence first.
fn folders() -> impl Iterator<Item = PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let xdg = set("XDG_CONFIG_HOME").map(PathBuf::from).and_then(absolute);
    let home = || std::env::home_dir().and_then(absolute).map(|home| home.join(".config"));
    let users = xdg.or_else(home).map(|base| base.join("longshore"));
    users.into_iter().chain([PathBuf::from(SYSTEM)])
}

/// Returns the configuration file in `folder`. A symbolic link counts even if its target does not
/// exist, so that reading it reports the missing file.
fn in_folder(folder: &Path) -> Result<Option<PathBuf>, CliError> {
    let mut found: Option<PathBuf> = None;
    for path in NAMES.map(|name| folder.join(name)) {
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    let folder = folder.display();
                    output::warn(&format!(
                        "failed to look for a configuration in {folder}: {error}"
                    ));
                    return Ok(None);
                }
                continue;
            }
        }
        if let Some(first) = &found {
            let (first, second) = (first.display(), path.display());
            return Err(CliError::failed(format!(
                "there are two configuration files, {first} and {second}: remove one of them, or \
                 name one with --config"
            )));
        }
        found = Some(path);
    }
    Ok(found)
}

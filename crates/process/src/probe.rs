//! Whether local processes can run here now.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use longshore_core::{Error, ErrorKind, Health, Result};
use rustix::fs::Access;

use crate::limits;
use crate::linux::ProcessIdentity;

/// Checks whether attempts can be kept in `state_directory` and supervisors can be found. Changes
/// nothing.
pub(crate) fn probe(
    state_directory: &Path,
    slots: usize,
    limits_by_cgroup: String,
) -> io::Result<Result<Health>> {
    let unavailable = |message: &'static str, error: io::Error| {
        Err(Error::new(ErrorKind::Unavailable, message)
            .with("stateDirectory", state_directory.display())
            .caused_by(error))
    };
    if let Some(message) = limits::obstacle() {
        return Ok(Err(Error::new(ErrorKind::Unavailable, message)));
    }
    if let Err(error) = writable(state_directory) {
        return Ok(unavailable("failed to use the state directory", error));
    }
    if let Err(error) = ProcessIdentity::own().and_then(|own| own.open()) {
        return Ok(unavailable("failed to open a pidfd (Linux 5.3 and /proc are needed)", error));
    }
    let system = rustix::system::uname();
    let mut health = Health::default();
    health.version =
        format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    health.push_fact("state directory", state_directory.display());
    health.push_fact("user id", rustix::process::geteuid());
    health.push_fact("slots", slots);
    health.push_fact("resource limits", limits_by_cgroup);
    health.warnings = warnings(state_directory);
    Ok(Ok(health))
}

/// Fails if `directory` cannot be written or created.
fn writable(directory: &Path) -> io::Result<()> {
    let mut nearest = directory;
    while let Err(error) = std::fs::metadata(nearest) {
        match nearest.parent() {
            Some(parent) if error.kind() == io::ErrorKind::NotFound => nearest = parent,
            _ => return Err(error),
        }
    }
    if !nearest.is_dir() {
        let message = format!("{} is not a directory", nearest.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
    }
    Ok(rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn warnings(state_directory: &Path) -> Vec<String> {
    let Ok(found) = std::fs::metadata(state_directory) else { return Vec::new() };
    let mut warnings = Vec::new();
    if found.permissions().mode() & 0o077 != 0 {
        warnings.push("other users can access the state directory: chmod 700 it".to_owned());
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        warnings.push("the state directory belongs to another user".to_owned());
    }
    warnings
}

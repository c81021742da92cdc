//! Which files of the machine a job may mount.

use std::path::{Component, Path, PathBuf};

use longshore_core::{Error, ErrorKind, JobSpec};

use crate::Settings;

/// Checks the volumes of `spec`, which is valid.
///
/// # Errors
/// `InvalidSpec` if one is not below `job.allowedHostPaths`.
pub(crate) fn check(spec: &JobSpec, settings: &Settings) -> Result<(), Error> {
    let allowed = &settings.allowed_host_paths;
    let Some((index, path)) = beyond(spec, allowed) else { return Ok(()) };
    let allowed: Vec<_> = allowed.iter().map(|path| path.display().to_string()).collect();
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    let message = format!(
        "`volumes[{index}].hostPath`, {}, is not below job.allowedHostPaths",
        path.display()
    );
    Err(Error::new(ErrorKind::InvalidSpec, message).with("allowed", allowed))
}

/// Returns the first volume whose path is not below one of `allowed`, with its index.
pub(crate) fn beyond<'a>(spec: &'a JobSpec, allowed: &[PathBuf]) -> Option<(usize, &'a Path)> {
    let mut paths = spec.volumes.iter().map(|volume| volume.host_path.as_path()).enumerate();
    // A valid path has no `..`, but the spec may not have been checked.
    let leads_up = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    let below = |path: &Path| allowed.iter().any(|folder| path.starts_with(folder));
    paths.find(|(_, path)| leads_up(path) || !below(path))
}

#[cfg(test)]
mod tests {
    use longshore_core::Volume;

    use super::*;

    fn refused(path: &str, allowed: &[&str]) -> Option<String> {
        let mut spec = JobSpec::container("a".parse().unwrap());
        spec.volumes = vec![Volume::new("/srv/data/x", "/x"), Volume::new(path, "/y")];
        let allowed_host_paths = allowed.iter().map(PathBuf::from).collect();
        let settings = Settings { allowed_host_paths, ..Settings::default() };
        check(&spec, &settings).err().map(|error| error.to_string())
    }

    #[test]
    fn a_job_mounts_only_what_is_below_the_allowed_folders() {
        assert_eq!(refused("/etc", &["/"]), None);
        assert_eq!(refused("/srv/data", &["/home", "/srv/data"]), None);
        for path in ["/srv/database", "/srv", "/etc/shadow"] {
            let said = refused(path, &["/srv/data"]).unwrap();
            let expected =
                format!("`volumes[1].hostPath`, {path}, is not below job.allowedHostPaths");
            assert_eq!(said, format!("{expected} (allowed: /srv/data)"));
        }
        assert!(refused("/srv/data", &[]).unwrap().ends_with("(allowed: none)"));
    }
}

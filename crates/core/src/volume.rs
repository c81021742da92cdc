//! Files of the machine that runs a job, within the job's container.

use std::path::{Component, Path, PathBuf};

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file or folder of the machine that runs the job, mounted into the job's container.
///
/// Names are those of Kubernetes' `hostPath` volumes and volume mounts
/// (<https://kubernetes.io/docs/concepts/storage/volumes/#hostpath>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Volume {
    /// The absolute path of the file or folder on the machine. It must exist.
    pub host_path: PathBuf,
    /// The absolute path in the container.
    pub mount_path: PathBuf,
    /// Whether the job cannot write there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Volume {
    /// Creates a volume to which the job can write.
    #[must_use]
    pub fn new(host_path: impl Into<PathBuf>, mount_path: impl Into<PathBuf>) -> Self {
        Self { host_path: host_path.into(), mount_path: mount_path.into(), read_only: false }
    }

    /// Makes the volume read-only to the job.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }
}

/// Checks the volumes of a job whose container has its job directory at `job_directory`, if it has
/// one. Fails with what is wrong, and its key.
pub(crate) fn check(volumes: &[Volume], job_directory: Option<&str>) -> Result<(), String> {
    for (index, volume) in volumes.iter().enumerate() {
        let field = |index: usize, key: &str| format!("`volumes[{index}].{key}`");
        for (key, path) in [("hostPath", &volume.host_path), ("mountPath", &volume.mount_path)] {
            fault(path).map_or(Ok(()), |fault| Err(format!("{} {fault}", field(index, key))))?;
        }
        let path = &volume.mount_path;
        let mount_path = field(index, "mountPath");
        if !path.components().any(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{mount_path} is the root of the container"));
        }
        // Paths are compared by their parts: a repeated `/` makes no difference.
        let mut earlier = volumes.iter().take(index);
        if let Some(earlier) = earlier.position(|other| other.mount_path == *path) {
            return Err(format!("{mount_path} is the same as {}", field(earlier, "mountPath")));
        }
        if job_directory.is_some_and(|directory| path.starts_with(directory)) {
            return Err(format!("{mount_path} is where the container has its job directory"));
        }
    }
    Ok(())
}

/// Returns what is wrong with the path of a volume.
fn fault(path: &Path) -> Option<&'static str> {
    match path.to_str() {
        None => return Some("is not UTF-8"),
        Some(text) if text.contains('\0') => return Some("has a NUL character"),
        // Kubernetes refuses it too.
        Some(text) if text.contains(':') => return Some("has a `:`"),
        Some(_) => {}
    }
    if !path.is_absolute() {
        return Some("is not an absolute path");
    }
    path.components().any(|part| part == Component::ParentDir).then_some("has a `..`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(volumes: &[(&str, &str)]) -> String {
        let volumes: Vec<_> =
            volumes.iter().map(|(host, mount)| Volume::new(host, mount)).collect();
        check(&volumes, Some("/job")).unwrap_err()
    }

    #[test]
    fn a_volume_that_no_container_could_have_is_refused_by_its_key() {
        for (volumes, said) in [
            (&[("a", "/a")][..], "`volumes[0].hostPath` is not an absolute path"),
            (&[("/a", "a")], "`volumes[0].mountPath` is not an absolute path"),
            (&[("/a", "/a:ro")], "`volumes[0].mountPath` has a `:`"),
            (&[("/a/../b", "/a")], "`volumes[0].hostPath` has a `..`"),
            (&[("/a\0", "/a")], "`volumes[0].hostPath` has a NUL character"),
            (&[("/a", "//")], "`volumes[0].mountPath` is the root of the container"),
            (
                &[("/a", "/x"), ("/b", "/x/")],
                "`volumes[1].mountPath` is the same as `volumes[0].mountPath`",
            ),
            (
                &[("/a", "/job/input")],
                "`volumes[0].mountPath` is where the container has its job directory",
            ),
        ] {
            assert_eq!(refused(volumes), said, "{volumes:?}");
        }
    }

    #[test]
    fn a_volume_may_be_anywhere_beside_the_job_directory() {
        let volumes =
            [Volume::new("/a", "/a"), Volume::new("/a", "/jobs"), Volume::new("/", "/b/c")];
        assert_eq!(check(&volumes, Some("/job")), Ok(()));
        assert_eq!(check(&[Volume::new("/a", "/job")], None), Ok(()));
    }

    #[test]
    fn a_volume_is_read_with_kubernetes_names() {
        let text = r#"{"hostPath": "/data", "mountPath": "/in", "readOnly": true}"#;
        let volume: Volume = serde_json::from_str(text).unwrap();
        assert_eq!(volume, Volume::new("/data", "/in").read_only());
        let plain = serde_json::to_string(&Volume::new("/a", "/b")).unwrap();
        assert_eq!(plain, r#"{"hostPath":"/a","mountPath":"/b"}"#);
    }
}

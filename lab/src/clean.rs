//! Removes the lab's files and mounts, and the files that its programs leave elsewhere.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::Lab;
use super::shell;

/// Data that each start of the lab begins without.
const STORED: [&str; 10] = [
    "docker",
    "docker29",
    "etcd",
    "containerd",
    "containerd-opt",
    "kubelet",
    "kubectl",
    "cni",
    "pod-logs",
    "volume-plugins",
];

/// Returns the mounts in the lab's folders, the deepest first.
pub(crate) fn mounts(lab: &Lab) -> Result<Vec<PathBuf>> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    let mut found: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(unescape)
        .filter(|mount| mount.starts_with(lab.root()) || mount.starts_with(lab.run_root()))
        .collect();
    found.reverse();
    Ok(found)
}

/// Decodes a path: the kernel writes spaces and backslashes as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = text.as_bytes();
    let mut plain = Vec::new();
    while let Some((&first, rest)) = bytes.split_first() {
        let octal = || u8::from_str_radix(std::str::from_utf8(rest.get(..3)?).ok()?, 8).ok();
        if first == b'\\'
            && let Some(byte) = octal()
        {
            plain.push(byte);
            bytes = &rest[3..];
        } else {
            plain.push(first);
            bytes = rest;
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

pub(crate) fn unmount(lab: &Lab) -> Result<()> {
    for mount in mounts(lab)? {
        // Lazily: a process that still uses it does not belong to the lab.
        shell::run("umount", ["--lazy".as_ref(), mount.as_os_str()])?;
    }
    Ok(())
}

/// Removes the lab's data.
pub(crate) fn remove_data(lab: &Lab, purge: bool) -> Result<()> {
    for name in STORED {
        remove(&lab.data(name))?;
    }
    remove(lab.run_root())?;
    remove(&lab.volume())?;
    if purge {
        for name in ["data", "etc", "log", "state"] {
            remove(&lab.root().join(name))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the files that the lab's programs write to paths that cannot be configured.
pub(crate) fn remove_traces(lab: &Lab) -> Result<()> {
    // The kubelet: a link to each container's log, and a socket for plugins.
    let logs = Path::new("/var/log/containers");
    remove_files(logs, |path| fs::read_link(path).is_ok_and(|to| to.starts_with(lab.root())));
    let plugins = Path::new("/var/lib/kubelet/device-plugins");
    remove_files(plugins, |path| !is_served(path));
    // The network plugins: a note for each Pod.
    let notes = Path::new("/var/lib/cni/results");
    let run = lab.run_root().to_string_lossy();
    remove_files(notes, |path| fs::read_to_string(path).is_ok_and(|note| note.contains(&*run)));
    // Killed containerd shims: a socket each.
    let shims = Path::new("/run/containerd/s");
    remove_files(shims, |path| !is_served(path));
    for dir in EMPTY {
        // Only an empty one is removed.
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

/// Folders that an engine or a kubelet creates whatever its configuration, each
/// before its parent.
const EMPTY: [&str; 14] = [
    "/var/log/containers",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet/pod-resources",
    "/var/lib/kubelet/plugins_registry",
    "/var/lib/kubelet",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/run/containerd/s",
    "/run/containerd",
    "/run/docker/plugins",
    "/run/docker",
    "/opt/containerd/bin",
    "/opt/containerd/lib",
    "/opt/containerd",
];

fn is_served(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// Removes files on a best-effort basis: a file that is already gone, or that
/// cannot be removed, does no harm.
fn remove_files(dir: &Path, is_ours: impl Fn(&Path) -> bool) {
    let files =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for path in files.filter(|path| is_ours(path)) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_may_have_blanks() {
        assert_eq!(unescape(r"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(r"/a\9"), Path::new(r"/a\9"));
    }

    #[test]
    fn data_that_is_not_there_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(Some(dir.path().into())).unwrap();
        fs::create_dir_all(lab.data("registry")).unwrap();
        fs::create_dir_all(lab.data("etcd")).unwrap();
        remove_data(&lab, false).unwrap();
        assert!(lab.data("registry").exists() && !lab.data("etcd").exists());
        remove_data(&lab, true).unwrap();
        assert!(!lab.data("registry").exists());
    }
}

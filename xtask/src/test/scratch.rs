//! The folder in which all tested programs keep their temporary files.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_lab::{command_name, process_ids};
use tempfile::TempDir;

/// The folder in which all programs keep their temporary files. It is removed when
/// this value is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        // It contains sockets, whose paths must be short.
        let folder = tempfile::Builder::new().prefix("longshore-").tempdir();
        let folder = folder.context("failed to create a folder for temporary files")?;
        // Some tests run as another user.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777))?;
        Ok(Self(folder))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Returns the folder for Longshore's state where no other is configured. It is
    /// not temporary.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// Returns the files in it.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            if path != self.state() {
                left.push(path.display().to_string());
            }
        }
        Ok(left)
    }

    fn holds(&self, path: &[u8]) -> bool {
        Path::new(OsStr::from_bytes(path)).starts_with(self.folder())
    }

    /// Returns the mounts in it, from the lines of `/proc/self/mountinfo`, whose
    /// fifth field is the mount point (proc_pid_mountinfo(5)).
    pub(crate) fn mounts(&self, lines: &str) -> Vec<String> {
        let places = lines.lines().filter_map(|line| line.split(' ').nth(4));
        places.filter(|place| self.holds(place.as_bytes())).map(str::to_owned).collect()
    }

    /// Returns the processes that have it in their environment or arguments, or that work in it.
    pub(crate) fn processes(&self) -> Vec<String> {
        let of = |pid: &u32| {
            let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let folder = self.folder().as_os_str().as_bytes();
            let told = |text: &[u8]| text.windows(folder.len()).any(|part| part == folder);
            let inside = || fs::read_link(format!("/proc/{pid}/cwd"));
            told(&file("environ"))
                || told(&file("cmdline"))
                || inside().is_ok_and(|cwd| cwd.starts_with(self.folder()))
        };
        let left = process_ids().filter(of);
        left.map(|pid| format!("process {pid} ({})", command_name(pid))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_file_that_is_left_is_found_and_the_state_is_not() {
        let scratch = Scratch::new().unwrap();
        fs::create_dir(scratch.state()).unwrap();
        assert_eq!(scratch.files().unwrap(), [""; 0]);
        let file = scratch.folder().join("left");
        fs::write(&file, "").unwrap();
        assert_eq!(scratch.files().unwrap(), [file.display().to_string()]);
    }

    #[test]
    fn a_mount_that_is_left_is_found() {
        let scratch = Scratch::new().unwrap();
        let place = scratch.folder().join("a").display().to_string();
        let line =
            |place: &str| format!("36 35 98:0 /mnt1 {place} rw,noatime master:1 - ext3 x rw\n");
        let elsewhere = line(&format!("{}-else", scratch.folder().display()));
        assert_eq!(scratch.mounts(&(line("/") + &elsewhere)), [""; 0]);
        assert_eq!(scratch.mounts(&(line("/") + &line(&place))), [place]);
    }

    #[test]
    fn a_process_that_is_left_is_found() {
        let scratch = Scratch::new().unwrap();
        assert_eq!(scratch.processes(), [""; 0]);
        let mut left =
            Command::new("sleep").arg("60").env("TMPDIR", scratch.folder()).spawn().unwrap();
        let expected = format!("process {} (sleep)", left.id());
        let deadline = Instant::now() + Duration::from_secs(10);
        // Until then it has the name of its parent.
        while scratch.processes() != [expected.as_str()] {
            assert!(Instant::now() < deadline, "{:?}", scratch.processes());
            std::thread::yield_now();
        }
        left.kill().unwrap();
        left.wait().unwrap();
        assert_eq!(scratch.processes(), [""; 0]);
    }
}

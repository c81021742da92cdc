//! Version 2: the cgroup that Longshore may divide, and how.
//!
//! A cgroup, except the root, either has processes or gives controllers to the cgroups in it
//! (<https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint>). So the
//! processes of Longshore move to a cgroup of their own beside those of the jobs. Under systemd, only a
//! cgroup that it has delegated may be divided (<https://systemd.io/CGROUP_DELEGATION/>).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, getxattr};
use rustix::io::Errno;

use super::hierarchy::{Own, Version};
use super::obstacle::{Obstacle, User};
use crate::linux::is_of_longshore;

/// The cgroup for the processes of Longshore.
const OWN: &str = "longshore.own";

const PROCESSES: &str = "cgroup.procs";
const ENABLED: &str = "cgroup.subtree_control";

/// How often to move processes that meanwhile began in a cgroup.
const ROUNDS: usize = 100;

/// Returns the cgroup in which those of jobs can be created: that of this process, or the one above if
/// this process was moved before, or systemd has put it in a cgroup for that (`DelegateSubgroup=`).
pub(super) fn base(own: &Own, has_systemd: bool) -> Result<PathBuf, Obstacle> {
    let directory = own.directory.as_path();
    let is_own = directory.file_name().is_some_and(|name| name == OWN);
    let is_base = |above: &&Path| {
        let may_be = is_own || (is_delegated(above) && !is_delegated(directory));
        may_be && above.join(PROCESSES).exists()
    };
    let (base, path) = match directory.parent().filter(is_base) {
        Some(above) => (above, parent(&own.path)),
        None => (directory, own.path.as_str()),
    };
    if has_systemd && is_unit(path) && !is_delegated(base) {
        return Err(Obstacle::NotDelegated(base.to_owned(), User::own()));
    }
    let writable = access(base, Access::WRITE_OK | Access::EXEC_OK)
        .and_then(|()| access(base.join(PROCESSES), Access::WRITE_OK))
        .and_then(|()| access(base.join(ENABLED), Access::WRITE_OK));
    if let Err(error) = writable {
        return Err(Obstacle::NotWritable(Version::V2, base.to_owned(), error));
    }
    // The root has no type.
    let is_root = !base.join("cgroup.type").exists();
    if is_root || is_delegated(base) || processes(base).into_iter().all(is_ours) {
        return Ok(base.to_owned());
    }
    Err(Obstacle::Shared(base.to_owned()))
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent,
        _ => "/",
    }
}

/// Whether a path ends with the name of a unit of systemd, or is the root, which is systemd's too.
pub(super) fn is_unit(path: &str) -> bool {
    path == "/" || [".slice", ".scope", ".service"].iter().any(|kind| path.ends_with(kind))
}

/// Whether systemd has delegated the cgroup at `directory`. It marks the cgroup, but the manager of a user
/// does not (seen in version 252). What `systemd-run` has asked it for is in a file.
pub(super) fn is_delegated(directory: &Path) -> bool {
    let is_marked = ["user.delegate", "trusted.delegate"].into_iter().any(|name| {
        let mut value = [0; 8];
        getxattr(directory, name, &mut value).is_ok_and(|length| value[..length] == *b"1")
    });
    is_marked || transient_unit(directory).is_some_and(|text| asks_for_delegation(&text))
}

/// Returns the file of the transient unit whose cgroup is at `directory`.
fn transient_unit(directory: &Path) -> Option<String> {
    let name = directory.file_name()?.to_str().filter(|name| is_unit(name))?;
    let user = rustix::process::getuid();
    let of_session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let of_user = PathBuf::from(format!("/run/user/{user}"));
    let folders = of_session.into_iter().chain([of_user, PathBuf::from("/run")]);
    folders
        .map(|it| it.join("systemd/transient").join(name))
        .find_map(|it| fs::read_to_string(it).ok())
}

/// Whether a unit's file has `Delegate=` with yes or some controllers (systemd.resource-control(5)).
fn asks_for_delegation(unit: &str) -> bool {
    let value = unit.lines().filter_map(|line| line.strip_prefix("Delegate=")).next_back();
    value.is_some_and(|value| {
        let no = ["", "no", "n", "false", "f", "off", "0"];
        !no.contains(&value.trim().to_ascii_lowercase().as_str())
    })
}

/// Gives the cgroups in `base` these controllers.
pub(super) fn enable(base: &Path, controllers: &[&str]) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let enabled = fs::read_to_string(base.join(ENABLED))?;
        let lacks = |name: &&&str| !enabled.split_whitespace().any(|it| it == **name);
        let wanted: Vec<String> =
            controllers.iter().filter(lacks).map(|name| format!("+{name}")).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        match write(&base.join(ENABLED), &wanted.join(" ")) {
            Ok(()) => return Ok(()),
            Err(error) if is(&error, Errno::BUSY) => move_processes(base)?,
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "processes begin in it again and again"))
}

/// Moves all processes of `base` to the cgroup of Longshore in it.
fn move_processes(base: &Path) -> io::Result<()> {
    let own = base.join(OWN);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let all = is_delegated(base);
    let busy = |message: String| Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
    for pid in processes(base) {
        // The number 0 means the process that writes it.
        if pid == 0 {
            return busy("a process of another PID namespace runs in it".to_owned());
        }
        if !all && !is_ours(pid) {
            return busy(format!("process {pid}, which is not Longshore's, runs in it"));
        }
        match write(&own.join(PROCESSES), &pid.to_string()) {
            Err(error) if !is(&error, Errno::SRCH) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the processes in a cgroup. One of another PID namespace has the number 0.
fn processes(directory: &Path) -> Vec<i32> {
    let text = fs::read_to_string(directory.join(PROCESSES)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn is_ours(pid: i32) -> bool {
    // One that has ended meanwhile need not be moved.
    is_of_longshore(pid).unwrap_or(false)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}

/// Writes to a file of a cgroup, all at once.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;

    #[test]
    fn a_transient_unit_tells_whether_it_is_delegated() {
        // As `systemd-run --user --scope` of systemd 252 writes it.
        let scope = "[Unit]\nDescription=/usr/bin/sh\n\n[Scope]\n";
        assert!(!asks_for_delegation(scope));
        for (value, expected) in [("yes", true), ("memory pids", true), ("no", false), ("", false)]
        {
            let unit = format!("{scope}Delegate={value}\n");
            assert_eq!(asks_for_delegation(&unit), expected, "{value}");
        }
    }

    #[test]
    fn a_process_of_another_namespace_is_not_moved_and_neither_is_this_one_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (base, own) = (folder.path(), folder.path().join(OWN));
        fs::create_dir(&own).unwrap();
        fs::write(base.join(PROCESSES), "0\n").unwrap();
        fs::write(own.join(PROCESSES), "").unwrap();
        for delegated in [false, true] {
            if delegated {
                setxattr(base, "user.delegate", b"1", XattrFlags::empty()).unwrap();
            }
            let error = move_processes(base).unwrap_err();
            assert!(error.to_string().contains("another PID namespace"), "{error}");
            assert_eq!(fs::read_to_string(own.join(PROCESSES)).unwrap(), "", "{delegated}");
        }
    }

    #[test]
    fn only_a_name_of_a_unit_is_one() {
        assert!(is_unit("/a.slice/run-r1.scope") && is_unit("/") && !is_unit("/a.slice/own"));
        assert_eq!((parent("/a/b"), parent("/a")), ("/a", "/"));
    }
}

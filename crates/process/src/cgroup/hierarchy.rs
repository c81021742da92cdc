//! Finds the cgroups of a process in the texts of the kernel: `/proc/PID/cgroup` (cgroups(7)) and
//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Version {
    V1,
    V2,
}

/// The cgroup of a process in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) version: Version,
    /// Its path in the hierarchy, as the kernel names it.
    pub(super) path: String,
    /// Where it is mounted.
    pub(super) directory: PathBuf,
}

/// Returns the cgroup that limits a process by `controller` (or that has this `name=…`). `cgroups` and
/// `mounts` are the texts of the process. Returns `None` if it is mounted nowhere.
///
/// A controller is in one hierarchy only. If it is in none of version 1, it may be in that of
/// version 2, whose `cgroup.controllers` tells.
pub(super) fn own(controller: &str, cgroups: &str, mounts: &str) -> Option<Own> {
    let has = |list: &str| list.split(',').any(|it| it == controller);
    let mut memberships = cgroups.lines().filter_map(membership);
    let (version, path) = match memberships.clone().find(|(list, _)| has(list)) {
        Some((_, path)) => (Version::V1, path),
        None => (Version::V2, memberships.find(|(list, _)| list.is_empty())?.1),
    };
    let is_its = |mount: &Mount<'_>| match version {
        Version::V1 => mount.kind == "cgroup" && has(mount.options),
        Version::V2 => mount.kind == "cgroup2",
    };
    let directory = mounts
        .lines()
        .filter_map(mount)
        .filter(is_its)
        .find_map(|mount| below(&unescaped(mount.point), &unescaped(mount.root), path))?;
    Some(Own { version, path: path.to_owned(), directory })
}

/// Returns the controllers and the path of a line `ID:CONTROLLERS:PATH`.
fn membership(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// Parses a line `id parent device root point options… - type source options`.
fn mount(line: &str) -> Option<Mount<'_>> {
    let mut words = line.split(' ');
    let (root, point) = (words.nth(3)?, words.next()?);
    words.find(|word| *word == "-")?;
    let (kind, options) = (words.next()?, words.nth(1)?);
    Some(Mount { root, point, kind, options })
}

/// Returns where `path` is if `root` is mounted at `point`. It is nowhere if it is not below `root`,
/// such as a cgroup outside of the cgroup namespace (`/..`).
fn below(point: &str, root: &str, path: &str) -> Option<PathBuf> {
    let rest = path.strip_prefix(root.trim_end_matches('/'))?;
    if !(rest.is_empty() || rest.starts_with('/')) || rest.split('/').any(|part| part == "..") {
        return None;
    }
    let mut directory = PathBuf::from(point);
    directory.extend(rest.split('/').filter(|part| !part.is_empty()));
    Some(directory)
}

/// Replaces `\040` and the like by the characters that they are for.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(controller: &str, cgroups: &str, mounts: &str) -> Option<(Version, String)> {
        let own = own(controller, cgroups, mounts)?;
        Some((own.version, own.directory.display().to_string()))
    }

    /// Fedora 40, in the terminal of a desktop.
    #[test]
    fn with_version_2_alone_every_controller_is_there() {
        let cgroups = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope\n";
        let mounts = "\
            24 68 0:22 / /sys rw,nosuid - sysfs sysfs rw,seclabel\n\
            30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let directory =
            "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope";
        for controller in ["memory", "cpu", "pids"] {
            let expected = Some((Version::V2, directory.to_owned()));
            assert_eq!(found(controller, cgroups, mounts), expected, "{controller}");
        }
    }

    /// Debian 10, with controllers that are mounted together, beside a version 2 without any.
    #[test]
    fn a_controller_of_version_1_is_found_in_its_own_hierarchy() {
        let cgroups = "\
            8:cpu,cpuacct:/system.slice/a.service\n\
            6:memory:/system.slice/a.service\n\
            1:name=systemd:/system.slice/a.service\n\
            0::/system.slice/a.service\n";
        let mounts = "\
            29 25 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            30 25 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let at = |version, path: &str| Some((version, format!("{path}/system.slice/a.service")));
        let cpu = at(Version::V1, "/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(found("cpu", cgroups, mounts), cpu);
        let systemd = at(Version::V1, "/sys/fs/cgroup/systemd");
        assert_eq!(found("name=systemd", cgroups, mounts), systemd);
        assert_eq!(found("memory", cgroups, mounts), None, "it is not mounted");
        let pids = at(Version::V2, "/sys/fs/cgroup/unified");
        assert_eq!(found("pids", cgroups, mounts), pids, "at most there");
    }

    /// Docker with and without a cgroup namespace, and a process that has joined neither.
    #[test]
    fn a_part_of_a_hierarchy_that_is_mounted_in_a_container_is_found() {
        let cgroups = "4:memory:/docker/1f/child\n";
        let part = "30 25 0:26 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let child = Some((Version::V1, "/sys/fs/cgroup/memory/child".to_owned()));
        assert_eq!(found("memory", cgroups, part), child);
        assert_eq!(found("memory", "4:memory:/docker/1f0\n", part), None);
        let whole = "30 25 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(found("memory", "0::/../1f\n", whole), None);
        let root = Some((Version::V2, "/sys/fs/cgroup".to_owned()));
        assert_eq!(found("memory", "0::/\n", whole), root);
    }

    #[test]
    fn a_mount_point_with_a_space_is_read() {
        let mounts = "30 25 0:26 / /a\\040b\\c rw - cgroup2 cgroup rw\n";
        assert_eq!(found("pids", "0::/\n", mounts), Some((Version::V2, "/a b\\c".to_owned())));
    }
}

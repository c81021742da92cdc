//! Why a resource cannot be limited here, with the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::hierarchy::Version;
use super::plan::Controller;

/// Why the processes of a job cannot be held to a limit.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The controller is in no hierarchy that is mounted.
    NotMounted(Controller),
    /// The cgroup of version 2 does not have the controller.
    NotEnabled(Controller, PathBuf),
    /// No cgroup can be created in this one.
    NotWritable(Version, PathBuf, Errno),
    /// The cgroup belongs to systemd alone.
    NotDelegated(PathBuf, User),
    /// Other programs are in the cgroup, which would have to be moved.
    Shared(PathBuf),
}

/// Who this process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Root,
    Ordinary,
}

impl User {
    pub(super) fn own() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::Ordinary }
    }

    /// Returns how this user starts Longshore in a cgroup that it may divide.
    const fn scope(self) -> &'static str {
        match self {
            Self::Root => "start Longshore with `systemd-run --scope -p Delegate=yes`",
            Self::Ordinary => "start Longshore with `systemd-run --user --scope -p Delegate=yes`",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMounted(controller) => write!(
                f,
                "no mounted cgroup hierarchy has the controller `{}`: mount one",
                controller.name()
            )?,
            Self::NotEnabled(controller, directory) => write!(
                f,
                "the cgroup {} does not have the controller `{}`: enable it in the cgroups above \
                 (with systemd: `Delegate=cpu memory pids` for user@.service)",
                directory.display(),
                controller.name()
            )?,
            Self::NotWritable(version, directory, error) => {
                let remedy = match (*error, version) {
                    (Errno::ROFS, _) => "mount it writable",
                    // Ordinary users cannot use version 1 safely, says systemd.
                    (_, Version::V1) => "run Longshore as root",
                    (_, Version::V2) => User::Ordinary.scope(),
                };
                let error = io::Error::from(*error);
                write!(f, "failed to use the cgroup {}: {error}: {remedy}", directory.display())?;
            }
            Self::NotDelegated(directory, user) => write!(
                f,
                "systemd does not delegate the cgroup {}: {} (a service: `Delegate=yes` in its unit)",
                directory.display(),
                user.scope()
            )?,
            Self::Shared(directory) => write!(
                f,
                "other programs run in the cgroup {}: start Longshore in a cgroup of its own",
                directory.display()
            )?,
        }
        f.write_str(", or leave the limit out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_obstacle_comes_with_its_remedy() {
        let place = || PathBuf::from("/g");
        for (obstacle, remedy) in [
            (Obstacle::NotMounted(Controller::Cpu), "controller `cpu`: mount one"),
            (Obstacle::NotEnabled(Controller::Pids, place()), "`Delegate=cpu memory pids` for"),
            (
                Obstacle::NotWritable(Version::V2, place(), Errno::ACCESS),
                "denied (os error 13): start Longshore with `systemd-run --user --scope -p Delegate",
            ),
            (Obstacle::NotWritable(Version::V1, place(), Errno::ACCESS), "run Longshore as root"),
            (Obstacle::NotWritable(Version::V1, place(), Errno::ROFS), "mount it writable"),
            (Obstacle::NotDelegated(place(), User::Root), "`systemd-run --scope -p Delegate=yes`"),
            (Obstacle::Shared(place()), "in a cgroup of its own"),
        ] {
            let text = obstacle.to_string();
            assert!(text.contains(remedy), "{text}");
            assert!(text.ends_with(", or leave the limit out"), "{text}");
        }
    }
}

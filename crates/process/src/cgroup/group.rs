//! The cgroups of one job, in its supervisor and after its end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::hierarchy::Version;
use super::plan::{Controller, GroupPlan, PREFIX, Setting};
use super::unified::{self, write};
use crate::linux::none_if;

/// How long a cgroup may stay busy after its last process was reaped.
const REMOVE_ROUNDS: u32 = 40;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// What is added to the number of an error in a child that could not enter a cgroup. Larger than any
/// number of the kernel, so that it is not taken for an error of `exec`.
const ENTRY_FAILED: i32 = 1 << 16;

/// The cgroups of a job; none if it has no limits. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobGroup(Arc<[Group]>);

#[derive(Debug)]
struct Group {
    path: PathBuf,
    /// Open for writing.
    processes: File,
    /// The file that counts the processes that were killed for lack of memory.
    memory_events: Option<PathBuf>,
}

impl JobGroup {
    /// Creates the cgroups of `plans`. If that fails, leaves none behind.
    pub(crate) fn create(plans: &[GroupPlan]) -> io::Result<Self> {
        let mut groups = Vec::with_capacity(plans.len());
        for plan in plans {
            match Group::create(plan) {
                Ok(group) => groups.push(group),
                Err(error) => {
                    Self(groups.into()).remove();
                    let message = format!("{}: {error}", plan.path.display());
                    return Err(io::Error::new(error.kind(), message));
                }
            }
        }
        Ok(Self(groups.into()))
    }

    /// Lets `command` start in the cgroups. See [`entry_failure`].
    #[expect(
        unsafe_code,
        reason = "only the child itself can enter before it executes its program"
    )]
    pub(crate) fn enter(&self, command: &mut Command) {
        if self.0.is_empty() {
            return;
        }
        let groups = Arc::clone(&self.0);
        let enter = move || -> io::Result<()> {
            for group in groups.iter() {
                // The process that writes.
                if let Err(error) = rustix::io::write(&group.processes, b"0") {
                    let number = error.raw_os_error().saturating_add(ENTRY_FAILED);
                    return Err(io::Error::from_raw_os_error(number));
                }
            }
            Ok(())
        };
        // SAFETY: between fork and exec, `enter` makes only system calls. It takes no lock and
        // allocates nothing: an `io::Error` of a system call is only its number.
        unsafe { command.pre_exec(enter) };
    }

    /// Whether the kernel has killed a process of the job for lack of memory.
    pub(crate) fn has_oom_killed(&self) -> bool {
        let files = self.0.iter().filter_map(|group| group.memory_events.as_ref());
        files.filter_map(|file| fs::read_to_string(file).ok()).any(|text| oom_kills(&text) > 0)
    }

    /// Removes the cgroups, in which no process may be left.
    pub(crate) fn remove(&self) {
        for group in self.0.iter() {
            remove(&group.path);
        }
    }
}

impl Group {
    fn create(plan: &GroupPlan) -> io::Result<Self> {
        if plan.version == Version::V2 {
            let names: Vec<&str> = plan.controllers.iter().map(|it| it.name()).collect();
            unified::enable(&plan.base, &names)?;
        }
        fs::create_dir(&plan.path)?;
        Self::set_up(plan).inspect_err(|_| remove(&plan.path))
    }

    fn set_up(plan: &GroupPlan) -> io::Result<Self> {
        for Setting { file, value, optional } in &plan.settings {
            match write(&plan.path.join(file), value) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && *optional => {}
                Err(error) => {
                    let message = format!("failed to write {value} to {file}: {error}");
                    return Err(io::Error::new(error.kind(), message));
                }
                Ok(()) => {}
            }
        }
        let processes = OpenOptions::new().write(true).open(plan.path.join("cgroup.procs"))?;
        let file = match plan.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let limits_memory = plan.controllers.contains(&Controller::Memory);
        let memory_events = limits_memory.then(|| plan.path.join(file));
        Ok(Self { path: plan.path.clone(), processes, memory_events })
    }
}

/// Returns why a child could not enter a cgroup, if `error`, that of its start, is due to that.
pub(crate) fn entry_failure(error: &io::Error) -> Option<io::Error> {
    let number = error.raw_os_error()?.checked_sub(ENTRY_FAILED).filter(|number| *number > 0)?;
    Some(io::Error::from_raw_os_error(number))
}

/// Returns the count in `memory.oom_control` (version 1, from Linux 4.13 on) or `memory.events`.
fn oom_kills(text: &str) -> u64 {
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Returns the processes in the cgroup of a job, and in the cgroups that the job itself has created
/// there.
pub(crate) fn members(path: &Path) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for group in tree(path)? {
        let text = gone_is_none(fs::read_to_string(group.join("cgroup.procs")))?;
        let text = text.unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found.retain(|pid| *pid > 0);
    Ok(found)
}

/// Removes the cgroup of a job, and the cgroups that the job itself has created there, if no process is
/// left in them. It does nothing to a cgroup that is not that of a job.
pub(crate) fn remove(path: &Path) {
    let name = path.file_name().unwrap_or_default();
    if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
        return;
    }
    let removed =
        tree(path).and_then(|groups| groups.iter().rev().try_for_each(|it| remove_one(it)));
    if let Err(error) = removed {
        tracing::debug!(path = %path.display(), %error, "failed to remove a cgroup");
    }
}

fn remove_one(path: &Path) -> io::Result<()> {
    let mut rounds = 0;
    loop {
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if rounds < REMOVE_ROUNDS && members(path)?.is_empty() => {
                rounds += 1;
                // No notification reports when the kernel is done with a process that was reaped.
                std::thread::sleep(REMOVE_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the cgroup at `top` and those in it, each after the one that it is in. Empty if there is none.
fn tree(top: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        gone_is_none(fs::metadata(top))?.map(|_| top.to_owned()).into_iter().collect();
    let mut next = 0;
    while let Some(group) = found.get(next) {
        let mut below = Vec::new();
        for entry in gone_is_none(fs::read_dir(group))?.into_iter().flatten() {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                below.push(entry.path());
            }
        }
        found.extend(below);
        next += 1;
    }
    Ok(found)
}

/// Returns `None` if a cgroup is gone: `ENOENT` from opening a file of it, `ENODEV` from reading it.
fn gone_is_none<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    none_if(&[Errno::NOENT, Errno::NODEV], read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions() {
        let version_1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        assert_eq!(oom_kills(version_1), 2);
        let version_2 = "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(oom_kills(version_2), 1);
        assert_eq!(oom_kills("oom_kill_disable 0\nunder_oom 0\n"), 0, "before Linux 4.13");
    }

    #[test]
    fn a_failed_entry_is_told_apart_from_a_failed_exec() {
        let error = io::Error::from_raw_os_error(Errno::BUSY.raw_os_error() + ENTRY_FAILED);
        let failure = entry_failure(&error).unwrap();
        assert_eq!(Errno::from_io_error(&failure), Some(Errno::BUSY));
        assert!(entry_failure(&Errno::NOENT.into()).is_none());
        assert!(entry_failure(&io::Error::other("x")).is_none());
    }

    #[test]
    fn a_cgroup_that_cannot_be_read_is_not_empty() {
        let folder = tempfile::tempdir().unwrap();
        let job = folder.path().join("longshore-job-1");
        assert!(members(&job).unwrap().is_empty());
        fs::create_dir_all(job.join("a")).unwrap();
        fs::write(job.join("cgroup.procs"), "7\n0\n").unwrap();
        assert_eq!(members(&job).unwrap(), [7]);
        // What fails to be read, as with a lack of descriptors.
        fs::create_dir(job.join("a/cgroup.procs")).unwrap();
        assert!(members(&job).is_err());
    }

    #[test]
    fn only_the_cgroup_of_a_job_is_removed_with_those_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let job = folder.path().join("longshore-job-1");
        fs::create_dir_all(job.join("a/b")).unwrap();
        fs::create_dir(folder.path().join("other")).unwrap();
        remove(&folder.path().join("other"));
        remove(&job);
        remove(&job);
        assert!(!job.exists() && folder.path().join("other").exists());
    }
}

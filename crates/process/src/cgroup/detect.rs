//! Which resources of a job can be limited here.

use std::fs;
use std::path::{Path, PathBuf};

use longshore_core::{AttemptId, Capabilities, Capability, ResourceList};
use rustix::fs::{Access, access};

use super::hierarchy::{self, Own, Version};
use super::obstacle::{Obstacle, User};
use super::plan::{Controller, GroupPlan, plan};
use super::unified::{self, is_delegated, is_unit};

/// For each resource, the cgroup in which those of jobs are created, or why none can be.
#[derive(Debug)]
pub(crate) struct Support([(Controller, Result<Place, Obstacle>); 3]);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    version: Version,
    base: PathBuf,
}

impl Support {
    /// Returns what this process may limit. Only reads.
    pub(crate) fn detect() -> Self {
        let read = |name| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        // As sd_booted(3) finds out.
        let has_systemd = Path::new("/run/systemd/system").is_dir();
        Self::of(&read("cgroup"), &read("mountinfo"), has_systemd)
    }

    fn of(cgroups: &str, mounts: &str, has_systemd: bool) -> Self {
        Self(Controller::ALL.map(|it| (it, place(it, cgroups, mounts, has_systemd))))
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self::of("", "", false)
    }

    /// Adds what is supported to `capabilities`.
    pub(crate) fn extend(&self, capabilities: Capabilities) -> Capabilities {
        let supported = self.0.iter().filter(|(_, place)| place.is_ok());
        supported.fold(capabilities, |all, (it, _)| all.with(capability(*it)))
    }

    /// Returns how to obtain a capability that is not supported here.
    pub(crate) fn remedy(&self, wanted: Capability) -> Option<String> {
        let (_, place) = self.0.iter().find(|(it, _)| capability(*it) == wanted)?;
        place.as_ref().err().map(ToString::to_string)
    }

    /// Returns the cgroups that hold `attempt` to `limits`.
    pub(crate) fn plan(&self, attempt: &AttemptId, limits: &ResourceList) -> Vec<GroupPlan> {
        plan(attempt, limits, |controller| {
            let (_, place) = self.0.iter().find(|(it, _)| *it == controller)?;
            place.as_ref().ok().map(|place| (place.version, place.base.clone()))
        })
    }

    /// Says what is supported, for a person.
    pub(crate) fn words(&self) -> String {
        let mut words = Vec::new();
        let mut lacking: Vec<(String, Vec<&str>)> = Vec::new();
        for (controller, place) in &self.0 {
            let name = controller.name();
            let why = match place {
                Ok(place) => {
                    let version = if place.version == Version::V1 { 1 } else { 2 };
                    words.push(format!("{name} (cgroup version {version})"));
                    continue;
                }
                Err(obstacle) => obstacle.to_string(),
            };
            match lacking.iter_mut().find(|(other, _)| *other == why) {
                Some((_, names)) => names.push(name),
                None => lacking.push((why, vec![name])),
            }
        }
        words.extend(
            lacking.into_iter().map(|(why, names)| format!("no {}: {why}", names.join(", "))),
        );
        words.join("; ")
    }
}

const fn capability(controller: Controller) -> Capability {
    match controller {
        Controller::Memory => Capability::LimitMemory,
        Controller::Cpu => Capability::LimitCpu,
        Controller::Pids => Capability::LimitPids,
    }
}

fn place(
    controller: Controller,
    cgroups: &str,
    mounts: &str,
    has_systemd: bool,
) -> Result<Place, Obstacle> {
    let name = controller.name();
    let own = hierarchy::own(name, cgroups, mounts).ok_or(Obstacle::NotMounted(controller))?;
    let base = match own.version {
        Version::V1 => {
            access(&own.directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
                Obstacle::NotWritable(Version::V1, own.directory.clone(), error)
            })?;
            let systemd = || hierarchy::own("name=systemd", cgroups, mounts);
            if has_systemd && is_unit(&own.path) && !is_delegated_with(&own, systemd()) {
                return Err(Obstacle::NotDelegated(own.directory, User::own()));
            }
            own.directory
        }
        Version::V2 => {
            let base = unified::base(&own, has_systemd)?;
            let file = base.join("cgroup.controllers");
            let offered = fs::read_to_string(file).unwrap_or_default();
            if !offered.split_whitespace().any(|it| it == name) {
                return Err(Obstacle::NotEnabled(controller, base));
            }
            base
        }
    };
    Ok(Place { version: own.version, base })
}

/// Whether systemd has delegated the unit that `own` belongs to. In version 1, the mark is in systemd's
/// own hierarchy.
fn is_delegated_with(own: &Own, systemd: Option<Own>) -> bool {
    systemd.is_some_and(|systemd| systemd.path == own.path && is_delegated(&systemd.directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like the cgroup `path` of version 2 with all files of a delegated one.
    fn cgroup(root: &Path, path: &str, processes: &str) {
        let directory = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(&directory).unwrap();
        for (file, text) in [
            ("cgroup.type", "domain\n"),
            ("cgroup.controllers", "memory pids\n"),
            ("cgroup.subtree_control", ""),
            ("cgroup.procs", processes),
        ] {
            fs::write(directory.join(file), text).unwrap();
        }
    }

    fn detected(root: &Path, path: &str, has_systemd: bool) -> Support {
        let mounts = format!("1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.display());
        Support::of(&format!("0::{path}\n"), &mounts, has_systemd)
    }

    fn base(support: &Support) -> Option<PathBuf> {
        let mut limits = ResourceList::default();
        limits.pids = Some(1);
        let plans = support.plan(&"job-1".parse().unwrap(), &limits);
        plans.first().map(|plan| plan.base.clone())
    }

    #[test]
    fn a_cgroup_that_longshore_has_for_itself_is_divided_with_the_controllers_that_it_has() {
        let root = tempfile::tempdir().unwrap();
        cgroup(root.path(), "/own", &format!("{}\n", std::process::id()));
        let support = detected(root.path(), "/own", false);
        assert_eq!(base(&support), Some(root.path().join("own")));
        let found = support.extend(Capabilities::default());
        assert!(found.limit_memory && found.limit_pids && !found.limit_cpu);
        assert_eq!(support.remedy(Capability::LimitMemory), None);
        let remedy = support.remedy(Capability::LimitCpu).unwrap();
        assert!(remedy.contains("does not have the controller `cpu`"), "{remedy}");
        let words = support.words();
        let begin = "memory (cgroup version 2); pids (cgroup version 2); no cpu: the cgroup";
        assert!(words.starts_with(begin), "{words}");
        // After its processes were moved.
        cgroup(root.path(), "/own/longshore.own", "");
        let support = detected(root.path(), "/own/longshore.own", false);
        assert_eq!(base(&support), Some(root.path().join("own")));
    }

    #[test]
    fn a_cgroup_of_other_programs_or_of_systemd_is_not_divided() {
        let root = tempfile::tempdir().unwrap();
        cgroup(root.path(), "/shared", "1\n");
        cgroup(root.path(), "/a.scope", "");
        for (path, has_systemd, expected) in [
            ("/shared", false, "other programs run in the cgroup"),
            ("/a.scope", true, "systemd does not delegate the cgroup"),
            ("/none", false, "failed to use the cgroup"),
        ] {
            let support = detected(root.path(), path, has_systemd);
            assert_eq!(base(&support), None);
            let remedy = support.remedy(Capability::LimitPids).unwrap();
            assert!(remedy.starts_with(expected), "{remedy}");
            assert!(support.words().starts_with("no memory, cpu, pids: "), "{}", support.words());
        }
    }
}

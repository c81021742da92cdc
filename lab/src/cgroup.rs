//! The control group that holds every container of the lab, so that all of
//! them can be found and ended even if the engine that created them is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::component::{Verdict, poll};
use super::layout::{NODE, make_dir};

/// Returns the group of `part`, as passed to an engine.
pub(crate) fn of(part: &str) -> PathBuf {
    Path::new("/").join(NODE).join(part)
}

struct Hierarchy {
    root: PathBuf,
    unified: bool,
}

impl Hierarchy {
    fn lab(&self) -> PathBuf {
        self.root.join(NODE)
    }
}

/// Creates the group in every hierarchy.
pub(crate) fn ensure() -> Result<()> {
    for hierarchy in hierarchies()? {
        let lab = hierarchy.lab();
        if lab.exists() {
            continue;
        }
        make_dir(&lab)?;
        if hierarchy.unified {
            delegate(&hierarchy.root);
        } else {
            inherit_cpus(&hierarchy)?;
        }
    }
    Ok(())
}

/// Version 2: enables the controllers that the kubelet needs. If the kernel lacks
/// one, the kubelet reports that.
fn delegate(root: &Path) {
    for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Version 1: sets the CPUs of the new cpuset. Until then it has none and accepts no process.
fn inherit_cpus(hierarchy: &Hierarchy) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let Ok(value) = fs::read(hierarchy.root.join(file)) else {
            continue;
        };
        let path = hierarchy.lab().join(file);
        fs::write(&path, value).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// Returns the processes in the group. Use the ids at once: processes may end at any time.
pub(crate) fn processes() -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for hierarchy in hierarchies()? {
        for group in tree(&hierarchy.lab()) {
            let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Returns the groups of local jobs (`longshore-ATTEMPT`) in which no process is left, outside of the lab.
pub fn abandoned() -> Result<Vec<PathBuf>> {
    Ok(hierarchies()?.iter().flat_map(abandoned_in).collect())
}

fn abandoned_in(hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let lab = hierarchy.lab();
    let is_of_job = |group: &PathBuf| {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("longshore-") && !group.starts_with(&lab)
    };
    let is_empty = |group: &PathBuf| {
        tree(group).iter().all(|it| {
            fs::read_to_string(it.join("cgroup.procs")).unwrap_or_default().trim().is_empty()
        })
    };
    tree(&hierarchy.root).into_iter().filter(is_of_job).filter(is_empty).collect()
}

/// Removes the group, which must have no processes. A process leaves its group a
/// moment after its end.
pub(crate) fn remove() -> Result<()> {
    let hierarchies = hierarchies()?;
    poll(Duration::from_secs(10), || {
        for hierarchy in &hierarchies {
            for group in tree(&hierarchy.lab()).into_iter().rev() {
                fs::remove_dir(&group)
                    .map_err(|error| Verdict::NotYet(anyhow!("{}: {error}", group.display())))?;
            }
        }
        Ok(())
    })
    .context("failed to remove the lab's control group")
}

/// Returns `top` and the groups below it, each after its parent. Empty if `top`
/// does not exist.
fn tree(top: &Path) -> Vec<PathBuf> {
    if !top.is_dir() {
        return Vec::new();
    }
    let mut found = vec![top.to_path_buf()];
    let mut next = 0;
    while let Some(group) = found.get(next) {
        let below: Vec<PathBuf> = fs::read_dir(group)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir() && !path.is_symlink())
            .collect();
        found.extend(below);
        next += 1;
    }
    found
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    Ok(parse(&text))
}

/// Parses mounts. Each line is `id parent device root point options... - type source options`.
fn parse(mounts: &str) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let kind = right.split(' ').next()?;
        let unified = kind == "cgroup2";
        let root = PathBuf::from(left.split(' ').nth(4)?);
        (unified || kind == "cgroup").then_some(Hierarchy { root, unified })
    };
    mounts.lines().filter_map(hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_groups_are_hierarchies() {
        let mounts = "\
24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory
26 24 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let found = parse(mounts);
        let found: Vec<_> = found.iter().map(|h| (h.root.to_str().unwrap(), h.unified)).collect();
        assert_eq!(found, [("/sys/fs/cgroup/memory", false), ("/sys/fs/cgroup/unified", true)]);
    }

    #[test]
    fn a_tree_lists_parents_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let found = tree(dir.path());
        assert_eq!(found, [dir.path().into(), dir.path().join("a"), dir.path().join("a/b")]);
        assert!(tree(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn the_group_of_a_job_is_abandoned_once_no_process_is_in_it_or_below() {
        let dir = tempfile::tempdir().unwrap();
        for (group, processes) in [
            ("a/longshore-old-1", ""),
            ("a/longshore-runs-1/inner", "7\n"),
            ("longshore-lab/longshore-in-lab-1", ""),
            ("other", ""),
        ] {
            fs::create_dir_all(dir.path().join(group)).unwrap();
            fs::write(dir.path().join(group).join("cgroup.procs"), processes).unwrap();
        }
        let hierarchy = Hierarchy { root: dir.path().into(), unified: false };
        assert_eq!(abandoned_in(&hierarchy), [dir.path().join("a/longshore-old-1")]);
    }
}

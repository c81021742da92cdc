//! What the cgroups of a job are, and what is written to their files. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::hierarchy::Version;
use longshore_core::{AttemptId, ResourceList};

/// The period in which a share of CPU time is counted, in microseconds: that of Docker and Kubernetes.
const PERIOD: u64 = 100_000;

/// The least and the most time in a period that the kernel takes (kernel/sched/core.c).
const QUOTAS: (u64, u64) = (1_000, 1 << 40);

/// The most processes that the kernel can count: `PID_MAX_LIMIT` (pids.c). More is no limit.
const MOST_PIDS: u32 = 4 << 20;

/// What the name of each cgroup of a job begins with.
pub(super) const PREFIX: &str = "longshore-";

/// A resource that cgroups limit, and the name of its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// A cgroup to create for one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupPlan {
    pub(super) version: Version,
    /// The cgroup in which it is created.
    pub(super) base: PathBuf,
    pub(crate) path: PathBuf,
    pub(super) controllers: Vec<Controller>,
    pub(super) settings: Vec<Setting>,
}

/// A value to write to a file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Setting {
    pub(super) file: String,
    pub(super) value: String,
    /// Whether a kernel may lack the file.
    pub(super) optional: bool,
}

/// Returns the cgroups that hold `attempt` to `limits`. `base` returns where a controller can be used.
pub(super) fn plan(
    attempt: &AttemptId,
    limits: &ResourceList,
    base: impl Fn(Controller) -> Option<(Version, PathBuf)>,
) -> Vec<GroupPlan> {
    let mut plans: Vec<GroupPlan> = Vec::new();
    for controller in Controller::ALL {
        let Some((version, base)) = base(controller) else { continue };
        let settings = settings(controller, version, limits);
        if settings.is_empty() {
            continue;
        }
        if let Some(plan) = plans.iter_mut().find(|plan| plan.base == base) {
            plan.controllers.push(controller);
            plan.settings.extend(settings);
            continue;
        }
        let path = base.join(format!("{PREFIX}{attempt}"));
        plans.push(GroupPlan { version, base, path, controllers: vec![controller], settings });
    }
    plans
}

fn settings(controller: Controller, version: Version, limits: &ResourceList) -> Vec<Setting> {
    let setting = |file: &str, value: String| Setting {
        file: file.to_owned(),
        value,
        // A kernel may not count swap.
        optional: file.contains("memsw") || file.contains("swap"),
    };
    let Some(settings) = (match (controller, version) {
        // No swap, as with Docker and Kubernetes. The limit of both together is set after that of
        // the memory alone, as it may not be lower.
        (Controller::Memory, Version::V1) => limits.memory.map(|memory| {
            let bytes = memory.bytes().to_string();
            vec![
                setting("memory.limit_in_bytes", bytes.clone()),
                setting("memory.memsw.limit_in_bytes", bytes),
            ]
        }),
        (Controller::Memory, Version::V2) => limits.memory.map(|memory| {
            vec![
                setting("memory.max", memory.bytes().to_string()),
                setting("memory.swap.max", "0".to_owned()),
            ]
        }),
        (Controller::Cpu, version) => limits.cpu.map(|cpu| {
            let quota = cpu.millis().saturating_mul(PERIOD / 1_000).clamp(QUOTAS.0, QUOTAS.1);
            match version {
                Version::V1 => vec![
                    setting("cpu.cfs_period_us", PERIOD.to_string()),
                    setting("cpu.cfs_quota_us", quota.to_string()),
                ],
                Version::V2 => vec![setting("cpu.max", format!("{quota} {PERIOD}"))],
            }
        }),
        (Controller::Pids, _) => limits.pids.map(|pids| {
            let most = if pids > MOST_PIDS { "max".to_owned() } else { pids.to_string() };
            vec![setting("pids.max", most)]
        }),
    }) else {
        return Vec::new();
    };
    settings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn limits(memory: &str, cpu: &str, pids: u32) -> ResourceList {
        let mut limits = ResourceList::default();
        limits.memory = Some(memory.parse().unwrap());
        limits.cpu = Some(cpu.parse().unwrap());
        limits.pids = Some(pids);
        limits
    }

    fn text(limits: &ResourceList, base: impl Fn(Controller) -> (Version, &'static str)) -> String {
        let place = |controller| {
            let (version, base) = base(controller);
            Some((version, PathBuf::from(base)))
        };
        let plans = plan(&"job-1".parse().unwrap(), limits, place);
        let mut lines = Vec::new();
        for plan in plans {
            assert_eq!(plan.path.parent(), Some(plan.base.as_path()));
            let optional = |setting: &Setting| if setting.optional { "?" } else { "" };
            let line = |it: &Setting| {
                format!("{}{} {}", plan.path.join(&it.file).display(), optional(it), it.value)
            };
            lines.extend(plan.settings.iter().map(line));
        }
        lines.join("\n")
    }

    #[test]
    fn each_hierarchy_of_version_1_gets_a_cgroup() {
        let written = text(&limits("64Mi", "500m", 20), |controller| match controller {
            Controller::Memory => (Version::V1, "/m"),
            Controller::Cpu => (Version::V1, "/c"),
            Controller::Pids => (Version::V1, "/p"),
        });
        let expected = "\
            /m/longshore-job-1/memory.limit_in_bytes 67108864\n\
            /m/longshore-job-1/memory.memsw.limit_in_bytes? 67108864\n\
            /c/longshore-job-1/cpu.cfs_period_us 100000\n\
            /c/longshore-job-1/cpu.cfs_quota_us 50000\n\
            /p/longshore-job-1/pids.max 20";
        assert_eq!(written, expected);
    }

    #[test]
    fn version_2_has_one_cgroup_for_all_controllers() {
        let written = text(&limits("1G", "2", 5), |_| (Version::V2, "/g"));
        let expected = "\
            /g/longshore-job-1/memory.max 1000000000\n\
            /g/longshore-job-1/memory.swap.max? 0\n\
            /g/longshore-job-1/cpu.max 200000 100000\n\
            /g/longshore-job-1/pids.max 5";
        assert_eq!(written, expected);
    }

    #[test]
    fn limits_beyond_what_the_kernel_takes_are_the_nearest_that_it_takes() {
        let place = |_| (Version::V2, "/g");
        let written = text(&limits("1", "1m", u32::MAX), place);
        assert!(written.contains("cpu.max 1000 100000"), "{written}");
        assert!(written.ends_with("pids.max max"), "{written}");
        let written = text(&limits("1", &u64::MAX.to_string()[..15], 1), place);
        assert!(written.contains("cpu.max 1099511627776 100000"), "{written}");
    }

    #[test]
    fn a_resource_without_a_limit_needs_no_cgroup() {
        let mut limits = ResourceList::default();
        let base = |_| Some((Version::V1, PathBuf::from("/g")));
        assert_eq!(plan(&"job-1".parse().unwrap(), &limits, base), []);
        limits.pids = Some(3);
        let plans = plan(&"job-1".parse().unwrap(), &limits, base);
        assert_eq!(plans[0].controllers, [Controller::Pids]);
        assert_eq!(plans[0].path, Path::new("/g/longshore-job-1"));
    }
}

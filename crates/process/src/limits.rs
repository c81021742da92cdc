//! Resource limits (getrlimit(2)): those that a job inherits, and those of Longshore's own
//! processes.
//!
//! A limit that a shell sets with `ulimit` is meant for the job. It must not end the supervisor,
//! which keeps the job's output and its end. So the processes of Longshore raise their own limits,
//! and the job gets back those that the first of them had.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGXCPU, SIGXFSZ};

/// The limits that matter to Longshore's own processes, and how `ulimit` names them.
const RESOURCES: [(Resource, &str); 6] = [
    (Resource::Fsize, "size of files (ulimit -f)"),
    (Resource::Cpu, "CPU time (ulimit -t)"),
    (Resource::Data, "data (ulimit -d)"),
    (Resource::As, "address space (ulimit -v)"),
    (Resource::Nofile, "open files (ulimit -n)"),
    (Resource::Nproc, "processes (ulimit -u)"),
];

/// More bytes than the record of an attempt has.
const LEAST_FILE: u64 = 64 << 10;

/// How many descriptors of this process no further job may take: the jobs that run need them for
/// their output, and everything else for a moment at a time.
const SPARE_DESCRIPTORS: u64 = 32;

/// How many descriptors a job takes after its start: one for each stream of its output.
const DESCRIPTORS_OF_A_JOB: u64 = 2;

/// More descriptors than a supervisor has open. With as many, it starts jobs without a change of
/// its own limit.
const LEAST_DESCRIPTORS: u64 = 32;

/// A limit: `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    soft: Option<u64>,
    hard: Option<u64>,
}

/// The limits of a job, in the order of `RESOURCES`.
pub(crate) type JobLimits = [Limit; RESOURCES.len()];

/// A limit of this process, as it was inherited and as it is since.
#[derive(Clone, Copy, Debug)]
struct Raised {
    inherited: Rlimit,
    raised: Rlimit,
}

static RAISED: OnceLock<[Raised; RESOURCES.len()]> = OnceLock::new();

/// Raises the limits of this process, as far as it may, on the size of files, CPU time, memory, open
/// files and processes. Local jobs still get the limits that this process had before.
///
/// The command calls it at its start. In a service, call it at the start of `main`, after
/// [`init`](crate::init): each running local job takes up to three descriptors, and the usual limit
/// is 1,024. The service must not use `select(2)`, which cannot handle more. This function also
/// handles `SIGXFSZ` and `SIGXCPU`, so that a write beyond the limit on the size of files fails with
/// an error and does not end the process.
pub fn raise_limits() {
    RAISED.get_or_init(|| {
        let nothing = Arc::new(AtomicBool::new(false));
        for signal in [SIGXFSZ, SIGXCPU] {
            // A handled signal has its default action again in a job, an ignored one has not.
            let _ = signal_hook::flag::register(signal, Arc::clone(&nothing));
        }
        RESOURCES.map(|(resource, _)| raise(resource))
    });
}

fn raise(resource: Resource) -> Raised {
    let inherited = getrlimit(resource);
    let to_hard = Rlimit { current: inherited.maximum, maximum: inherited.maximum };
    let unlimited = Rlimit { current: None, maximum: None };
    // The number of descriptors has an upper bound of its own (fs.nr_open).
    let privileged = resource != Resource::Nofile && inherited != unlimited;
    if !(privileged && setrlimit(resource, unlimited).is_ok()) && inherited != to_hard {
        // A process that may not raise a limit keeps it.
        let _ = setrlimit(resource, to_hard);
    }
    Raised { inherited, raised: getrlimit(resource) }
}

/// Returns the limits that a job of this process gets: those that this process inherited, or that
/// its program has set since.
pub(crate) fn of_jobs() -> JobLimits {
    let raised = RAISED.get();
    let mut index = 0;
    RESOURCES.map(|(resource, _)| {
        let now = getrlimit(resource);
        let before = raised.and_then(|all| all.get(index)).filter(|it| it.raised == now);
        index += 1;
        let limit = before.map_or(now, |it| it.inherited);
        Limit { soft: limit.current, hard: limit.maximum }
    })
}

/// Lets `command` start with the limits of a job.
pub(super) fn limit(command: &mut Command, limits: &JobLimits) {
    let mut changes = Vec::new();
    for ((resource, _), limit) in RESOURCES.into_iter().zip(limits) {
        let now = getrlimit(resource);
        let maximum = lower(limit.hard, now.maximum);
        let wanted = Rlimit { current: lower(limit.soft, maximum), maximum };
        if wanted == now {
            continue;
        }
        // A supervisor needs few descriptors. With this limit of its own, it starts the job without
        // a fork.
        let suffices = wanted.current.is_none_or(|most| most >= LEAST_DESCRIPTORS);
        let is_common = resource == Resource::Nofile && wanted.maximum == now.maximum && suffices;
        if !(is_common && setrlimit(resource, wanted).is_ok()) {
            changes.push((resource, wanted));
        }
    }
    if !changes.is_empty() {
        limit_child(command, changes);
    }
}

/// Lets the child of `command` set `changes` before it executes its program.
#[expect(unsafe_code, reason = "a limit that only the child has can be set in no other way")]
fn limit_child(command: &mut Command, changes: Vec<(Resource, Rlimit)>) {
    let apply = move || -> io::Result<()> {
        for (resource, limit) in &changes {
            setrlimit(*resource, *limit)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `apply` makes only system calls. It takes no lock and allocates
    // nothing: an `io::Error` of a system call is only its number.
    unsafe { command.pre_exec(apply) };
}

/// Returns the lower of two limits.
fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Returns why this process has too few descriptors for a job beside those that it has, of which
/// `running` are local jobs. Returns `None` if it has enough.
pub(crate) fn lack_of_descriptors(running: usize) -> Option<String> {
    let limit = getrlimit(Resource::Nofile).current?;
    let running = u64::try_from(running).unwrap_or(u64::MAX);
    let spare = SPARE_DESCRIPTORS.saturating_add(running.saturating_mul(DESCRIPTORS_OF_A_JOB));
    let lacks = match File::open("/dev/null") {
        // The lowest number that is free: about as many are in use.
        Ok(file) => u64::try_from(file.as_raw_fd()).unwrap_or(0).saturating_add(spare) > limit,
        Err(error) => matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)),
    };
    lacks.then(|| {
        format!(
            "this process has too few file descriptors for a further local job: its limit (ulimit \
             -n) is {limit}"
        )
    })
}

/// Returns why no job can be supervised under the limits of this process, or `None`.
pub(crate) fn obstacle() -> Option<String> {
    // If this process has not raised its limits, its supervisors still do.
    let raised = RAISED.get().is_some();
    let least = [(Resource::Fsize, LEAST_FILE), (Resource::Nofile, LEAST_DESCRIPTORS)];
    least.into_iter().find_map(|(resource, least)| {
        let now = getrlimit(resource);
        let most = if raised { now.current } else { now.maximum };
        let most = most.filter(|most| *most < least)?;
        let name = RESOURCES.iter().find(|(it, _)| *it == resource).map_or("", |it| it.1);
        Some(format!(
            "the hard limit on the {name} is {most}, and the supervisor of a job needs {least}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unlimited_limit_is_higher_than_any_other() {
        assert_eq!(lower(None, None), None);
        assert_eq!(lower(Some(3), None), Some(3));
        assert_eq!(lower(None, Some(3)), Some(3));
        assert_eq!(lower(Some(2), Some(3)), Some(2));
    }
}

//! Finds and signals the processes of a job by a mark in their environment.

use longshore_core::AttemptId;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// A variable in the environment of every process of a job.
const MARK: &str = "LONGSHORE_TOY";

/// The processes of a job that a signal reaches.
#[derive(Clone, Debug)]
pub(super) enum Target {
    All(AttemptId),
    /// Only the first process: a flaw.
    First(Option<u32>),
    /// Only the process group of the first process: a flaw.
    Group(Option<u32>),
}

/// Returns the variable that marks the processes of `attempt`.
pub(super) fn mark(attempt: &AttemptId) -> (&'static str, &str) {
    (MARK, attempt.as_str())
}

impl Target {
    /// Signals the processes, again and again until there is no new one.
    pub(super) fn signal(&self, signal: Signal) {
        match self {
            Self::All(attempt) => signal_all(attempt, signal),
            Self::First(pid) => {
                let _ = pid_of(*pid).map(|pid| kill_process(pid, signal));
            }
            Self::Group(pid) => {
                let _ = pid_of(*pid).map(|pid| kill_process_group(pid, signal));
            }
        }
    }
}

fn pid_of(pid: Option<u32>) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid?).ok()?)
}

fn signal_all(attempt: &AttemptId, signal: Signal) {
    let mut signalled = std::collections::HashSet::new();
    loop {
        let new: Vec<u32> =
            processes(attempt).into_iter().filter(|pid| signalled.insert(*pid)).collect();
        if new.is_empty() {
            return;
        }
        for pid in new {
            // A process that is gone needs no signal.
            let _ = pid_of(Some(pid)).map(|pid| kill_process(pid, signal));
        }
    }
}

/// Returns the running processes of a job. A process that has ended has no environment.
pub(super) fn processes(attempt: &AttemptId) -> Vec<u32> {
    let mark = format!("{MARK}={attempt}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let has_mark = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has_mark).collect()
}

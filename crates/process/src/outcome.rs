//! Derives the job's outcome from the way its process ended.

use longshore_core::{ErrorKind, Outcome, RejectReason};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Why the supervisor ended a job early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its timeout had passed.
    Deadline,
    /// A cancel was requested.
    Cancel,
}

/// How the main process of a job ended, as `wait` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// Returns the exit code as a shell does: 128+n for signal n
    /// (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_08_02>).
    const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Returns the outcome of a job. Its main process ended with `exit`, or could not be ended if that
/// is `None`. `cause` is the reason for which the supervisor ended the job early, if it did.
/// `has_oom_killed` is whether the kernel killed one of its processes for lack of memory; only with
/// code 137 was it the job itself, as on Docker and Kubernetes.
pub(crate) fn outcome(exit: Option<Exit>, cause: Option<Cause>, has_oom_killed: bool) -> Outcome {
    let code = exit.map(Exit::code);
    match (cause, exit) {
        (Some(Cause::Deadline), _) => Outcome::DeadlineExceeded { code },
        (Some(Cause::Cancel), _) => Outcome::Cancelled { code },
        (None, Some(_)) if has_oom_killed && code == Some(137) => {
            Outcome::OutOfMemory { code: 137 }
        }
        (None, Some(Exit::Code(code))) => Outcome::Exited { code, signal: None },
        (None, Some(Exit::Signal(signal))) => {
            Outcome::Exited { code: 128 + signal, signal: Some(signal) }
        }
        (None, None) => {
            Outcome::Lost { message: "the job's main process could not be waited for".to_owned() }
        }
    }
}

/// The most processes that a message names.
const MOST_NAMED: usize = 5;

/// Returns the outcome of a job beside whose end the processes `survivors` of it go on, although they were
/// killed. Only a job that has ended on its own has that end: of one that was to be ended, not everything
/// has.
pub(crate) fn outcome_beside(
    survivors: &[i32],
    exit: Option<Exit>,
    cause: Option<Cause>,
) -> Outcome {
    if exit.is_some() && cause.is_none() {
        return outcome(exit, cause, false);
    }
    let named: Vec<String> = survivors.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    let more = if survivors.len() > MOST_NAMED { " and others" } else { "" };
    let message = format!(
        "the job was killed, but some of its processes go on (pid {}{more}): they run as another user, or \
         hang in the kernel",
        named.join(", ")
    );
    Outcome::Lost { message }
}

/// Why the supervisor did not start a job: the kinds of error that can occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RefusalKind {
    CommandNotFound,
    CommandNotExecutable,
    WorkingDirectory,
    InvalidSpec,
    /// The job's limits cannot be set here.
    Unsupported,
    Unavailable,
    Saturated,
    Internal,
}

impl RefusalKind {
    /// The class of error that a caller sees.
    pub(crate) const fn error_kind(self) -> ErrorKind {
        match self {
            Self::CommandNotFound => ErrorKind::Rejected(RejectReason::CommandNotFound),
            Self::CommandNotExecutable => ErrorKind::Rejected(RejectReason::CommandNotExecutable),
            Self::WorkingDirectory => ErrorKind::Rejected(RejectReason::ContainerConfig),
            Self::InvalidSpec => ErrorKind::InvalidSpec,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Unavailable => ErrorKind::Unavailable,
            Self::Saturated => ErrorKind::Saturated,
            Self::Internal => ErrorKind::Internal,
        }
    }

    /// Returns the meaning of a failed `exec` or `fork` (errors of execve(2) and clone(2)).
    pub(crate) fn of_spawn(error: &std::io::Error) -> Self {
        match Errno::from_io_error(error) {
            // The file existed a moment ago, so its interpreter is missing. A shell returns 127 for
            // that too.
            Some(Errno::NOENT | Errno::NOTDIR) => Self::CommandNotFound,
            Some(Errno::ACCESS | Errno::PERM | Errno::NOEXEC | Errno::TXTBSY | Errno::ISDIR) => {
                Self::CommandNotExecutable
            }
            Some(Errno::TOOBIG) => Self::InvalidSpec,
            Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => Self::Saturated,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_follows_from_how_it_ended_and_why() {
        use {Cause::*, Exit::*};
        let table = [
            (Some(Code(0)), None, Outcome::Exited { code: 0, signal: None }),
            (Some(Code(255)), None, Outcome::Exited { code: 255, signal: None }),
            // A program that exits with 137 itself was not killed.
            (Some(Code(137)), None, Outcome::Exited { code: 137, signal: None }),
            (Some(Signal(9)), None, Outcome::Exited { code: 137, signal: Some(9) }),
            (Some(Signal(15)), Some(Cancel), Outcome::Cancelled { code: Some(143) }),
            (Some(Code(0)), Some(Cancel), Outcome::Cancelled { code: Some(0) }),
            (Some(Signal(9)), Some(Deadline), Outcome::DeadlineExceeded { code: Some(137) }),
            (None, Some(Deadline), Outcome::DeadlineExceeded { code: None }),
        ];
        for (exit, cause, expected) in table {
            assert_eq!(outcome(exit, cause, false), expected, "{exit:?} {cause:?}");
        }
        assert_eq!(outcome(None, None, true).kind(), "Lost");
    }

    #[test]
    fn a_job_of_which_processes_survive_was_not_cancelled() {
        for exit in [None, Some(Exit::Signal(9))] {
            let outcome = outcome_beside(&[12, 13, 14, 15, 16, 17], exit, Some(Cause::Cancel));
            let Outcome::Lost { message } = outcome else { panic!("{outcome:?}") };
            assert!(message.contains("pid 12, 13, 14, 15, 16 and others"), "{message}");
        }
        let own_end = outcome_beside(&[12], Some(Exit::Code(3)), None);
        assert_eq!(own_end, Outcome::Exited { code: 3, signal: None });
    }

    #[test]
    fn a_job_that_was_killed_for_lack_of_memory_is_out_of_memory_unless_it_survived_or_was_ended() {
        let table = [
            (Exit::Signal(9), None, Outcome::OutOfMemory { code: 137 }),
            // A shell whose command was killed.
            (Exit::Code(137), None, Outcome::OutOfMemory { code: 137 }),
            (Exit::Code(3), None, Outcome::Exited { code: 3, signal: None }),
            (Exit::Signal(9), Some(Cause::Cancel), Outcome::Cancelled { code: Some(137) }),
        ];
        for (exit, cause, expected) in table {
            assert_eq!(outcome(Some(exit), cause, true), expected, "{exit:?} {cause:?}");
        }
    }

    #[test]
    fn a_failed_exec_is_told_as_a_shell_would() {
        let table = [
            (Errno::NOENT, ErrorKind::Rejected(RejectReason::CommandNotFound)),
            (Errno::ACCESS, ErrorKind::Rejected(RejectReason::CommandNotExecutable)),
            (Errno::NOEXEC, ErrorKind::Rejected(RejectReason::CommandNotExecutable)),
            (Errno::TOOBIG, ErrorKind::InvalidSpec),
            (Errno::AGAIN, ErrorKind::Saturated),
            (Errno::IO, ErrorKind::Internal),
        ];
        for (errno, kind) in table {
            assert_eq!(RefusalKind::of_spawn(&errno.into()).error_kind(), kind, "{errno}");
        }
    }
}

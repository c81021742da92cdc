//! Why a container runtime did not start a container, by its message. Pure.

use crate::RejectReason;

/// What a runtime's message says about a container that did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The job is wrong: every container runtime fails the same way.
    Job(RejectReason),
    /// This host cannot do what the job asks for; another host may.
    Host,
    /// The runtime itself failed: the same container may start later, or elsewhere.
    Runtime,
    /// The message proves none of these.
    Unknown,
}

use RejectReason::{CommandNotExecutable, CommandNotFound, ContainerConfig};
use StartError::{Host, Job, Runtime};

/// Text in lower case, outside quotes, that classifies a message. The first match decides.
const WORDINGS: &[(&str, StartError)] = &[
    // A host that has run out of something, and a runtime that does not answer: these can break
    // any step, so the rest of the message says nothing about the job.
    ("no space left on device", Runtime),
    ("disk quota exceeded", Runtime),
    ("too many open files", Runtime),
    ("cannot allocate memory", Runtime),
    ("resource temporarily unavailable", Runtime),
    ("input/output error", Runtime),
    ("context deadline exceeded", Runtime),
    ("context canceled", Runtime),
    ("connection refused", Runtime),
    ("error while dialing", Runtime),
    ("transport is closing", Runtime),
    ("ttrpc: closed", Runtime),
    ("i/o timeout", Runtime),
    ("is reserved for", Runtime),
    ("layer does not exist", Runtime),
    // containerd and Docker, about a shim or an OCI runtime that is not installed.
    ("failed to start shim", Runtime),
    ("unable to retrieve oci runtime error", Runtime),
    ("fork/exec", Runtime),
    // Limits: Docker's check of the memory, and runc's failures with too little of it (cgroup v1
    // refuses the value; cgroup v2 accepts it, and the kernel kills runc's init).
    ("minimum memory limit", Job(ContainerConfig)),
    ("memory limit too low", Job(ContainerConfig)),
    ("oom-killed", Job(ContainerConfig)),
    ("memory.limit_in_bytes: device or resource busy", Job(ContainerConfig)),
    ("memory.max: device or resource busy", Job(ContainerConfig)),
    // Docker compares the CPU limit with the host's CPUs; the kernel refuses less than 1 ms of
    // each 100 ms.
    ("range of cpus is", Host),
    ("cpu.cfs_quota_us: invalid argument", Host),
    ("cpu.max: invalid argument", Host),
    ("kernel does not support", Host),
    ("cgroup is not mounted", Host),
    // The user and the group: Docker's and runc's library, and containerd's.
    ("unable to find user", Job(ContainerConfig)),
    ("unable to find group", Job(ContainerConfig)),
    ("no matching entries in passwd file", Job(ContainerConfig)),
    ("no matching entries in group file", Job(ContainerConfig)),
    ("no users found", Job(ContainerConfig)),
    ("no groups found", Job(ContainerConfig)),
    ("uids and gids must be in range", Job(ContainerConfig)),
    // The working directory: Docker's `Cannot mkdir`, runc's `chdir to cwd` and `mkdir`, crun's
    // `chdir to`.
    ("cannot mkdir", Job(ContainerConfig)),
    ("chdir", Job(ContainerConfig)),
    ("working directory", Job(ContainerConfig)),
    ("cwd", Job(ContainerConfig)),
    ("container init: mkdir ", Job(ContainerConfig)),
    // Mounts.
    ("error mounting", Job(ContainerConfig)),
    ("duplicate mount point", Job(ContainerConfig)),
    // The rest of a container's configuration.
    ("no command specified", Job(ContainerConfig)),
    ("environment variable value can't contain null", Job(ContainerConfig)),
    // The command: Go's `exec.ErrNotFound`, which runc quotes, and crun's wording.
    ("executable file not found", Job(CommandNotFound)),
    ("executable file `", Job(CommandNotFound)),
    ("exec format error", Job(CommandNotExecutable)),
];

/// Text in lower case, outside quotes, that classifies a message about the execution of the command.
const EXECUTION: &[(&str, RejectReason)] = &[
    ("is a directory", CommandNotExecutable),
    ("permission denied", CommandNotExecutable),
    ("no such file or directory", CommandNotFound),
    ("not a directory", CommandNotFound),
];

/// Text that classifies a message that no earlier text does.
const LAST: &[(&str, StartError)] = &[
    ("mounting", Job(ContainerConfig)),
    ("failed to generate container", Job(ContainerConfig)),
    ("invalid", Job(ContainerConfig)),
];

/// Classifies the message of a container runtime about a container that did not start.
///
/// The messages are those of runc (`libcontainer/rootfs_linux.go`, `init_linux.go`,
/// `process_linux.go`), crun (`src/libcrun/container.c`), containerd (`pkg/oci/spec_opts.go`), the
/// Docker engine (`daemon/daemon_unix.go`, `daemon/errors.go`) and its init (tini). Text in quotes
/// does not count: a runtime quotes the job's own paths and names.
#[must_use]
pub fn start_error(message: &str) -> StartError {
    let message = message.to_lowercase();
    if lacks_own_program(&message) {
        return Runtime;
    }
    let said = unquoted(&message);
    if let Some((_, error)) = WORDINGS.iter().find(|(words, _)| said.contains(words)) {
        return *error;
    }
    if is_about_execution(&said)
        && let Some((_, reason)) = EXECUTION.iter().find(|(words, _)| said.contains(words))
    {
        return Job(*reason);
    }
    LAST.iter().find(|(words, _)| said.contains(words)).map_or(StartError::Unknown, |(_, e)| *e)
}

/// Whether the missing executable is one of the runtime's own programs, not the job's command. A
/// message about the command names the container's process.
fn lacks_own_program(message: &str) -> bool {
    let of_container =
        ["container process", "user process"].iter().any(|words| message.contains(words));
    let programs = ["\"docker-init\"", "\"containerd-shim", "\"runc\"", "\"crun\""];
    !of_container && programs.iter().any(|name| message.contains(&format!("exec: {name}")))
}

/// Whether `said` is about the execution of the container's command.
fn is_about_execution(said: &str) -> bool {
    ["exec: ", "exec /", "exec container process", "exec user process", "] exec ", "executable"]
        .iter()
        .any(|words| said.contains(words))
}

/// `message` without the text in double quotes and in backticks; the quotes stay. Text that gRPC and
/// older runc quote as a whole (`desc = "…"`, `caused "…"`) is kept.
fn unquoted(message: &str) -> String {
    let mut open = None;
    message
        .replace("\\\"", "\"")
        .replace("desc = \"", "desc = ")
        .replace("caused \"", "caused ")
        .chars()
        .filter(|&c| match open {
            None => {
                open = matches!(c, '"' | '`').then_some(c);
                true
            }
            Some(quote) if c == quote => {
                open = None;
                true
            }
            Some(_) => false,
        })
        .collect()
}

#[cfg(test)]
#[path = "start_error_tests.rs"]
mod tests;

//! Longshore's runner for local processes, on Linux.
//!
//! A job runs under a supervisor, a process that outlives the command that started it. The
//! supervisor is the leader of its own session and a subreaper, so that everything the job starts
//! stays below it. The supervisor keeps the job's output, its timeout and its end in the attempt's
//! directory, where any process of the same user finds them. The supervisor is the running program
//! itself, started again: see [`init`].
//!
//! Unlike a container, a process cannot be confined: it runs as Longshore's own user and sees the whole
//! machine. Cgroups limit its memory, CPU time and processes where Longshore may create them.

#[cfg(not(target_os = "linux"))]
compile_error!("longshore-process needs Linux: pidfd, inotify and subreapers");

mod cgroup;
mod children;
mod config;
mod connection;
mod exec;
mod follow;
mod fork_server;
mod launch;
mod limits;
mod linux;
mod location;
mod logs;
mod offer;
mod orphans;
mod outcome;
mod output_files;
mod overdue;
mod pool;
mod probe;
mod pty;
mod record;
mod releases;
mod runner;
mod signal;
mod stdin;
mod store;
mod supervisor;
mod terminal;
mod times;
mod translate;
mod watch;
mod wire;

pub use config::ProcessConfig;
pub use limits::raise_limits;
pub use runner::ProcessRunner;
pub use supervisor::{command_apart, init};

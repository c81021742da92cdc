//! The command under resource limits (`ulimit`) that it inherits.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Output};

/// A user who is not root, and who owns nothing on this machine.
const NOBODY: u32 = 61_234;

/// Runs `longshore run -- true` with `limit`, an option of prlimit(1), as a user whom limits bind.
fn under(limit: &str, state: &Path) -> Output {
    let mut command = Command::new("prlimit");
    command.args([limit, "--"]);
    if rustix::process::geteuid().is_root() {
        chown(state, Some(NOBODY), Some(NOBODY)).unwrap();
        let user = NOBODY.to_string();
        command.args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.arg(env!("CARGO_BIN_EXE_longshore")).args(["run", "--", "true"]);
    command.env("JOB_STATEDIRECTORY", state).env("JOB_RUNNERS", "process").output().unwrap()
}

#[test]
fn a_command_that_lacks_resources_names_the_limit_and_does_not_panic() {
    for (limit, option, what) in [
        ("--nofile=8", "-n", "failed to get 40 file descriptors"),
        ("--nofile=25", "-n", "failed to get 40 file descriptors"),
        ("--nproc=2", "-u", "failed to get 4 threads"),
        ("--fsize=5000", "-f", "may write files of at most 5000 bytes"),
    ] {
        let state = tempfile::tempdir().unwrap();
        let output = under(limit, state.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{limit}: {said}");
        let remedy = format!("raise the limit (ulimit {option}");
        assert!(said.contains(what) && said.contains(&remedy), "{limit}: {said}");
        assert!(!said.contains("panicked"), "{limit}: {said}");
    }
}

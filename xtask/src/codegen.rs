//! Files that are generated from the code.
//!
//! The test target `generated` of the facade generates them. It compares each
//! file with the output of the code. If they differ, it rewrites the file and
//! then fails, so that a second run passes. This module only runs that test, so
//! that this program stays quick to build.

use anyhow::{Context, Result};
use longshore_lab::{say, shell};

use crate::workspace::cargo;

/// The generated files.
pub(crate) const FILES: [&str; 7] = [
    "conf/longshore.toml",
    "conf/longshore.schema.json",
    "conf/job.schema.json",
    "conf/result.schema.json",
    "conf/doctor.schema.json",
    "conf/helm/longshore/values.schema.json",
    "crates/cli/src/settings_schema.rs",
];

/// Rewrites stale generated files. Returns true if all files are up to date;
/// with `check`, true if they were up to date before.
pub(crate) fn codegen(check: bool) -> Result<bool> {
    let mut found = self::check()?;
    if found.is_err() && !check {
        // The first run rewrote the stale files and failed to report that.
        found = self::check()?;
    }
    match &found {
        Ok(()) => say!("{} are fresh", FILES.join(", ")),
        Err(said) => say!("{said}"),
    }
    Ok(found.is_ok())
}

/// Checks whether the generated files are up to date; if not, the inner error
/// has the output of the test. The test rewrites stale files.
pub(crate) fn check() -> Result<Result<(), String>> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--locked", "--package", "longshore", "--test", "generated"]);
    let output = command.output().context("failed to run cargo")?;
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    let said = shell::tail(&String::from_utf8_lossy(&said), 40);
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

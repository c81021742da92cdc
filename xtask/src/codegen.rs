//! Files that are generated from the code.
//!
//! The test target `generated` of the facade knows them: it compares each with
//! what the code gives, writes it again if it differs, and then fails, so that
//! a second run passes. Here it is only called, so that this program stays
//! quick to build.

use anyhow::{Context, Result};

use crate::lab::shell::{self, say};
use crate::workspace::cargo;

/// The files that are generated.
pub(crate) const FILES: [&str; 4] = [
    "conf/longshore.toml",
    "conf/longshore.schema.json",
    "conf/job.schema.json",
    "conf/result.schema.json",
];

/// Writes the generated files again where they are stale. True if they are as
/// they should be; with `check`, if they were so before.
pub(crate) fn codegen(check: bool) -> Result<bool> {
    let mut found = self::check()?;
    if found.is_err() && !check {
        // The first run has rewritten what was stale, and failed to say so.
        found = self::check()?;
    }
    match &found {
        Ok(()) => say!("{} are fresh", FILES.join(", ")),
        Err(said) => say!("{said}"),
    }
    Ok(found.is_ok())
}

/// Whether the generated files are fresh; what was said about it if not. Those
/// that were not are so afterwards.
pub(crate) fn check() -> Result<Result<(), String>> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--locked", "--package", "longshore", "--test", "generated"]);
    let output = command.output().context("failed to run cargo")?;
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    let said = shell::tail(&String::from_utf8_lossy(&said), 40);
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

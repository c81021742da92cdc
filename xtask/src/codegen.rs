//! Files that are generated from the code.
//!
//! The test target `generated` of the facade knows them: it compares each with
//! what the code gives, writes it again if it differs, and then fails, so that
//! a second run passes. Here it is only called, so that this program stays
//! quick to build.

use std::process::Command;

use anyhow::{Context, Result};

use crate::lab::shell::{self, say};
use crate::workspace::cargo;

/// With this variable set the test writes nothing.
pub(crate) const CHECK: &str = "LONGSHORE_GENERATED_CHECK";

/// The files that are generated.
pub(crate) const FILES: [&str; 2] = ["conf/longshore.toml", "conf/longshore.schema.json"];

/// Writes the generated files again, or with `check` only looks at them. True
/// if they are as they should be in the end.
pub(crate) fn codegen(check: bool) -> Result<bool> {
    if !check {
        // Its failure only says that it wrote something; the check tells.
        let _ = run(&mut command())?;
    }
    let fresh = run(command().env(CHECK, "1"))?;
    match &fresh {
        Ok(()) => say!("{} are fresh", FILES.join(" and ")),
        Err(said) => say!("{said}"),
    }
    Ok(fresh.is_ok())
}

/// Whether the generated files are fresh; what was said about it if not.
pub(crate) fn check() -> Result<Result<(), String>> {
    run(command().env(CHECK, "1"))
}

fn command() -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--locked", "--package", "longshore", "--test", "generated"]);
    command.env_remove(CHECK);
    command
}

fn run(command: &mut Command) -> Result<Result<(), String>> {
    let output = command.output().context("failed to run cargo")?;
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    let said = shell::tail(&String::from_utf8_lossy(&said), 40);
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

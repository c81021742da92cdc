//! The paths of the programs under test.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// Returns the path of the `longshore` command.
pub(crate) fn longshore() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CARGO_BIN_EXE_longshore") {
        return Ok(path.into());
    }
    built("longshore", "cargo build -p longshore-cli")
}

/// Returns the path of the facade's example service.
pub(crate) fn service() -> Result<PathBuf> {
    built("examples/service", "cargo build -p longshore --example service")
}

/// Returns the path of the example service with runners that hang and panic.
pub(crate) fn faulty_service() -> Result<PathBuf> {
    built("faulty-service", "cargo build -p longshore-tests --bins")
}

/// Returns a program next to this one: cargo puts test programs in `target/PROFILE/deps`.
fn built(name: &str, how: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("failed to find this program")?;
    let folder =
        own.parent().and_then(|deps| deps.parent()).context("this program has no folder")?;
    let path = folder.join(name);
    ensure!(path.is_file(), "{} does not exist; build it first: {how}", path.display());
    Ok(path)
}

/// Returns the workspace's folder.
pub(crate) fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").components().fold(
        PathBuf::new(),
        |mut path, part| {
            match part {
                std::path::Component::ParentDir => drop(path.pop()),
                part => path.push(part),
            }
            path
        },
    )
}

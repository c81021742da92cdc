//! The environment of test programs.

use std::path::Path;
use std::process::Command;

use super::backend_names::DOCKER29;
use super::build::Built;
use super::scratch::Scratch;
use crate::workspace::{Package, describes_a_package};

/// Prefixes of variables that would make a result depend on the calling shell:
/// the backends that are set up there, and Longshore's own settings. They also
/// include the programs that cargo names for this one.
const FOREIGN: [&str; 5] = ["DOCKER_", "KUBECONFIG", "JOB_", "LONGSHORE_", "CARGO_BIN_EXE_"];

/// The variables for reaching Docker, besides DOCKER_HOST.
const DOCKER_TLS: [&str; 3] = ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONFIG"];

/// Removes the settings of the shell, and makes `command` and its descendants
/// keep their files in `scratch`.
pub(crate) fn clean(command: &mut Command, scratch: &Scratch) {
    command.env("TMPDIR", scratch.folder()).env("XDG_STATE_HOME", scratch.state());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = FOREIGN.iter().any(|prefix| text.starts_with(prefix));
        if foreign || describes_a_package(&name) {
            command.env_remove(&name);
        }
    }
}

/// Gives `command` the variables of the lab and, if the backends are existing
/// ones (`given`), the TLS settings for the engine.
pub(crate) fn with_lab(command: &mut Command, lab: &[(&'static str, String)], given: bool) {
    command.envs(lab.iter().map(|(name, value)| (name, value)));
    if given {
        let kept = DOCKER_TLS.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(kept);
    }
}

/// Makes `command` test the lab's current engine, and report its counts as those
/// of `docker29`.
pub(crate) fn on_docker29(command: &mut Command, lab: &[(&'static str, String)]) {
    let host = lab.iter().find(|(name, _)| *name == "LONGSHORE_LAB_DOCKER29_HOST");
    command.envs(host.map(|(_, host)| ("DOCKER_HOST", host)));
    command.env("LONGSHORE_DOCKER_NAME", DOCKER29);
}

/// Sets the folder and the variables that cargo sets for a package's tests.
pub(crate) fn as_cargo(command: &mut Command, package: &Package, built: &Built) {
    command
        .current_dir(package.folder())
        .env("CARGO_MANIFEST_DIR", package.folder())
        .env("CARGO_MANIFEST_PATH", &package.manifest_path)
        .env("CARGO_PKG_NAME", &package.name)
        .env("CARGO_PKG_VERSION", &package.version);
    programs(command, built.programs.iter().map(|(name, path)| (name.as_str(), path.as_path())));
}

fn programs<'a>(command: &mut Command, programs: impl Iterator<Item = (&'a str, &'a Path)>) {
    command.envs(programs.map(|(name, path)| (format!("CARGO_BIN_EXE_{name}"), path)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    fn value(command: &Command, name: &str) -> Option<String> {
        let (_, value) = command.get_envs().find(|(it, _)| *it == name)?;
        Some(value?.to_string_lossy().into_owned())
    }

    #[test]
    fn a_test_finds_its_package_and_the_command() {
        let workspace = workspace(&[("longshore-cli", "crates/cli", &[])]);
        let mut built = Built::default();
        built.programs.insert("longshore".into(), "/t/longshore".into());
        let mut command = Command::new("true");
        as_cargo(&mut command, &workspace.packages[0], &built);
        assert_eq!(command.get_current_dir(), Some(Path::new("/src/crates/cli")));
        assert_eq!(value(&command, "CARGO_MANIFEST_DIR").unwrap(), "/src/crates/cli");
        assert_eq!(value(&command, "CARGO_BIN_EXE_longshore").unwrap(), "/t/longshore");
    }

    #[test]
    fn the_shells_own_settings_are_taken_away_and_the_labs_given() {
        let mut command = Command::new("true");
        let scratch = Scratch::new().unwrap();
        clean(&mut command, &scratch);
        assert_eq!(value(&command, "TMPDIR").unwrap(), scratch.folder().to_string_lossy());
        with_lab(&mut command, &[("DOCKER_HOST", "unix:///x".into())], false);
        assert_eq!(value(&command, "DOCKER_HOST").unwrap(), "unix:///x");
        on_docker29(&mut command, &[("LONGSHORE_LAB_DOCKER29_HOST", "unix:///y".into())]);
        assert_eq!(value(&command, "DOCKER_HOST").unwrap(), "unix:///y");
        assert_eq!(value(&command, "LONGSHORE_DOCKER_NAME").unwrap(), "docker29");
    }

    /// The README's `cargo run` saw the folder of xtask, and built `ring`, and everything above it,
    /// anew; the next build did the same.
    #[test]
    fn a_program_that_calls_cargo_builds_nothing_anew() {
        let mut command = Command::new("true");
        clean(&mut command, &Scratch::new().unwrap());
        // Cargo sets these for this very test.
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(std::env::var_os(name).is_some(), "{name}");
            let removed = command.get_envs().any(|(it, value)| it == name && value.is_none());
            assert!(removed, "{name}");
        }
    }
}

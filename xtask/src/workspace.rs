//! The workspace, as cargo describes it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use longshore_lab::{checkout, shell};
use serde::Deserialize;

/// The packages of this workspace, from `cargo metadata`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Workspace {
    pub packages: Vec<Package>,
    pub workspace_root: PathBuf,
    pub target_directory: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    pub description: Option<String>,
    pub license: Option<String>,
    pub repository: Option<String>,
    pub readme: Option<PathBuf>,
    pub rust_version: Option<String>,
    /// The registries that it may be published to: `None` for all, and empty for none.
    pub publish: Option<Vec<String>>,
    pub manifest_path: PathBuf,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    pub name: String,
    /// The version that it asks for; `*` for a path without a version.
    pub req: String,
    /// `None`, `dev` or `build`.
    pub kind: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    pub name: String,
    /// `lib`, `bin`, `test`, `example`, …
    pub kind: Vec<String>,
    /// Whether `cargo test` builds and runs the target.
    pub test: bool,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1", "--locked"]);
        let text = shell::capture(&mut command)?;
        serde_json::from_str(&text).context("failed to understand cargo metadata")
    }

    /// Returns the backends: every crate below `crates/` that has no other role.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_backend(package))
    }

    pub(crate) fn is_backend(&self, package: &Package) -> bool {
        const OTHERS: [&str; 9] = [
            "core",
            "dispatch",
            "config",
            "hocon",
            "conformance",
            "journal",
            "registry",
            "longshore",
            "cli",
        ];
        self.folder(package).strip_prefix("crates/").is_some_and(|folder| !OTHERS.contains(&folder))
    }

    /// Returns the package of this workspace that a dependency leads to.
    pub(crate) fn ours(&self, dependency: &Dependency) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == dependency.name)
    }

    /// Returns the package's folder, relative to the workspace's root.
    pub(crate) fn folder(&self, package: &Package) -> String {
        let folder = package.folder();
        let folder = folder.strip_prefix(&self.workspace_root).unwrap_or(folder);
        folder.to_string_lossy().into_owned()
    }
}

impl Package {
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// Returns whether the package may be published.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }
}

/// Returns a cargo command that runs in this checkout.
///
/// The command does not inherit what cargo tells this program about its own package. Some build
/// scripts depend on these variables, such as that of `ring`: cargo would build it, and everything
/// above it, anew.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(checkout());
    for (name, _) in std::env::vars_os().filter(|(name, _)| describes_a_package(name)) {
        command.env_remove(name);
    }
    command
}

/// Returns whether cargo sets `variable` to describe the package that it runs.
pub(crate) fn describes_a_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a workspace of packages, each with its folder and its
    /// dependencies: `name`, or `dev:name`.
    pub(crate) fn workspace(packages: &[(&str, &str, &[&str])]) -> Workspace {
        let packages = packages
            .iter()
            .map(|(name, folder, dependencies)| Package {
                name: (*name).to_owned(),
                version: "0.1.0".to_owned(),
                description: Some("A package".to_owned()),
                license: Some("Apache-2.0".to_owned()),
                repository: Some("https://git.example/longshore".to_owned()),
                readme: Some("README.md".into()),
                rust_version: Some("1.95".to_owned()),
                publish: None,
                manifest_path: Path::new("/src").join(folder).join("Cargo.toml"),
                dependencies: dependencies.iter().map(|text| dependency(text)).collect(),
                targets: Vec::new(),
            })
            .collect();
        Workspace {
            packages,
            workspace_root: "/src".into(),
            target_directory: "/src/target".into(),
        }
    }

    fn dependency(text: &str) -> Dependency {
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (Some(kind.to_owned()), name),
            None => (None, text),
        };
        Dependency { name: name.to_owned(), req: "^0.1.0".to_owned(), kind }
    }

    /// It did, and a build below `cargo xtask` compiled ring and what is above it again.
    #[test]
    fn a_cargo_below_this_one_does_not_see_the_variables_of_this_package() {
        let command = cargo();
        let removed = |name: &str| command.get_envs().any(|it| it == (OsStr::new(name), None));
        assert!(removed("CARGO_MANIFEST_DIR") && removed("CARGO_PKG_NAME"));
    }

    #[test]
    fn a_crate_with_no_other_part_to_play_is_a_backend() {
        let workspace = workspace(&[
            ("longshore-core", "crates/core", &[]),
            ("longshore-podman", "crates/podman", &[]),
            ("longshore-tests", "tests", &[]),
        ]);
        let names: Vec<_> = workspace.backends().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["longshore-podman"]);
    }
}

//! Builds every test program, and learns where each one is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::execute::{self, Ended};
use super::interrupt::Interrupt;
use super::plan::Case;
use crate::lab::layout::make_dir;
use crate::workspace::{Workspace, cargo};

/// From nothing, on two cores that also build Kubernetes.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// What was built.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    tests: HashMap<(String, String, String), PathBuf>,
    /// The programs that are no tests, such as `longshore`.
    pub programs: HashMap<String, PathBuf>,
}

/// What cargo tells of a part that it has built.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Part>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Part {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Built {
    /// The test program of `case`.
    pub(crate) fn test(&self, case: &Case) -> Option<&Path> {
        let key = (case.package.clone(), case.kind.clone(), case.target.clone());
        self.tests.get(&key).map(PathBuf::as_path)
    }
}

/// Builds; errors of the compiler go to stderr as ever.
pub(crate) fn build(workspace: &Workspace, folder: &Path, interrupt: &Interrupt) -> Result<Built> {
    make_dir(folder)?;
    let path = folder.join("build.json");
    let out = File::create(&path).with_context(|| format!("failed to make {}", path.display()))?;
    match execute::wait(command().stdout(out), LIMIT, interrupt)? {
        Ended::Exited(status) if status.success() => {}
        Ended::Exited(status) => bail!("failed to build the tests: {status}"),
        Ended::TimedOut(limit) => bail!("failed to build the tests in {} s", limit.as_secs()),
        Ended::Interrupted => bail!("interrupted"),
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    understand(workspace, &text)
}

fn command() -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-run", "--locked", "--quiet"]);
    command.arg("--message-format=json-render-diagnostics");
    command
}

fn understand(workspace: &Workspace, text: &str) -> Result<Built> {
    let mut built = Built::default();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let message: Message =
            serde_json::from_str(line).context("failed to understand what cargo built")?;
        let Message {
            manifest_path: Some(manifest),
            target: Some(part),
            profile: Some(profile),
            executable: Some(executable),
        } = message
        else {
            continue;
        };
        let package = workspace.packages.iter().find(|it| it.manifest_path == manifest);
        let Some(package) = package else { continue };
        if profile.test {
            let kind = part.kind.into_iter().next().unwrap_or_default();
            built.tests.insert((package.name.clone(), kind, part.name), executable);
        } else {
            built.programs.insert(part.name, executable);
        }
    }
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    #[test]
    fn test_programs_and_others_are_told_apart() {
        let workspace = workspace(&[("longshore-cli", "crates/cli", &[])]);
        let line = |kind: &str, name: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/src/crates/cli/Cargo.toml","target":{{"name":"{name}","kind":["{kind}"]}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let text = [
            line("test", "exit_codes", true, "\"/t/exit_codes-1\""),
            line("bin", "longshore", false, "\"/t/longshore\""),
            line("lib", "longshore_cli", false, "null"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        let built = understand(&workspace, &text).unwrap();
        let case = Case {
            suite: super::super::plan::Suite::Unit,
            backend: None,
            package: "longshore-cli".into(),
            target: "exit_codes".into(),
            kind: "test".into(),
            needs: Vec::new(),
        };
        assert_eq!(built.test(&case), Some(Path::new("/t/exit_codes-1")));
        assert_eq!(built.programs["longshore"], Path::new("/t/longshore"));
        assert_eq!(built.programs.len(), 1);
    }
}

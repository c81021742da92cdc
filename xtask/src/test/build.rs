//! Builds every test program, and records where each one is.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use longshore_lab::make_dir;
use serde::Deserialize;

use super::execute::{self, Ended};
use super::interrupt::Interrupt;
use super::plan::Case;
use crate::workspace::{Workspace, cargo};

/// The time limit of a build from scratch, on two cores that also build Kubernetes.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// The built programs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Built {
    tests: HashMap<(String, String, String), PathBuf>,
    /// The programs that are not tests, such as `longshore`.
    pub programs: HashMap<String, PathBuf>,
}

/// A message of cargo about a part that it has built.
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
    /// Returns the test program of `case`.
    pub(crate) fn test(&self, case: &Case) -> Option<&Path> {
        let key = (case.package.clone(), case.kind.clone(), case.target.clone());
        self.tests.get(&key).map(PathBuf::as_path)
    }

    fn understand(&mut self, workspace: &Workspace, text: &str) -> Result<()> {
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let message: Message =
                serde_json::from_str(line).context("failed to understand what cargo built")?;
            self.note(workspace, message);
        }
        Ok(())
    }

    /// Records a part if it is a program of this workspace.
    fn note(&mut self, workspace: &Workspace, message: Message) {
        let Message {
            manifest_path: Some(manifest),
            target: Some(part),
            profile: Some(profile),
            executable: Some(executable),
        } = message
        else {
            return;
        };
        let package = workspace.packages.iter().find(|it| it.manifest_path == manifest);
        let Some(package) = package else { return };
        if profile.test {
            let kind = part.kind.into_iter().next().unwrap_or_default();
            self.tests.insert((package.name.clone(), kind, part.name), executable);
        } else {
            self.programs.insert(part.name, executable);
        }
    }
}

/// The programs that tests start: the command, and the examples. The tests of the whole workspace include
/// them.
const PROGRAMS: [&str; 5] =
    ["build", "--package=longshore-cli", "--package=longshore", "--bins", "--examples"];

/// Builds the tests of `packages`, or of all, and the programs that they
/// start. Compiler errors go to stderr as usual.
pub(crate) fn build(
    workspace: &Workspace,
    packages: Option<&[String]>,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<Built> {
    make_dir(folder)?;
    let mut built = Built::default();
    for words in steps(packages) {
        let text = compile(&words, &folder.join("build.json"), interrupt)?;
        built.understand(workspace, &text)?;
    }
    Ok(built)
}

/// Returns the arguments for each call of cargo.
fn steps(packages: Option<&[String]>) -> Vec<Vec<String>> {
    let tests = |chosen: Vec<String>| {
        ["test", "--no-run"].map(str::to_owned).into_iter().chain(chosen).collect()
    };
    let Some(packages) = packages else { return vec![tests(vec!["--workspace".to_owned()])] };
    let chosen: Vec<String> = packages.iter().map(|name| format!("--package={name}")).collect();
    let mut steps = vec![PROGRAMS.map(str::to_owned).to_vec()];
    if !chosen.is_empty() {
        steps.push(tests(chosen));
    }
    steps
}

/// Runs cargo, and returns its messages about the parts that it has built.
fn compile(words: &[String], out: &Path, interrupt: &Interrupt) -> Result<String> {
    let file = File::create(out).with_context(|| format!("failed to create {}", out.display()))?;
    let mut command = cargo();
    command.args(words).args(["--locked", "--quiet"]);
    command.arg("--message-format=json-render-diagnostics").stdout(file);
    match execute::wait(&mut command, LIMIT, interrupt)? {
        Ended::Exited(status) if status.success() => {}
        Ended::Exited(status) => bail!("failed to build the tests: {status}"),
        Ended::TimedOut(limit) => bail!("failed to build the tests in {} s", limit.as_secs()),
        Ended::Interrupted => bail!("interrupted"),
    }
    fs::read_to_string(out).with_context(|| format!("failed to read {}", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    #[test]
    fn everything_is_built_at_once_and_a_part_with_what_it_starts() {
        assert_eq!(steps(None), [["test", "--no-run", "--workspace"]]);
        let part = steps(Some(&["a".to_owned()]));
        assert_eq!(part, [PROGRAMS.to_vec(), vec!["test", "--no-run", "--package=a"]]);
        assert_eq!(steps(Some(&[])), [PROGRAMS]);
    }

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
        let mut built = Built::default();
        built.understand(&workspace, &text).unwrap();
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

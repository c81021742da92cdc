//! Tries the commands of the README as a reader would.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::book::Counts;
use super::build::Built;
use super::environment;
use super::execute::{self, Ended};
use super::judge::Verdict;
use super::plan::Case;
use super::suites::Floor;
use crate::markdown;

/// The expected report of the example.
const EXPECTED: &str = "conf/examples/observables/expected-report.json";

/// Runs the first command of the README exactly as it is written, and checks that
/// the command accepts the arguments of each `longshore` line.
pub(crate) fn readme(floor: &Floor<'_>, case: &Case, built: &Built) -> Result<Verdict> {
    let mut counts = Counts::default();
    let mut add = |name: &str, result: Result<(), String>| match result {
        Ok(()) => counts.passed += 1,
        Err(problem) => counts.failures.push(format!("{name}: {problem}")),
    };
    let root = &floor.workspace.workspace_root;
    let text = fs::read_to_string(root.join("README.md")).unwrap_or_default();
    match first(&text) {
        None => add("README.md", Err("it has no command".to_owned())),
        Some(command) => add(&command, run_first(floor, case, &command)?),
    }
    for (command, words) in longshore_commands(&text) {
        add(&command, understood(floor, built, &words)?);
    }
    Ok(match floor.interrupt.happened() {
        true => Verdict::NotRun("interrupted".to_owned()),
        false => Verdict::Counted(counts),
    })
}

/// Returns the first command that is not about getting the sources.
fn first(readme: &str) -> Option<String> {
    let elsewhere = |text: &str| text.starts_with("git ") || text.starts_with("cd ");
    markdown::commands(readme).into_iter().map(|command| command.text).find(|text| !elsewhere(text))
}

fn run_first(floor: &Floor<'_>, case: &Case, text: &str) -> Result<Result<(), String>> {
    let root = &floor.workspace.workspace_root;
    let mut command = Command::new("bash");
    command.args(["-c", text]).current_dir(root);
    environment::clean(&mut command, floor.scratch);
    let log = floor.log(case);
    let ended = execute::run(&mut command, &log, case.suite.limit(), floor.interrupt)?;
    let output = fs::read(&log).unwrap_or_default();
    let expected = fs::read_to_string(root.join(EXPECTED))
        .with_context(|| format!("failed to read {EXPECTED}"))?;
    Ok(judge(ended, &String::from_utf8_lossy(&output), &expected, &present()))
}

/// Returns the backends that a shell of this machine reaches without any settings.
fn present() -> Vec<&'static str> {
    let home = std::env::home_dir().unwrap_or_default();
    let engine = Path::new("/var/run/docker.sock").exists().then_some("docker");
    let cluster = home.join(".kube/config").exists().then_some("kubernetes");
    engine.into_iter().chain(cluster).collect()
}

/// Judges the output. It must have the report. Unless backends are `present`, it
/// must also have the runner's name and the reason why each earlier runner was
/// passed over.
fn judge(ended: Ended, output: &str, report: &str, present: &[&str]) -> Result<(), String> {
    match ended {
        Ended::Exited(status) if status.success() => {}
        Ended::Exited(status) => return Err(status.to_string()),
        Ended::TimedOut(limit) => return Err(format!("killed after {} s", limit.as_secs())),
        Ended::Interrupted => return Err("interrupted".to_owned()),
    }
    if !output.contains(report.trim()) {
        return Err(format!("its output does not contain {EXPECTED}"));
    }
    if !present.is_empty() {
        return Ok(());
    }
    for expected in ["passed over kubernetes", "passed over docker", "process"] {
        if !output.contains(expected) {
            return Err(format!("its output does not contain {expected:?}"));
        }
    }
    Ok(())
}

/// Returns the lines that run `longshore`, each with its words from the first
/// argument on.
fn longshore_commands(readme: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for command in markdown::commands(readme) {
        let simple = markdown::simple_commands(&command.text).unwrap_or_default();
        let words = simple.iter().filter_map(|words| arguments(words));
        found.extend(words.map(|words| (command.text.clone(), words.to_vec())));
    }
    found
}

fn arguments(words: &[String]) -> Option<&[String]> {
    match words {
        [program, arguments @ ..] if program == "longshore" => Some(arguments),
        [cargo, run, rest @ ..] if cargo == "cargo" && run == "run" => {
            let ours = rest.iter().any(|word| word == "longshore-cli");
            let dashes = rest.iter().position(|word| word == "--").filter(|_| ours)?;
            Some(&rest[dashes + 1..])
        }
        _ => None,
    }
}

/// The exit code of the command for arguments that it does not accept.
const USAGE: i32 = 2;

/// Checks that the command accepts `words`. It reads the configuration once it has accepted its
/// arguments, and ends there with another exit code, because the file does not exist.
fn understood(floor: &Floor<'_>, built: &Built, words: &[String]) -> Result<Result<(), String>> {
    let program = built.programs.get("longshore").context("cargo has not built longshore")?;
    let mut command = Command::new(program);
    command.args(words).current_dir(&floor.workspace.workspace_root).stdin(Stdio::null());
    environment::clean(&mut command, floor.scratch);
    command.env("LONGSHORE_CONFIG", floor.scratch.folder().join("no-such-file.toml"));
    let output = command.output().with_context(|| format!("failed to run {command:?}"))?;
    Ok(match output.status.code() {
        Some(USAGE) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Some(_) => Ok(()),
        None => Err(output.status.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    const README: &str = "```sh\ngit clone x && cd x\ncargo run -q -p longshore-cli -- run a.toml && cat b\n```\n\
                          ```sh\nlongshore plan --image x -- y | head\ncargo run --example service\n```\n";

    #[test]
    fn the_first_command_is_the_first_that_runs_something() {
        let found = first(README).unwrap();
        assert_eq!(found, "cargo run -q -p longshore-cli -- run a.toml && cat b");
        assert_eq!(first("# A\n"), None);
    }

    #[test]
    fn the_lines_that_run_longshore_are_found() {
        let found: Vec<_> =
            longshore_commands(README).into_iter().map(|(_, words)| words).collect();
        assert_eq!(found, [vec!["run", "a.toml"], vec!["plan", "--image", "x", "--", "y"]]);
    }

    #[test]
    fn the_first_command_must_show_the_report_and_the_reasons() {
        let done = Ended::Exited(ExitStatus::from_raw(0));
        let output = "longshore: passed over kubernetes (unavailable): no configuration\n\
                      longshore: passed over docker (unavailable): no socket\n\
                      longshore: process: the job exited with 0\n{\n}\n";
        assert_eq!(judge(done, output, "{\n}\n", &[]), Ok(()));
        assert!(judge(done, output, "{1}", &[]).is_err());
        assert!(judge(done, "{\n}\nprocess", "{\n}\n", &[]).unwrap_err().contains("kubernetes"));
        assert_eq!(judge(done, "{\n}\n", "{\n}\n", &["docker"]), Ok(()));
        let failed = Ended::Exited(ExitStatus::from_raw(1 << 8));
        assert!(judge(failed, output, "{\n}\n", &[]).is_err());
    }
}

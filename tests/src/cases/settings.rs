//! How the command loads and shows the configuration, and other small parts of the command.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::case::cases;
use super::jobs::{detached, removed};
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::programs;

cases! { "settings":
    each_value_is_shown_with_its_origin,
    flags_win_over_the_environment_and_that_over_the_file,
    a_file_in_the_users_folder_is_found,
    the_schema_is_the_one_in_the_project,
    the_reference_configuration_loads_and_changes_nothing,
    completions_are_there_for_each_shell,
    a_shell_completes_jobs_names_runners_and_keys,
    each_command_has_a_manual_page,
    the_version_and_the_help_are_told_on_stdout,
    a_reader_that_leaves_does_not_disturb_what_is_printed,
}

/// Returns the line of `config show` for `key`.
fn line<'a>(text: &'a str, key: &str) -> Checked<&'a str> {
    let begins = |line: &&str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(' '));
    text.lines().find(begins).with_context(|| format!("there is no {key} in {text}"))
}

fn each_value_is_shown_with_its_origin(bench: &Bench) -> Checked {
    let file = bench.folders.file("a.toml", "[job]\ntimeout = '90s'\n")?;
    let command = bench.bare()?.env("JOB_IMAGEPULLPOLICY", "Always").args(["config", "show"]);
    let command = command.arg("--config").arg(&file).args(["--set", "job.docker.host=unix:///x"]);
    let ran = command.run()?;
    ran.exits(0)?;
    let text = ran.text();
    says(line(&text, "job.timeout")?, &["1m 30s", "a.toml:2"])?;
    says(line(&text, "job.imagePullPolicy")?, &["\"Always\"", "JOB_IMAGEPULLPOLICY"])?;
    says(line(&text, "job.docker.host")?, &["\"unix:///x\"", "--set"])?;
    says(line(&text, "job.connectTimeout")?, &["\"5s\"", "# default"])?;
    says(line(&text, "job.stateDirectory")?, &["JOB_STATEDIRECTORY"])
}

fn flags_win_over_the_environment_and_that_over_the_file(bench: &Bench) -> Checked {
    let file =
        bench.folders.file("a.yaml", "job: {runners: [docker], timeout: 1s, lostAfter: 1m}")?;
    let command = bench.bare()?.env("JOB_RUNNERS", "kubernetes,process").env("JOB_TIMEOUT", "2s");
    let command = command.args(["config", "show", "--set", "job.timeout=3s", "--config"]).arg(file);
    let ran = command.run()?;
    ran.exits(0)?;
    let text = ran.text();
    says(line(&text, "job.runners")?, &["[\"kubernetes\",\"process\"]", "JOB_RUNNERS"])?;
    says(line(&text, "job.timeout")?, &["\"3s\"", "--set"])?;
    says(line(&text, "job.lostAfter")?, &["\"1m\"", "a.yaml:1"])
}

fn a_file_in_the_users_folder_is_found(bench: &Bench) -> Checked {
    let folder = bench.folders.home().join(".config/longshore");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("longshore.toml"), "[job]\ntimeout = '7s'\n")?;
    let ran = bench.bare()?.args(["config", "show"]).run()?;
    ran.exits(0)?;
    says(line(&ran.text(), "job.timeout")?, &["\"7s\"", "longshore.toml:2"])
}

fn the_schema_is_the_one_in_the_project(bench: &Bench) -> Checked {
    let ran = bench.bare()?.args(["config", "schema"]).run()?;
    ran.exits(0)?;
    let path = programs::checkout().join("conf/longshore.schema.json");
    let kept =
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    ensure!(ran.text() == kept, "{} is not what the command prints", path.display());
    Ok(())
}

/// It changes nothing except what this case's own environment sets.
fn the_reference_configuration_loads_and_changes_nothing(bench: &Bench) -> Checked {
    let values = |flags: &[&str]| {
        let reference = programs::checkout().join("conf/longshore.toml");
        let command = bench.bare()?.args(["config", "show"]).args(flags);
        let command = if flags.is_empty() { command } else { command.arg(reference) };
        let ran = command.run()?;
        ran.exits(0)?;
        let value = |line: &str| line.split("  # ").next().map(|it| it.trim_end().to_owned());
        Checked::Ok(ran.text().lines().filter_map(value).collect::<Vec<_>>())
    };
    same("the values", values(&["--config"])?, values(&[])?)
}

fn completions_are_there_for_each_shell(bench: &Bench) -> Checked {
    for shell in ["bash", "zsh", "fish"] {
        let ran = bench.bare()?.args(["completions", shell]).run()?;
        ran.exits(0)?;
        says(&ran.text(), &["longshore", "LONGSHORE_COMPLETE"])?;
    }
    bench.bare()?.args(["completions", "abacus"]).run()?.exits(2)
}

/// As bash calls the function that it registers for a command.
fn a_shell_completes_jobs_names_runners_and_keys(bench: &Bench) -> Checked {
    let id = detached(bench, &["--name", "nightly"], "exit 0")?;
    let program = programs::longshore()?;
    let folder = program.parent().context("it is in no folder")?.display();
    let script = format!(
        "PATH={folder}:$PATH; source <(longshore completions bash); \
         COMP_WORDS=(longshore \"$@\"); COMP_CWORD=$#; COMP_TYPE=9; \
         _clap_complete_longshore longshore \"${{@: -1}}\"; echo \"${{COMPREPLY[*]}}\""
    );
    let complete = |words: &[&str]| -> Result<String> {
        let ran = bench.program(Path::new("bash"))?.args(["-c", &script, "bash"]).args(words);
        let ran = ran.run()?;
        ran.exits(0)?;
        same("stderr", ran.stderr.as_str(), "")?;
        Ok(ran.text())
    };
    let jobs = complete(&["logs", ""])?;
    says(&jobs, &[&id, "nightly"])?;
    same("a name", complete(&["inspect", "nig"])?.trim(), "nightly")?;
    same("a runner", complete(&["run", "--runners", "pro"])?.trim(), "process")?;
    same("a state", complete(&["ps", "--filter", "state=R"])?.trim(), "state=Running")?;
    same("a key", complete(&["doctor", "--set", "job.pinD"])?.trim(), "job.pinDigest=")?;
    removed(bench, &id)
}

fn each_command_has_a_manual_page(bench: &Bench) -> Checked {
    let ran = bench.bare()?.args(["man", "run"]).run()?;
    ran.exits(0)?;
    says(&ran.text(), &[".TH longshore-run 1", "pull\\-policy"])?;
    let ran = bench.bare()?.args(["man", "config", "shew"]).run()?;
    ran.exits(2)?;
    says(&ran.stderr, &["longshore config", "shew", "show"])?;
    let pages = tempfile::tempdir()?;
    bench.bare()?.args(["man", "--directory"]).arg(pages.path()).run()?.exits(0)?;
    for page in ["longshore.1", "longshore-run.1", "longshore-config-show.1"] {
        says(&fs::read_to_string(pages.path().join(page))?, &[".SH NAME", "longshore"])?;
    }
    Ok(())
}

fn the_version_and_the_help_are_told_on_stdout(bench: &Bench) -> Checked {
    let ran = bench.bare()?.arg("--version").run()?;
    ran.exits(0)?;
    same("the version", ran.text(), concat!("longshore ", env!("CARGO_PKG_VERSION"), "\n"))?;
    let ran = bench.bare()?.args(["run", "--help"]).run()?;
    ran.exits(0)?;
    says(&ran.text(), &["--image", "--runners", "--pull-policy", "--job-dir", "--result"])?;
    bench.bare()?.run()?.exits(2)?;
    bench.bare()?.args(["run", "--no-such-flag"]).run()?.exits(2)
}

fn a_reader_that_leaves_does_not_disturb_what_is_printed(bench: &Bench) -> Checked {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let ran = bench.bare()?.args(["config", "schema"]).stdout(writer).run()?;
    ran.exits(0)?;
    same("stderr", ran.stderr.as_str(), "")
}

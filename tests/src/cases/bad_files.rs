//! Job files that cannot be read or are not jobs.

use std::fs::File;

use anyhow::ensure;

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "bad_files":
    a_mistake_is_named_with_its_file_line_and_key,
    a_file_that_is_not_there_is_named,
    a_folder_is_no_job_file,
    a_huge_file_is_refused_unread,
    a_file_that_is_no_utf_8_is_refused,
    a_flag_that_makes_no_sense_is_refused_by_its_name,
    a_job_that_names_nothing_to_run_is_refused,
}

/// Runs the job file `name`, which must be refused with a message that contains `parts`.
fn refused(bench: &Bench, name: &str, parts: &[&str]) -> Checked {
    let command = bench.longshore()?.current_dir(bench.folders.root()).args(["run", name]);
    let ran = command.run()?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    ensure!(ran.stderr.lines().all(|line| line.starts_with("longshore: ")), "{}", ran.stderr);
    says(&ran.stderr, &["longshore: error: "])?;
    says(&ran.stderr, parts)?;
    ensure!(!bench.folders.state().exists(), "a state directory was created");
    Ok(())
}

fn a_mistake_is_named_with_its_file_line_and_key(bench: &Bench) -> Checked {
    const COMMAND: &str = "[process]\ncommand = ['echo', 'started']\n";
    for (mistake, parts) in [
        ("nmae = 'x'\n", ["job.toml:1", "nmae", "did you mean name?"]),
        ("\nname = 3\n", ["job.toml:2", "name", "expected text"]),
        ("timeout = 'soon'\n", ["job.toml:1: timeout", "`soon`", "30s"]),
        ("runners = ['no way']\n", ["job.toml:1: runners", "`no way`", ""]),
        (
            "imagePullPolicy = 'Sometimes'\n",
            ["job.toml:1: imagePullPolicy", "`Sometimes`", "IfNotPresent"],
        ),
        (
            "[container]\nimage = 'UP CASE'\n",
            ["job.toml:2: container.image", "`UP CASE`", "image reference"],
        ),
        (
            "[container]\nimages = 'x'\n",
            ["job.toml:2: container.images", "unknown key", "container.image"],
        ),
    ] {
        bench.folders.file("job.toml", format!("{mistake}{COMMAND}"))?;
        refused(bench, "job.toml", &parts)?;
    }
    bench.folders.file("job.yaml", "process:\n  command: [echo]\n  agrs: [started]\n")?;
    refused(bench, "job.yaml", &["job.yaml:3: process.agrs", "did you mean process.args?"])?;
    bench.folders.file("job.json", "{\n\"process\": {\"command\": \"echo\"}}")?;
    refused(bench, "job.json", &["job.json:2: process.command", "expected a list"])
}

fn a_file_that_is_not_there_is_named(bench: &Bench) -> Checked {
    refused(bench, "missing.toml", &["missing.toml: there is no such file"])
}

fn a_folder_is_no_job_file(bench: &Bench) -> Checked {
    std::fs::create_dir(bench.folders.root().join("folder.toml"))?;
    refused(bench, "folder.toml", &["folder.toml", "folder"])
}

fn a_huge_file_is_refused_unread(bench: &Bench) -> Checked {
    File::create(bench.folders.root().join("huge.toml"))?.set_len(100 << 20)?;
    refused(bench, "huge.toml", &["huge.toml", "larger than 1 MiB"])
}

fn a_file_that_is_no_utf_8_is_refused(bench: &Bench) -> Checked {
    bench.folders.file("bytes.toml", b"# first\nname = \"\xff\"\n")?;
    refused(bench, "bytes.toml", &["bytes.toml:2", "UTF-8"])
}

fn a_flag_that_makes_no_sense_is_refused_by_its_name(bench: &Bench) -> Checked {
    for (flags, parts) in [
        (["--image", "UP CASE"], ["--image", "`UP CASE`"]),
        (["--timeout", "soon"], ["--timeout", "`soon`"]),
        (["--pull-policy", "Sometimes"], ["--pull-policy", "`Sometimes`"]),
        (["--runners", ""], ["--runners", ""]),
        (["--process", "'"], ["--process", ""]),
        (["--label", "x"], ["--label", "KEY=VALUE"]),
        (["--env", "LONGSHORE_E2E_UNSET"], ["--env", "LONGSHORE_E2E_UNSET"]),
    ] {
        let ran =
            bench.longshore()?.arg("run").args(flags).args(["--", "echo", "started"]).run()?;
        ran.exits(2)?;
        same("stdout", ran.text(), "")?;
        says(&ran.stderr, &parts)?;
    }
    Ok(())
}

fn a_job_that_names_nothing_to_run_is_refused(bench: &Bench) -> Checked {
    bench.folders.file("empty.toml", "")?;
    let ran =
        bench.longshore()?.current_dir(bench.folders.root()).args(["run", "empty.toml"]).run()?;
    ran.exits(125)?;
    says(&ran.stderr, &["`container`", "`process`"])?;
    let ran = bench.longshore()?.args(["run", "--", ""]).run()?;
    ran.exits(125)?;
    says(&ran.stderr, &["process.command"])
}

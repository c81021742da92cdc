//! Invalid jobs, which are refused before anything starts, for the same reason everywhere.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::running::Ran;

cases! { "bad_jobs":
    an_environment_name_with_an_equals_sign_is_refused,
    an_environment_name_with_a_nul_is_refused,
    a_reserved_label_is_refused,
    a_job_directory_that_is_not_there_is_refused,
    a_job_directory_without_input_is_refused,
    a_job_directory_whose_output_is_a_file_is_refused,
    a_result_file_in_a_missing_folder_is_refused_before_anything_starts,
    a_result_file_that_is_a_folder_is_refused_before_anything_starts,
    a_runner_that_is_not_configured_is_refused,
}

/// Fails unless the command was refused with `code`, printed all of `parts`, and started nothing.
fn refused(ran: &Ran, code: i32, parts: &[&str]) -> Checked {
    ran.exits(code)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, parts)
}

/// Runs a job that would print `started`, with the job file `text` added.
fn with_file(bench: &Bench, text: &str) -> Result<Ran> {
    let file = bench.folders.file("job.toml", text)?.to_string_lossy().into_owned();
    bench.run(&[&file], "echo started")
}

fn with_directory(bench: &Bench, path: &std::path::Path) -> Result<Ran> {
    bench.run(&["--job-dir", &path.to_string_lossy()], "echo started")
}

fn an_environment_name_with_an_equals_sign_is_refused(bench: &Bench) -> Checked {
    refused(&with_file(bench, "[env]\n'A=B' = 'x'\n")?, 125, &["env", "A=B"])?;
    refused(&bench.run(&["--env", "=x"], "echo started")?, 125, &["env"])
}

fn an_environment_name_with_a_nul_is_refused(bench: &Bench) -> Checked {
    refused(&with_file(bench, "[env]\n\"A\\u0000B\" = 'x'\n")?, 125, &["env"])?;
    refused(&with_file(bench, "[env]\nA = \"x\\u0000\"\n")?, 125, &["env.A", "NUL"])
}

fn a_reserved_label_is_refused(bench: &Bench) -> Checked {
    let ran = bench.run(&["--label", "longshore.dev/job=mine"], "echo started")?;
    refused(&ran, 125, &["longshore.dev/job"])
}

fn a_job_directory_that_is_not_there_is_refused(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let missing = job.path().with_file_name("missing");
    let ran = with_directory(bench, &missing)?;
    refused(&ran, 125, &[&missing.display().to_string()])?;
    same("the reason", &ran.outcome()?["reason"], "InvalidSpec")?;
    ensure!(!missing.exists(), "it was created");
    Ok(())
}

fn a_job_directory_without_input_is_refused(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    fs::remove_dir(job.path().join("input"))?;
    let ran = with_directory(bench, job.path())?;
    refused(&ran, 125, &["input"])?;
    same("the reason", &ran.outcome()?["reason"], "InvalidSpec")
}

/// The file replaces an unwritable folder: permissions do not restrict root, but a file in the
/// folder's place does.
fn a_job_directory_whose_output_is_a_file_is_refused(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    fs::remove_dir(job.path().join("output"))?;
    fs::write(job.path().join("output"), "")?;
    let ran = with_directory(bench, job.path())?;
    refused(&ran, 125, &["output"])?;
    same("the reason", &ran.outcome()?["reason"], "InvalidSpec")
}

fn a_result_file_in_a_missing_folder_is_refused_before_anything_starts(bench: &Bench) -> Checked {
    let path = bench.folders.root().join("no/such/result.json");
    let command = bench.longshore()?.arg("run").result(path.clone()).args(bench.way()?);
    let ran = command.args(["--", "echo", "started"]).run()?;
    refused(&ran, 125, &["--result", &path.display().to_string()])?;
    same("what is on the backend", bench.on_backend()?, Vec::<String>::new())
}

fn a_result_file_that_is_a_folder_is_refused_before_anything_starts(bench: &Bench) -> Checked {
    let home = bench.folders.home().display().to_string();
    let command = bench.longshore()?.args(["run", "--result", &home]).args(bench.way()?);
    let ran = command.args(["--", "echo", "started"]).run()?;
    refused(&ran, 125, &["--result", &home, "directory"])
}

fn a_runner_that_is_not_configured_is_refused(bench: &Bench) -> Checked {
    let ran = bench.run(&["--runners", "steamship"], "echo started")?;
    refused(&ran, 125, &["steamship", bench.backend.name()])?;
    let twice = format!("{0},{0}", bench.backend);
    let ran = bench.run(&["--runners", &twice], "echo started")?;
    refused(&ran, 125, &["twice", bench.backend.name()])?;
    same("a result", ran.result, None::<()>.map(|()| json!(null)))
}

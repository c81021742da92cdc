//! A secret reaches the job, and nothing else.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same};

cases! { "secrets":
    a_secret_reaches_the_job_and_nothing_else,
    a_secret_from_a_file_reaches_the_job,
    a_secret_given_in_the_clear_is_refused_unseen,
    a_plan_does_not_show_secrets,
}

const SECRET: &str = "s3cr3t-w0rd-of-the-e2e-tests";

fn a_secret_reaches_the_job_and_nothing_else(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    job.input("expected", SECRET)?;
    let path = job.path().to_string_lossy().into_owned();
    let script = "test \"$TOKEN\" = \"$(cat {jobDir}/input/expected)\" && echo right; \
                  until [ -e {jobDir}/input/go ]; do sleep 0.1; done";
    let flags =
        ["--verbose", "--verbose", "--secret-env", "TOKEN=env:CALLERS_TOKEN", "--job-dir", &path];
    let command = bench.script(&flags, script)?.env("CALLERS_TOKEN", SECRET);
    let running = command.spawn()?;
    running.until_stdout("right")?;
    let shown = command_lines_with(SECRET)?;
    ensure!(shown.is_empty(), "it is in a command line: {shown:?}");
    let kept = files_with(&bench.folders.state(), SECRET)?;
    ensure!(kept.is_empty(), "it is in the state directory while the job runs: {kept:?}");
    job.input("go", "")?;
    let ran = running.finish()?;
    ran.exits(0)?;
    ensure!(!ran.stderr.contains(SECRET), "it was logged: {}", ran.stderr);
    ensure!(!ran.result()?.to_string().contains(SECRET), "it is in the result");
    let kept = files_with(&bench.folders.state(), SECRET)?;
    ensure!(kept.is_empty(), "it is in the state directory: {kept:?}");
    Ok(())
}

fn a_secret_from_a_file_reaches_the_job(bench: &Bench) -> Checked {
    let file = bench.folders.file("token", format!("{SECRET}\n"))?;
    let flag = format!("TOKEN=file:{}", file.display());
    let ran = bench.run(&["--secret-env", &flag], "printf %s \"$TOKEN\" | wc -c")?;
    ran.exits(0)?;
    same("its length, without the final newline", ran.text().trim(), SECRET.len().to_string())?;
    ensure!(!ran.stderr.contains(SECRET), "{}", ran.stderr);
    Ok(())
}

fn a_secret_given_in_the_clear_is_refused_unseen(bench: &Bench) -> Checked {
    // A different secret: what a user writes in a command line is visible to everyone.
    const SECRET: &str = "given-in-the-clear";
    let flag = format!("TOKEN={SECRET}");
    let ran = bench.run(&["--secret-env", &flag], "echo started")?;
    ran.exits(2)?;
    same("stdout", ran.text(), "")?;
    ensure!(ran.stderr.contains("TOKEN") && !ran.stderr.contains(SECRET), "{}", ran.stderr);
    Ok(())
}

fn a_plan_does_not_show_secrets(bench: &Bench) -> Checked {
    let command = bench.longshore()?.arg("plan").args(bench.way()?);
    let command = command.args(["--secret-env", "TOKEN=env:CALLERS_TOKEN", "--", "true"]);
    let ran = command.env("CALLERS_TOKEN", SECRET).run()?;
    ran.exits(0)?;
    ensure!(ran.text().contains("TOKEN"), "the variable is missing: {}", ran.text());
    ensure!(!ran.text().contains(SECRET) && !ran.stderr.contains(SECRET), "{}", ran.text());
    Ok(())
}

/// Returns the command lines of this machine's processes that contain `text`, as `ps` would show
/// them.
fn command_lines_with(text: &str) -> Result<Vec<String>> {
    let lines = fs::read_dir("/proc")?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    Ok(lines.filter(|line| line.contains(text)).collect())
}

/// Returns the files under `folder` that contain `text`.
fn files_with(folder: &Path, text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)?.flatten() {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                // It may be removed meanwhile.
                let bytes = fs::read(entry.path()).unwrap_or_default();
                if String::from_utf8_lossy(&bytes).contains(text) {
                    found.push(entry.path().display().to_string());
                }
            }
        }
    }
    Ok(found)
}

//! What the command's stdin is to the job.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::case::cases;
use super::jobs::{detached, longshore, removed};
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "stdin":
    a_pipe_reaches_the_job_and_ends,
    a_file_reaches_the_job_unharmed_and_only_when_it_starts,
    another_file_is_given_by_its_name_and_null_is_none,
    a_job_may_read_as_little_as_it_likes,
    a_pipe_that_nobody_writes_to_keeps_no_job,
    the_job_file_on_stdin_is_not_the_jobs_input,
    a_detached_job_gets_a_file_by_its_name_alone,
    a_file_that_cannot_be_read_is_in_the_result,
}

/// Writes a file of 1 MiB in which every byte but one occurs.
fn file(bench: &Bench) -> Result<(std::path::PathBuf, Vec<u8>)> {
    let bytes: Vec<u8> = (0_u8..=254).cycle().take(1 << 20).collect();
    Ok((bench.folders.file("input", &bytes)?, bytes))
}

fn a_pipe_reaches_the_job_and_ends(bench: &Bench) -> Checked {
    let mut running = bench.script(&[], "wc -c")?.with_stdin().spawn()?;
    running.stdin()?.write_all(b"data\n")?;
    let ran = running.finish()?;
    ran.exits(0)?;
    same("the number of bytes", ran.text().trim(), "5")?;
    same("what is missing", &ran.result()?["stdinError"], &json!(null))
}

fn a_file_reaches_the_job_unharmed_and_only_when_it_starts(bench: &Bench) -> Checked {
    let (path, bytes) = file(bench)?;
    let ran = bench.script(&[], "cat")?.stdin(File::open(path)?).run()?;
    ran.exits(0)?;
    ensure!(ran.stdout == bytes, "{} bytes came, or others", ran.stdout.len());
    Ok(())
}

fn another_file_is_given_by_its_name_and_null_is_none(bench: &Bench) -> Checked {
    let (path, bytes) = file(bench)?;
    let name = path.to_str().context("a path that is not UTF-8")?;
    for (name, size) in [(name, bytes.len()), ("/dev/null", 0)] {
        let mut running = bench.script(&["--stdin", name], "wc -c")?.with_stdin().spawn()?;
        running.stdin()?.write_all(b"not this\n")?;
        let ran = running.finish()?;
        ran.exits(0)?;
        same("the number of bytes", ran.text().trim(), size.to_string().as_str())?;
    }
    let absent = bench.folders.root().join("absent").display().to_string();
    let ran = bench.script(&["--stdin", &absent], "wc -c")?.run()?;
    ran.exits(2)?;
    says(&ran.stderr, &[&format!("--stdin {absent}: No such file")])
}

fn a_job_may_read_as_little_as_it_likes(bench: &Bench) -> Checked {
    let (path, _) = file(bench)?;
    for script in ["head -c 3 | wc -c; exit 4", "echo 3; exit 4"] {
        let ran = bench.script(&[], script)?.stdin(File::open(&path)?).run()?;
        ran.exits(4)?;
        same("the output", ran.text().trim(), "3")?;
        same("what is missing", &ran.result()?["stdinError"], &json!(null))?;
    }
    Ok(())
}

fn a_pipe_that_nobody_writes_to_keeps_no_job(bench: &Bench) -> Checked {
    let (reader, writer) = std::io::pipe()?;
    let ran = bench.script(&[], "exit 3")?.stdin(reader).run()?;
    drop(writer);
    ran.exits(3)
}

fn the_job_file_on_stdin_is_not_the_jobs_input(bench: &Bench) -> Checked {
    let command = ["sh", "-c", "wc -c"];
    let mut job = json!({ "process": { "command": command } });
    if bench.backend.has_images() {
        job = json!({ "container": { "image": bench.image()?, "command": command } });
    }
    let mut running = bench.longshore()?.args(["run", "--file", "-"]).with_stdin().spawn()?;
    running.stdin()?.write_all(job.to_string().as_bytes())?;
    let ran = running.finish()?;
    ran.exits(0)?;
    same("the number of bytes", ran.text().trim(), "0")?;
    let ran = bench.longshore()?.args(["run", "--file", "-", "--interactive"]).run()?;
    ran.exits(2)?;
    says(&ran.stderr, &["stdin is the job file"])
}

fn a_detached_job_gets_a_file_by_its_name_alone(bench: &Bench) -> Checked {
    let (path, bytes) = file(bench)?;
    let name = path.to_str().context("a path that is not UTF-8")?;
    let id = detached(bench, &["--stdin", name], "wc -c")?;
    longshore(bench, &["wait", &id])?.exits(0)?;
    let ran = longshore(bench, &["logs", &id])?;
    same("the number of bytes", ran.text().trim(), bytes.len().to_string().as_str())?;
    removed(bench, &id)?;
    let way = bench.way()?;
    let command = bench.longshore()?.args(["run", "--detach"]).args(way).args(["--", "wc", "-c"]);
    let ran = command.stdin(File::open(&path)?).run()?;
    ran.exits(0)?;
    says(&ran.stderr, &["a detached job does not get the stdin of this command"])?;
    let id = ran.text().trim().to_owned();
    longshore(bench, &["wait", &id])?.exits(0)?;
    same("the number of bytes", longshore(bench, &["logs", &id])?.text().trim(), "0")?;
    removed(bench, &id)
}

fn a_file_that_cannot_be_read_is_in_the_result(bench: &Bench) -> Checked {
    // No memory is mapped at address 0, where the command begins to read its own.
    let ran = bench.run(&["--quiet", "--stdin", "/proc/self/mem"], "cat; echo over; exit 3")?;
    ran.exits(3)?;
    same("the output", ran.text(), "over\n")?;
    let reason = &ran.result()?["stdinError"];
    let reason = reason.as_str().with_context(|| format!("stdinError is {reason}"))?;
    says(reason, &["failed to read it"])?;
    says(&ran.stderr, &["only a part of its stdin", reason])
}

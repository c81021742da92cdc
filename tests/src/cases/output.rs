//! The job's output: its own bytes, streamed as they are written.

use std::io::Read;

use anyhow::{Context, bail, ensure};

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "output":
    output_comes_while_the_job_runs,
    every_byte_comes_as_it_was_written,
    twenty_mebibytes_come_whole,
    the_two_streams_come_apart_where_the_runner_can,
    a_reader_that_leaves_cancels_the_job,
    the_output_of_a_kept_job_can_be_read_again_until_it_is_removed,
    lines_are_chosen_by_their_times,
    a_full_disk_is_said_and_does_not_disturb_the_job,
}

fn the_output_of_a_kept_job_can_be_read_again_until_it_is_removed(bench: &Bench) -> Checked {
    let ran = bench.run(&["--keep", "--name", "kept"], "echo once; exit 4")?;
    ran.exits(4)?;
    same("stdout", ran.text(), "once\n")?;
    let logs = || bench.longshore()?.args(["logs", "kept"]).run();
    same("its output from the runner", logs()?.text(), "once\n")?;
    bench.longshore()?.args(["rm", "kept"]).run()?.exits(0)?;
    logs()?.exits(125)
}

fn lines_are_chosen_by_their_times(bench: &Bench) -> Checked {
    // The second and the third line are written later than the first, and in pieces.
    let script = "echo one; sleep 1.2; echo two; printf th; sleep 0.2; echo ree";
    let ran = bench.run(&["--keep", "--name", "timed"], script)?;
    ran.exits(0)?;
    let logs = |flags: &[&str]| bench.longshore()?.arg("logs").args(flags).arg("timed").run();
    let stamped = logs(&["--timestamps"])?;
    stamped.exits(0)?;
    let mut times = Vec::new();
    for (line, word) in stamped.text().lines().zip(["one", "two", "three"]) {
        let (time, text) = line.split_once(' ').context("a line without a time")?;
        same("a line", text, word)?;
        ensure!(time.len() == "2026-01-31T13:05:00.000000000Z".len(), "the time is {time}");
        times.push(time.to_owned());
    }
    let [one, two, _] = times.as_slice() else { bail!("three lines have the times {times:?}") };
    ensure!(one < two, "the times are {times:?}");
    same("the lines since", logs(&["--since", two])?.text(), "two\nthree\n")?;
    same("the lines until", logs(&["--until", one])?.text(), "one\n")?;
    same("the last line since", logs(&["--since", two, "-n", "1", "-f"])?.text(), "three\n")?;
    same("the lines since a duration", logs(&["--since", "1h"])?.text(), "one\ntwo\nthree\n")?;
    same("the lines until a duration", logs(&["--until", "1h"])?.text(), "")?;
    let wrong = logs(&["--since", "yesterday"])?;
    wrong.exits(2)?;
    says(&wrong.stderr, &["`yesterday` is not a time"])?;
    bench.longshore()?.args(["rm", "timed"]).run()?.exits(0)
}

fn output_comes_while_the_job_runs(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let path = job.path().to_string_lossy().into_owned();
    let script = "echo first; until [ -e {jobDir}/input/go ]; do sleep 0.1; done; echo last";
    let mut running = bench.script(&["--job-dir", &path], script)?.spawn()?;
    running.until_stdout("first\n")?;
    ensure!(running.is_running()?, "the command ended before the job");
    same("the lines so far", running.lines(), vec!["first".to_owned()])?;
    job.input("go", "")?;
    let ran = running.finish()?;
    ran.exits(0)?;
    same("stdout", ran.text(), "first\nlast\n")
}

fn every_byte_comes_as_it_was_written(bench: &Bench) -> Checked {
    // No final newline, invalid UTF-8, NUL, a lone carriage return, an escape.
    let ran = bench.run(&["--quiet"], r"printf '\377\376\000\001\r\033[1m\303'")?;
    ran.exits(0)?;
    same("stdout", ran.stdout.escape_ascii().to_string(), r"\xff\xfe\x00\x01\r\x1b[1m\xc3")
}

/// The lines are numbered and have about 700 bytes.
fn twenty_mebibytes_come_whole(bench: &Bench) -> Checked {
    const LINES: u32 = 31_000;
    let script = "pad=$(seq 1 200 | tr '\\n' ' '); seq 1 LINES | sed \"s/\\$/ $pad/\"";
    let ran = bench.run(&["--quiet"], &script.replace("LINES", &LINES.to_string()))?;
    ran.exits(0)?;
    let pad: String = (1..=200).map(|n| format!("{n} ")).collect();
    let expected: String = (1..=LINES).map(|n| format!("{n} {pad}\n")).collect();
    ensure!(expected.len() > 20 << 20, "only {} bytes are written", expected.len());
    let seen = ran.stdout.as_slice();
    let parts = seen.iter().zip(expected.as_bytes()).position(|(a, b)| a != b);
    same("where it differs from what was written", parts, None)?;
    same("its length", seen.len(), expected.len())?;
    same("stderr", ran.stderr.as_str(), "")
}

fn the_two_streams_come_apart_where_the_runner_can(bench: &Bench) -> Checked {
    let ran = bench.run(&["--quiet"], "echo out; echo err >&2")?;
    ran.exits(0)?;
    let apart = bench.backend.separates_streams();
    same("whether the result says so", &ran.result()?["separateStreams"], apart)?;
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (out, err): (&[&str], &[&str]) =
        if apart { (&["out"], &["err"]) } else { (&["err", "out"], &[]) };
    same("stdout", lines(&ran.text()), out)?;
    same("stderr", lines(&ran.stderr), err)
}

/// As with `longshore run … | head -1`: the job is cancelled, and may still write its results.
fn a_reader_that_leaves_cancels_the_job(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let path = job.path().to_string_lossy().into_owned();
    let script = "trap 'echo done > {jobDir}/output/done; exit 7' TERM; \
                  echo first; until [ -e {jobDir}/input/go ]; do sleep 0.1; done; \
                  while :; do seq 1 20000; sleep 0.1; done";
    let (mut reader, writer) = std::io::pipe()?;
    let running = bench.script(&["--job-dir", &path], script)?.stdout(writer).spawn()?;
    let mut first = [0; 6];
    reader.read_exact(&mut first).context("no output arrived")?;
    same("the first line", &first, b"first\n")?;
    drop(reader);
    job.input("go", "")?;
    let ran = running.finish()?;
    ran.exits(7)?;
    same("output/done", job.output("done").as_deref(), Some("done\n"))?;
    says(&ran.stderr, &["stdout has no reader any more", "was cancelled"])?;
    ensure!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ensure!(!ran.stderr.to_lowercase().contains("broken pipe"), "{}", ran.stderr);
    same("the kind", &ran.outcome()?["kind"], "Cancelled")
}

/// The device `/dev/full` fails every write like a full disk.
fn a_full_disk_is_said_and_does_not_disturb_the_job(bench: &Bench) -> Checked {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let running = bench.script(&[], "echo out; exit 5")?.stdout(full).spawn()?;
    let ran = running.finish()?;
    ran.exits(5)?;
    says(&ran.stderr, &["failed to write to stdout"])
}

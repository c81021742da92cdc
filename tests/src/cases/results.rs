//! The result file and the summary, which are the same on every runner.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::programs;

cases! { "results":
    the_result_has_exactly_the_documented_keys,
    the_result_of_a_job_that_did_not_run_has_them_too,
    the_result_replaces_an_older_one,
    the_summary_names_the_runner_on_stderr_only,
    a_quiet_command_says_nothing_of_its_own,
    the_examples_report_is_the_same_to_the_byte,
    a_job_sees_its_directory_and_its_environment,
    a_tag_that_may_be_pushed_again_is_hinted_at_once [Images],
}

/// The keys of a result.
pub(super) const KEYS: [&str; 11] = [
    "attempt",
    "finishedAt",
    "image",
    "job",
    "outcome",
    "passedOver",
    "runner",
    "separateStreams",
    "startedAgain",
    "startedAt",
    "stdinError",
];

pub(super) fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn the_result_has_exactly_the_documented_keys(bench: &Bench) -> Checked {
    let ran = bench.run(&[], "exit 3")?;
    ran.exits(3)?;
    let result = ran.result()?;
    same("the keys", keys(result), BTreeSet::from(KEYS))?;
    same("the runner", &result["runner"], bench.backend.name())?;
    same("the streams", &result["separateStreams"], bench.backend.separates_streams())?;
    same("the runners passed over", &result["passedOver"], &json!([]))?;
    same("other starts", &result["startedAgain"], &json!([]))?;
    let text = |key: &str| result[key].as_str().with_context(|| format!("{key} is no text"));
    ensure!(text("attempt")?.starts_with(text("job")?), "the attempt does not name its job");
    ensure!(text("startedAt")? <= text("finishedAt")?, "it ended before it started: {result}");
    if !bench.backend.has_images() {
        return same("the image", &result["image"], &json!(null));
    }
    let image = &result["image"];
    let expected = ["policy", "pulled", "requested", "resolved", "stale"];
    same("the image's keys", keys(image), expected.into())?;
    same("the image", &image["requested"], bench.image()?)?;
    same("the policy", &image["policy"], "IfNotPresent")?;
    ensure!(image["resolved"].as_str().is_some_and(|it| it.starts_with("sha256:")), "{image}");
    Ok(())
}

fn the_result_of_a_job_that_did_not_run_has_them_too(bench: &Bench) -> Checked {
    let wrong =
        bench.folders.file("wrong.toml", "network = 'none'\n[resources.limits]\ncpu = '1'\n")?;
    // No backend is reachable.
    let command = bench.bare()?.env("JOB_RUNNERS", bench.backend.name()).arg("run");
    let ran = command.result(bench.folders.result()).arg(wrong).args(bench.way()?);
    let ran = ran.args(["--", "true"]).run()?;
    ran.exits(125)?;
    let result = ran.result()?;
    same("the keys", keys(result), BTreeSet::from(KEYS))?;
    same("the outcome's", keys(&result["outcome"]), ["kind", "message", "reason"].into())?;
    same(
        "those of what was passed over",
        keys(&result["passedOver"][0]),
        ["kind", "message", "runner"].into(),
    )?;
    for key in ["runner", "separateStreams", "startedAt", "finishedAt"] {
        same(key, &result[key], &json!(null))?;
    }
    Ok(())
}

fn the_result_replaces_an_older_one(bench: &Bench) -> Checked {
    fs::write(
        bench.folders.result(),
        "what was there before, and is longer than the new one ".repeat(100),
    )?;
    let ran = bench.run(&[], "exit 0")?;
    ran.exits(0)?;
    same("the kind", &ran.outcome()?["kind"], "Exited")
}

fn the_summary_names_the_runner_on_stderr_only(bench: &Bench) -> Checked {
    let ran = bench.run(&[], "echo out")?;
    ran.exits(0)?;
    same("stdout", ran.text(), "out\n")?;
    says(&ran.stderr, &[&format!("longshore: {}: the job exited with code 0 after", bench.backend)])
}

fn a_quiet_command_says_nothing_of_its_own(bench: &Bench) -> Checked {
    let ran = bench.run(&["--quiet"], "echo out; exit 4")?;
    ran.exits(4)?;
    same("stdout", ran.text(), "out\n")?;
    same("stderr", ran.stderr.as_str(), "")
}

fn the_examples_report_is_the_same_to_the_byte(bench: &Bench) -> Checked {
    let example = programs::checkout().join("conf/examples/observables");
    let expected = fs::read_to_string(example.join("expected-report.json"))?;
    let job = bench.folders.job_directory("observables")?;
    for file in fs::read_dir(example.join("job/input"))? {
        let file = file?;
        job.input(&file.file_name().to_string_lossy(), fs::read(file.path())?)?;
    }
    let command = bench.longshore()?.arg("run").result(bench.folders.result());
    let command = command.arg(example.join("job.toml")).arg("--job-dir").arg(job.path());
    let ran = command.args(bench.way()?).run()?;
    ran.exits(0)?;
    same("the runner", &ran.result()?["runner"], bench.backend.name())?;
    same("stdout", ran.text(), expected.as_str())?;
    same("output/report.json", job.output("report.json").as_deref(), Some(expected.as_str()))
}

fn a_job_sees_its_directory_and_its_environment(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    job.input("word", "given\n")?;
    let path = job.path().to_string_lossy().into_owned();
    let script = "cat {jobDir}/input/word; test {jobDir} = \"$LONGSHORE_JOB_DIR\" && \
                  echo \"$GREETING\" > {jobDir}/output/said; echo {jobDir}";
    let ran = bench.run(&["--job-dir", &path, "--env", "GREETING=a  b$(c)"], script)?;
    ran.exits(0)?;
    let seen = if bench.backend == Backend::Process { path } else { "/job".to_owned() };
    same("stdout", ran.text(), format!("given\n{seen}\n"))?;
    same("output/said", job.output("said").as_deref(), Some("a  b$(c)\n"))
}

fn a_tag_that_may_be_pushed_again_is_hinted_at_once(bench: &Bench) -> Checked {
    let hints = |flags: &[&str]| -> Checked<usize> {
        let ran = bench.run(flags, "true")?;
        ran.exits(0)?;
        Ok(ran.stderr.matches("longshore: hint: ").count())
    };
    same("the hints", hints(&[])?, 1)?;
    same("the hints under Always", hints(&["--pull-policy", "Always"])?, 0)?;
    same("the hints of a quiet command", hints(&["--quiet"])?, 0)
}

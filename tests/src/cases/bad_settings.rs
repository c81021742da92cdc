//! Invalid configurations.

use anyhow::Result;

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::running::Ran;

cases! { "bad_settings":
    a_mistake_is_named_with_its_file_line_key_and_nearest_key,
    a_mistake_in_a_flag_is_named,
    a_mistake_in_a_variable_is_named,
    a_variable_that_sets_nothing_is_warned_of_with_the_nearest,
    an_unknown_runner_is_refused_with_those_there_are,
    a_runner_configured_twice_is_refused,
    no_runner_at_all_is_refused,
    a_configuration_file_that_is_not_there_is_refused,
}

/// Runs a job that would print `started`, with the configuration `text` in the file `name`.
fn with_config(bench: &Bench, name: &str, text: &str) -> Result<Ran> {
    bench.folders.file(name, text)?;
    let command = bench.bare()?.current_dir(bench.folders.root());
    command.args(["run", "--config", name, "--", "echo", "started"]).run()
}

fn refused(ran: &Ran, parts: &[&str]) -> Checked {
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, parts)
}

fn a_mistake_is_named_with_its_file_line_key_and_nearest_key(bench: &Bench) -> Checked {
    for (name, text, parts) in [
        (
            "a.toml",
            "[job]\nimagePulPolicy = 'Always'\n",
            ["a.toml:2", "job.imagePulPolicy: unknown key", "did you mean job.imagePullPolicy?"],
        ),
        ("a.toml", "[job]\n\ntimeout = []\n", ["a.toml:3", "job.timeout", "expected text"]),
        ("a.toml", "[job]\ntimeout = 'x'\n", ["a.toml:2", "job.timeout", "is not a duration"]),
        (
            "a.yaml",
            "job:\n  imagePullPolicy: Sometimes\n",
            ["a.yaml:2", "job.imagePullPolicy", "Always, IfNotPresent or Never"],
        ),
        (
            "a.json",
            "{\"job\": {\n\"docker\": {\"hots\": \"x\"}}}",
            ["a.json:2", "job.docker.hots", "did you mean job.docker.host?"],
        ),
        (
            "a.conf",
            "job { imagePulPolicy = Always }\n",
            ["a.conf", "job.imagePulPolicy", "did you mean job.imagePullPolicy?"],
        ),
    ] {
        refused(&with_config(bench, name, text)?, &parts)?;
    }
    Ok(())
}

fn a_mistake_in_a_flag_is_named(bench: &Bench) -> Checked {
    for (set, parts) in [
        ("job.imagePulPolicy=Always", ["--set", "did you mean job.imagePullPolicy?"]),
        ("job.timeout=soon", ["--set", "`soon` is not a duration"]),
        ("job.runners=", ["job.runners", "no runner"]),
    ] {
        let ran = bench.bare()?.args(["run", "--set", set, "--", "echo", "started"]).run()?;
        refused(&ran, &parts)?;
    }
    Ok(())
}

fn a_mistake_in_a_variable_is_named(bench: &Bench) -> Checked {
    let command = bench.bare()?.env("JOB_KUBERNETES_IMAGEPULLPOLICY", "Sometimes");
    let ran = command.args(["run", "--", "echo", "started"]).run()?;
    refused(&ran, &["JOB_KUBERNETES_IMAGEPULLPOLICY", "`Sometimes`", "IfNotPresent"])
}

fn a_variable_that_sets_nothing_is_warned_of_with_the_nearest(bench: &Bench) -> Checked {
    let command = bench.longshore()?.env("JOB_IMAGEPULPOLICY", "Always");
    let ran = command.args(["run", "--", "echo", "ran"]).run()?;
    ran.exits(0)?;
    says(&ran.stderr, &["warning", "JOB_IMAGEPULPOLICY", "did you mean JOB_IMAGEPULLPOLICY"])
}

fn an_unknown_runner_is_refused_with_those_there_are(bench: &Bench) -> Checked {
    let command = bench.bare()?.env("JOB_RUNNERS", "process,steamship");
    let ran = command.args(["run", "--", "echo", "started"]).run()?;
    refused(&ran, &["job.runners", "`steamship`", "kubernetes, docker, process"])
}

fn a_runner_configured_twice_is_refused(bench: &Bench) -> Checked {
    let ran = with_config(bench, "a.toml", "[job]\nrunners = ['process', 'docker', 'process']\n")?;
    refused(&ran, &["job.runners", "process is configured twice"])
}

fn no_runner_at_all_is_refused(bench: &Bench) -> Checked {
    let ran = with_config(bench, "a.toml", "[job]\nrunners = []\n")?;
    refused(&ran, &["job.runners", "no runner is configured"])?;
    let ran =
        bench.bare()?.env("JOB_RUNNERS", "[]").args(["run", "--", "echo", "started"]).run()?;
    refused(&ran, &["job.runners", "no runner is configured"])
}

fn a_configuration_file_that_is_not_there_is_refused(bench: &Bench) -> Checked {
    let ran =
        bench.bare()?.args(["run", "--config", "no/such.toml", "--", "echo", "started"]).run()?;
    refused(&ran, &["no/such.toml: there is no such file"])
}

//! `plan`, and that nothing shows a secret.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{
    Attempt, Capability, ErrorKind, JobId, JobSpec, Secret, SecretSource, Severity,
};

use super::{COUNT, nothing_left_of};
use crate::bench::Bench;
use crate::case::Need::Directory;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "plan":
    it_shows_what_would_run_and_starts_nothing [Directory],
    it_is_the_same_in_every_instance,
    a_check_starts_nothing_and_finds_no_fault_in_a_job_that_runs [Directory],
    secrets_stand_as_stars_and_show_nowhere_else,
    a_secret_is_in_no_argument_of_a_process,
    a_job_that_the_runner_cannot_run_is_unsupported,
}

async fn it_shows_what_would_run_and_starts_nothing(bench: Arc<Bench>) -> Checked {
    let (mut spec, directory) = bench.job_with_directory(&format!("{COUNT}; echo conspicuous"))?;
    spec.env.insert("CONSPICUOUS".to_owned(), "value-in-plan".to_owned());
    let attempt = bench.attempt(spec);
    let plan = bench.runner().await?.plan(&attempt)?;
    for part in ["echo conspicuous", "CONSPICUOUS", "value-in-plan"] {
        check(plan.text.contains(part), || format!("`{part}` is not in the plan:\n{}", plan.text))?;
    }
    nothing_left_of(&bench, &attempt).await?;
    same("starts", &directory.lines("starts")?, &0)
}

async fn it_is_the_same_in_every_instance(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let one = bench.runner().await?.plan(&attempt)?;
    same("the second instance's plan", &bench.runner().await?.plan(&attempt)?, &one)
}

async fn a_check_starts_nothing_and_finds_no_fault_in_a_job_that_runs(
    bench: Arc<Bench>,
) -> Checked {
    let (spec, directory) = bench.job_with_directory(COUNT)?;
    let attempt = bench.attempt(spec);
    let findings = bench.wait("check to answer", bench.runner().await?.check(&attempt)).await??;
    check(findings.iter().all(|it| it.severity < Severity::Error), || format!("{findings:?}"))?;
    nothing_left_of(&bench, &attempt).await?;
    same("starts", &directory.lines("starts")?, &0)
}

const SECRET: &str = "hunter2-but-longer";

/// Returns an attempt with a secret in its environment.
pub(super) fn with_secret(bench: &Bench, script: &str) -> Attempt {
    let mut spec = bench.fixture().job(script);
    let source = SecretSource::Env("CONFORMANCE_TOKEN".to_owned());
    spec.secret_env.insert("TOKEN".to_owned(), source);
    let mut attempt = bench.attempt(spec);
    attempt.secret_env.insert("TOKEN".to_owned(), Secret::new(SECRET));
    bench.track(&attempt);
    attempt
}

/// Returns the secret's value.
pub(super) const fn secret() -> &'static str {
    SECRET
}

async fn secrets_stand_as_stars_and_show_nowhere_else(bench: Arc<Bench>) -> Checked {
    let attempt = with_secret(&bench, "exit 0");
    let runner = bench.runner().await?;
    let plan = runner.plan(&attempt)?;
    check(plan.text.contains("TOKEN"), || format!("TOKEN is not in the plan:\n{}", plan.text))?;
    check(plan.text.contains("***"), || format!("no `***` in the plan:\n{}", plan.text))?;
    let run = bench.launch(&attempt).await?;
    let report = run.end().await?;
    let shown = [
        ("the plan", format!("{plan:?}")),
        ("the attempt's Debug", format!("{attempt:?}")),
        ("the handle", serde_json::to_string(run.handle())?),
        ("what launch returned", format!("{:?}", run.started)),
        ("the report", format!("{report:?}")),
        ("the runner's Debug", format!("{runner:?}")),
    ];
    for (where_, text) in shown {
        check(!text.contains(SECRET), || format!("the secret shows in {where_}"))?;
    }
    Ok(())
}

/// Every user of a machine sees the arguments of its processes, so they must not hold a secret.
/// The case sees the processes of this machine only.
async fn a_secret_is_in_no_argument_of_a_process(bench: Arc<Bench>) -> Checked {
    let value = format!("secret-{}", JobId::random());
    let mut attempt = with_secret(&bench, "echo here; sleep 600");
    attempt.secret_env.insert("TOKEN".to_owned(), Secret::new(value.clone()));
    let run = async {
        let run = bench.launch(&attempt).await?;
        run.says("here").await
    };
    // A client of the backend may run for a moment only, so it looks until the job runs.
    let watch = async {
        loop {
            if let Some(shown) = shown_in_arguments(&value) {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let shown = tokio::select! {
        shown = watch => Some(shown),
        ran = run => {
            ran?;
            shown_in_arguments(&value)
        }
    };
    check(shown.is_none(), || {
        format!("the secret is in the arguments of `{}`", shown.unwrap_or_default())
    })
}

/// Returns the program of a process that has `value` in its arguments.
fn shown_in_arguments(value: &str) -> Option<String> {
    let processes = std::fs::read_dir("/proc").ok()?;
    let arguments = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    let mut all = processes.flatten().filter_map(arguments);
    let found = all.find(|bytes| String::from_utf8_lossy(bytes).contains(value))?;
    let program = found.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(program).into_owned())
}

async fn a_job_that_the_runner_cannot_run_is_unsupported(bench: Arc<Bench>) -> Checked {
    let Some(spec) = other_way(&bench)? else { return Ok(()) };
    let attempt = bench.attempt(spec);
    match bench.runner().await?.plan(&attempt) {
        Err(error) => {
            same(&format!("the kind of `{error}`"), &error.kind(), &ErrorKind::Unsupported)
        }
        Ok(plan) => check(false, || format!("expected Unsupported, seen {plan:?}")),
    }
}

/// Returns a job that only names a way in which the runner cannot run it, or `None` if the runner
/// supports both ways.
pub(super) fn other_way(bench: &Bench) -> Checked<Option<JobSpec>> {
    Ok(if !bench.can(Capability::Container) {
        Some(JobSpec::container("localhost/none:1".parse()?))
    } else if !bench.can(Capability::Process) {
        Some(JobSpec::process(["true"]))
    } else {
        None
    })
}

//! `longshore plan`: it shows what would be submitted, and submits nothing.

use std::fs::File;

use anyhow::ensure;

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "plan":
    a_plan_shows_what_would_be_submitted_and_starts_nothing,
    a_plan_needs_no_backend,
    a_plan_shows_the_stdin_that_a_run_would_give_the_job,
    a_plan_that_no_runner_could_take_exits_with_1,
    a_plan_names_the_pull_policy_and_where_it_comes_from [Images],
}

fn a_plan_shows_what_would_be_submitted_and_starts_nothing(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let command =
        bench.longshore()?.arg("plan").args(bench.way()?).arg("--job-dir").arg(job.path());
    let command = command.args(["--env", "GREETING=hello there", "--label", "team=quay"]);
    // For one job.
    let command = command.args(["--set", "job.kubernetes.serviceAccountName=worker"]);
    let ran = command.args(["--", "touch", "{jobDir}/output/started"]).run()?;
    ran.exits(0)?;
    let text = ran.text();
    says(&text, &[&format!("# 1. {}: would submit", bench.backend), "GREETING", "hello there"])?;
    match bench.backend {
        Backend::Process => {
            says(&text, &[&format!("touch {}/output/started", job.path().display())])?;
        }
        Backend::Docker => {
            says(&text, &["\"/job/output/started\"", "\"team\": \"quay\"", bench.image()?])?;
            let (from, to) = (text.find("\n{"), text.rfind("}\n"));
            let body = from.zip(to).map(|(from, to)| &text[from..=to]);
            ensure!(
                body.is_some_and(|body| serde_json::from_str::<serde_json::Value>(body).is_ok()),
                "the body is no JSON: {text}"
            );
        }
        Backend::Kubernetes => {
            let lines = ["kind: Job", "suspend: true", "team: quay", "- /job/output/started"];
            says(&text, &lines)?;
            says(&text, &["serviceAccountName: worker"])?;
            says(&text, &[bench.image()?, bench.lab.claim.as_deref().unwrap_or_default()])?;
        }
    }
    same("output/started", job.output("started"), None)?;
    let there = bench.on_backend()?;
    ensure!(there.is_empty(), "it started something: {there:?}");
    Ok(())
}

fn a_plan_needs_no_backend(bench: &Bench) -> Checked {
    let command = bench.bare()?.env("JOB_RUNNERS", bench.backend.name()).arg("plan");
    let ran = command.args(bench.way()?).args(["--", "true"]).run()?;
    ran.exits(0)?;
    says(&ran.text(), &[&format!("# 1. {}: would submit", bench.backend)])
}

/// It showed a stdin only if a job file asked for one.
fn a_plan_shows_the_stdin_that_a_run_would_give_the_job(bench: &Bench) -> Checked {
    let shown = match bench.backend {
        Backend::Process => "#    the job gets a stdin",
        Backend::Docker => "\"OpenStdin\": true",
        Backend::Kubernetes => "stdin: true",
    };
    let plan = |flags: &[&str]| {
        let command = bench.bare()?.env("JOB_RUNNERS", bench.backend.name()).arg("plan");
        Checked::Ok(command.args(flags).args(bench.way()?))
    };
    let path = bench.folders.file("input", "data\n")?;
    let given = path.to_str().unwrap_or_default();
    for (command, expected) in [
        (plan(&[])?, false),
        (plan(&[])?.stdin(File::open(&path)?), true),
        (plan(&["--stdin", given])?, true),
        (plan(&["--stdin", "/dev/null"])?.stdin(File::open(&path)?), false),
    ] {
        let ran = command.args(["--", "true"]).run()?;
        ran.exits(0)?;
        same("whether it shows a stdin", ran.text().contains(shown), expected)?;
    }
    Ok(())
}

fn a_plan_that_no_runner_could_take_exits_with_1(bench: &Bench) -> Checked {
    let command = bench.longshore()?.arg("plan");
    let ran = match bench.backend {
        Backend::Process => command.args(["--image", "busybox:1"]).run()?,
        Backend::Docker | Backend::Kubernetes => command.args(["--", "true"]).run()?,
    };
    ran.exits(1)?;
    says(&ran.text(), &[&format!("{}: would be passed over", bench.backend), "Unsupported: "])
}

fn a_plan_names_the_pull_policy_and_where_it_comes_from(bench: &Bench) -> Checked {
    let own = format!("JOB_{}_IMAGEPULLPOLICY", bench.backend.name().to_uppercase());
    let plan = |shared: bool, particular: bool, flag: &[&str]| {
        let mut command = bench.longshore()?;
        if shared {
            command = command.env("JOB_IMAGEPULLPOLICY", "Always");
        }
        if particular {
            command = command.env(&own, "Never");
        }
        let ran = command.arg("plan").args(flag).args(bench.way()?).run()?;
        ran.exits(0)?;
        Checked::Ok(ran.text())
    };
    says(&plan(false, false, &[])?, &["pull policy: IfNotPresent (job."])?;
    let from = "pull policy: Always (job.imagePullPolicy, from JOB_IMAGEPULLPOLICY)";
    says(&plan(true, false, &[])?, &[from])?;
    let from = format!("pull policy: Never (job.{}.imagePullPolicy, from {own})", bench.backend);
    says(&plan(true, true, &[])?, &[&from])?;
    let flag = ["--pull-policy", "ifnotpresent"];
    says(&plan(true, true, &flag)?, &["pull policy: IfNotPresent (--pull-policy)"])
}

//! Runs the benches and prints their table.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use longshore_lab::{self as lab, Group, Lab, UpOptions, say};

use super::context::Bench;
use super::image_failure::{NOT_FOUND, NOT_PRESENT, image_failure};
use super::no_op::{by_kubectl, by_longshore};
use super::sample::Sample;
use super::{service, startup};
use crate::workspace::{Workspace, cargo};

/// How long a command without an image may still run after the report, at the 95th percentile.
const BOUND: Duration = Duration::from_secs(1);

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    /// How long jobs on Kubernetes take.
    Kubernetes,
    /// What the command itself costs, compared with docker and kubectl.
    Startup,
    /// What the library costs a service, idle and with many jobs or records.
    Service,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// What to measure [default: everything].
    suite: Option<Suite>,
    /// How many times to measure each operation.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    rounds: u32,
    /// A program to measure instead of this checkout's, for example that of another version.
    #[arg(long)]
    program: Option<PathBuf>,
    /// The lab's folder [default: target/lab of this checkout].
    #[arg(long)]
    lab_dir: Option<PathBuf>,
}

/// Brings the lab up, runs every bench and prints the table. Returns true if all bounds are met.
pub(crate) fn bench(options: &BenchOptions) -> Result<bool> {
    let workspace = Workspace::load()?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build(&workspace)?,
    };
    let lab = Lab::open(options.lab_dir.clone())?;
    let was_up = lab::is_up(&lab)?;
    let up = UpOptions {
        only: vec![Group::Kubernetes, Group::Docker],
        use_existing: false,
        replace: false,
    };
    lab::up(&lab, &up)?;
    let bench = Bench {
        lab: &lab,
        rounds: options.rounds,
        image: of_lab(&lab, "LONGSHORE_LAB_IMAGE")?,
        program,
        state: workspace.target_directory.join("xtask-bench"),
        docker_host: of_lab(&lab, "DOCKER_HOST")?,
    };
    let result = measure(&bench, options.suite);
    if !was_up {
        lab::down(&lab, false)?;
    }
    result
}

/// Builds the command, and installs it for the bench.
///
/// The system keeps a file that a linker has just written in smaller pieces than one that was copied or
/// read, as every installed program is. To map the smaller pieces takes a tenth of a short command's time.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package=longshore-cli"]);
    ensure!(command.status()?.success(), "failed to build the command");
    let built = workspace.target_directory.join("release/longshore");
    let installed = built.with_file_name("longshore-installed");
    let _ = fs::remove_file(&installed);
    fs::copy(&built, &installed).with_context(|| installed.display().to_string())?;
    Ok(installed)
}

fn of_lab(lab: &Lab, variable: &str) -> Result<String> {
    let found = lab::environment(lab)?.into_iter().find(|(name, _)| *name == variable);
    found.map(|(_, value)| value).with_context(|| format!("the lab has no {variable}"))
}

fn measure(bench: &Bench<'_>, suite: Option<Suite>) -> Result<bool> {
    let asked = |other| suite.is_none_or(|suite| suite == other);
    let mut met = true;
    if asked(Suite::Kubernetes) {
        met &= kubernetes(bench)?;
    }
    if asked(Suite::Startup) {
        met &= startup::measure(bench)?;
    }
    if asked(Suite::Service) {
        met &= service::measure(bench)?;
    }
    Ok(met)
}

fn kubernetes(bench: &Bench<'_>) -> Result<bool> {
    say!("{:<58} {:>4} {:>11} {:>11}", "", "jobs", "median", "95th");
    // The first job of a lab is slower: it waits for setup that later jobs find done.
    by_longshore(&Bench { rounds: 1, ..bench.clone() })?;
    let ours = by_longshore(bench)?;
    line("a no-op on Kubernetes, longshore run", &ours, "");
    let theirs = by_kubectl(bench)?;
    let ratio = theirs.median().as_secs_f64() / ours.median().as_secs_f64().max(f64::EPSILON);
    line("the same, kubectl create, wait, logs, delete", &theirs, &format!("{ratio:.1} times"));
    let mut kept = true;
    for failure in [NOT_FOUND, NOT_PRESENT] {
        let sample = image_failure(bench, failure)?;
        let ok = sample.percentile(95) < BOUND;
        kept &= ok;
        let what = format!("{}: the kubelet's report to the command's exit", failure.reason);
        line(&what, &sample, if ok { "below 1 s" } else { "NOT below 1 s" });
    }
    Ok(kept)
}

fn line(what: &str, sample: &Sample, remark: &str) {
    say!("{}", format!("{what:<58} {sample}  {remark}").trim_end());
}

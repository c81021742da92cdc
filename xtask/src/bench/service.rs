//! Measures what the library costs a service that embeds it, from outside of its process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use longshore_lab::say;
use tempfile::TempDir;

use super::context::Bench;
use super::process::{cpu, descriptors, pss, wakeups};
use crate::workspace::{Workspace, cargo};

/// How many jobs each runner has at once, and the most memory in KiB that one more may cost. The
/// cluster's node takes 110 Pods, and each container costs its engine far more than the service.
/// The output of a container comes by a connection of its own.
const JOBS: [(&str, &[u32], f64); 3] = [
    ("process", &[1, 200, 1000], 80.0),
    ("docker", &[1, 100], 192.0),
    ("kubernetes", &[1, 50], 256.0),
];
/// How long a service has nothing to do before wakeups are counted: its runtime ends threads that were
/// idle for ten seconds.
const SETTLE: Duration = Duration::from_secs(12);
/// How long wakeups are counted.
const IDLE: Duration = Duration::from_secs(10);
/// The sizes of the journals whose pages are compared.
const RECORDS: [u32; 2] = [1_000, 1_000_000];
/// How much longer a page of the larger journal may take, and the longest time, in milliseconds.
const SLOWER: f64 = 2.0;
const PAGE: f64 = 5.0;
/// The most descriptors that one job more costs the service.
const DESCRIPTORS: f64 = 2.0;

/// Prints the tables. Returns whether every bound is met.
pub(crate) fn measure(bench: &Bench<'_>) -> Result<bool> {
    let program = build()?;
    let mut met = true;
    say!(
        "{:<12} {:>5} {:>9} {:>9} {:>6} {:>12} {:>12} {:>11} {:>11}",
        "a service",
        "jobs",
        "PSS, MiB",
        "one more",
        "files",
        "wakeups/min",
        "CPU, ms/min",
        "started, s",
        "recovered"
    );
    for (runner, counts, bound) in JOBS {
        let none = load(bench, &program, runner, 0)?;
        met &= none.show(runner, 0, &none, bound);
        for count in counts {
            met &= load(bench, &program, runner, *count)?.show(runner, *count, &none, bound);
        }
    }
    met &= pages(&program)?;
    Ok(met)
}

fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package=longshore", "--example=load"]);
    ensure!(command.status()?.success(), "failed to build the program to measure");
    Ok(Workspace::load()?.target_directory.join("release/examples/load"))
}

/// What a service with some jobs costs.
struct Load {
    /// Its proportional set size, in KiB.
    memory: u64,
    descriptors: usize,
    /// For each minute in which nothing happens.
    wakeups: u64,
    cpu: Duration,
    /// How long the start of the jobs took, and then the recovery of all of them.
    started: Duration,
    recovered: Duration,
}

impl Load {
    /// Prints a line. Returns whether the bounds are met, with `bound` for the memory of a job.
    fn show(&self, runner: &str, jobs: u32, none: &Self, bound: f64) -> bool {
        let each = |with: f64, without: f64| (with - without) / f64::from(jobs.max(1));
        let memory = each(self.memory as f64, none.memory as f64);
        let descriptors = each(self.descriptors as f64, none.descriptors as f64);
        // The first job brings what all need.
        let many = jobs > 1;
        let met = (!many || memory <= bound && descriptors <= DESCRIPTORS)
            && (jobs > 0 || self.wakeups == 0);
        say!(
            "{runner:<12} {jobs:>5} {:>9.1} {:>5.0} KiB {:>6} {:>12} {:>12} {:>11.2} {:>11.2}{}",
            self.memory as f64 / 1024.0,
            if many { memory } else { 0.0 },
            self.descriptors,
            self.wakeups,
            self.cpu.as_millis(),
            self.started.as_secs_f64(),
            self.recovered.as_secs_f64(),
            if met { "" } else { "  NOT met" }
        );
        met
    }
}

/// A service that runs. It is killed when dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The state directory of a service. When dropped, the jobs that a failed measurement has left are
/// ended: their record is lost with the directory.
struct State<'a> {
    bench: &'a Bench<'a>,
    program: &'a Path,
    runner: &'a str,
    folder: TempDir,
    /// Whether the service has ended its jobs itself.
    ended: bool,
}

impl State<'_> {
    /// Returns the service that takes up the jobs that are left, or else starts `count` of them.
    fn service(&self, count: u32) -> Command {
        let mut command = Command::new(self.program);
        command.args(["jobs", &count.to_string(), &self.bench.image]);
        self.bench
            .reach(&mut command)
            .env("JOB_RUNNERS", self.runner)
            .env("JOB_STATEDIRECTORY", self.folder.path());
        command.stderr(Stdio::null());
        command
    }
}

impl Drop for State<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // It ends the jobs at once, as its standard input has ended.
        let cleaned = self.service(0).stdin(Stdio::null()).stdout(Stdio::null()).status();
        if !cleaned.is_ok_and(|status| status.success()) {
            say!("failed to end the jobs of the service on {}", self.runner);
        }
    }
}

/// Measures a service with `count` jobs on `runner`.
fn load<'a>(bench: &'a Bench<'a>, program: &'a Path, runner: &'a str, count: u32) -> Result<Load> {
    let folder = tempfile::tempdir()?;
    let mut state = State { bench, program, runner, folder, ended: false };
    let start = |state: &State<'_>| -> Result<(Service, Duration)> {
        let mut command = state.service(count);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut service = Service(command.spawn()?);
        until_running(service.0.stdout.take())?;
        Ok((service, begun.elapsed()))
    };
    let (service, started) = start(&state)?;
    let process = Path::new("/proc").join(service.0.id().to_string());
    sleep(SETTLE);
    let before = (wakeups(&process)?, cpu(&process)?);
    sleep(IDLE);
    let per_minute = 60 / u32::try_from(IDLE.as_secs())?;
    let (memory, descriptors) = (pss(&process)?, descriptors(&process)?);
    let wakeups = wakeups(&process)?.saturating_sub(before.0) * u64::from(per_minute);
    let cpu = cpu(&process)?.saturating_sub(before.1) * per_minute;
    // Killed, and another one takes up its jobs.
    drop(service);
    let (mut service, recovered) = start(&state)?;
    drop(service.0.stdin.take());
    ensure!(service.0.wait()?.success(), "the service failed to end its jobs");
    state.ended = true;
    Ok(Load { memory, descriptors, wakeups, cpu, started, recovered })
}

fn until_running(output: Option<ChildStdout>) -> Result<()> {
    let mut line = String::new();
    BufReader::new(output.context("the service has no output")?).read_line(&mut line)?;
    ensure!(line == "running\n", "the service has failed: {line:?}");
    Ok(())
}

/// Prints how long a page of a journal takes. Returns whether the bounds are met.
fn pages(program: &Path) -> Result<bool> {
    let mut times = Vec::new();
    for count in RECORDS {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        let output = command.arg("records").arg(count.to_string()).arg(folder.path()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        times.push(String::from_utf8(output.stdout)?);
    }
    let [few, many] = &times[..] else { return Ok(false) };
    let [small, large] = RECORDS;
    say!("{:<32} {:>13} {:>13} {:>6}", "a page of a journal, ms", small, large, "ratio");
    let mut met = true;
    for (few, many) in few.lines().zip(many.lines()) {
        let (few, what) = few.split_once(' ').context("no time")?;
        let few: f64 = few.parse()?;
        let many: f64 = many.split(' ').next().unwrap_or_default().parse()?;
        let ok = many <= PAGE && many <= few.max(1.0) * SLOWER;
        let remark = if ok { "" } else { "  NOT met" };
        say!("  {what:<30} {few:>13.3} {many:>13.3} {:>6.2}{remark}", many / few);
        met &= ok;
    }
    Ok(met)
}

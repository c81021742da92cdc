//! Docker engines with `live-restore` that die while a job runs and are restarted.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use longshore_lab as lab;

use super::case::cases;
use super::disruptive::init_of;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::folders::JobDirectory;
use crate::lab::Lab;
use crate::running::{Ran, Running};

cases! { "live_restore":
    a_job_whose_engine_dies_goes_on_and_is_told_in_full,
    a_job_whose_current_engine_dies_goes_on_and_is_told_in_full [CurrentEngine],
    a_job_that_ended_without_its_engine_is_told_with_its_code_and_a_gap,
    a_job_that_ended_without_its_current_engine_is_told_with_a_gap_and_no_other_code [CurrentEngine],
}

const LIMIT: Duration = Duration::from_secs(60);
/// The command's message about a gap.
const GAP: &str = "lost a part of the job's output";
/// A job that begins, waits for `go`, prints a line, and waits for `end`.
const STEPS: &str = "echo started >> {jobDir}/output/starts; echo begun; \
    until [ -e {jobDir}/input/go ]; do sleep 0.1; done; echo meanwhile; \
    echo yes > {jobDir}/output/said; \
    until [ -e {jobDir}/input/end ]; do sleep 0.1; done; echo over; exit 6";

/// An engine with live-restore, which is always switched off again on drop.
struct Engine {
    lab: lab::Lab,
    name: &'static str,
}

impl Engine {
    fn new(bench: &Bench, name: &'static str) -> Result<Self> {
        let engine = Self { lab: lab::Lab::open(bench.lab.folder.clone())?, name };
        engine.run()?;
        Ok(engine)
    }

    fn kill(&self) -> Result<()> {
        lab::stop(&self.lab, self.name, true)
    }

    fn run(&self) -> Result<()> {
        lab::run_engine(&self.lab, self.name, true)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = lab::run_engine(&self.lab, self.name, false) {
            // The next case will fail because of it; this shows why.
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}

/// A job on an engine, with the directory that controls it.
struct Led {
    bench: Bench,
    directory: JobDirectory,
    running: Running,
}

impl Led {
    /// Starts a job on the engine at `host`, and waits until it has begun. The job is also allowed
    /// to run as a process, which must not happen.
    fn new(bench: &Bench, host: Option<&String>) -> Result<Self> {
        let lab = Lab { docker_host: host.cloned(), ..(*bench.lab).clone() };
        let bench = Bench::new(Arc::new(lab), Backend::Docker, &bench.name)?;
        let directory = bench.folders.job_directory("led")?;
        let command = bench.with(&[Backend::Docker, Backend::Process])?.arg("run");
        let command = command.result(bench.folders.result()).arg("--job-dir").arg(directory.path());
        let command = command.args(["--image", bench.image()?, "--process", "echo again", "--"]);
        // The repository in the command line identifies the job's process.
        let script = format!("{STEPS}; {}", bench.repository());
        let running = command.args(["sh", "-c", &script]).spawn()?;
        running.until_stdout("begun")?;
        Ok(Self { bench, directory, running })
    }

    fn let_go(&self, to: &str) -> Result<()> {
        self.directory.input(to, "")
    }

    /// Waits for its end, and checks that nothing is left of it and that it ran once.
    fn finish(self) -> Result<Ran> {
        let ran = self.running.finish()?;
        same("the runner", &ran.result()?["runner"], "docker")?;
        same("the starts", self.directory.output("starts").as_deref(), Some("started\n"))?;
        same("what is left", self.bench.on_backend()?, Vec::<String>::new())?;
        Ok(ran)
    }
}

/// Runs a job that prints a line while its engine is down, and ends when the engine is back.
fn goes_on(bench: &Bench, name: &'static str, host: Option<&String>) -> Checked {
    let engine = Engine::new(bench, name)?;
    let led = Led::new(bench, host)?;
    engine.kill()?;
    led.let_go("go")?;
    until(LIMIT, "the job's line", || Ok(led.directory.output("said")))?;
    engine.run()?;
    led.let_go("end")?;
    let ran = led.finish()?;
    ran.exits(6)?;
    same("stdout", ran.text(), "begun\nmeanwhile\nover\n")?;
    ensure!(!ran.stderr.contains(GAP), "{}", ran.stderr);
    Ok(())
}

fn a_job_whose_engine_dies_goes_on_and_is_told_in_full(bench: &Bench) -> Checked {
    goes_on(bench, "docker", bench.lab.docker_host.as_ref())
}

fn a_job_whose_current_engine_dies_goes_on_and_is_told_in_full(bench: &Bench) -> Checked {
    goes_on(bench, "docker29", bench.lab.docker29_host.as_ref())
}

/// Runs a job that ends while its engine is down. Its last output was in a pipe that no engine
/// read, and is lost.
fn ended_without(bench: &Bench, name: &'static str, host: Option<&String>) -> Result<Ran> {
    let engine = Engine::new(bench, name)?;
    let led = Led::new(bench, host)?;
    engine.kill()?;
    led.let_go("go")?;
    led.let_go("end")?;
    let mark = led.bench.repository();
    until(LIMIT, "the job's end", || Ok(init_of(&mark)?.is_none().then_some(())))?;
    engine.run()?;
    let ran = led.finish()?;
    ensure!(ran.text().starts_with("begun\n"), "{}", ran.text());
    says(&ran.stderr, &[GAP])?;
    Ok(ran)
}

fn a_job_that_ended_without_its_engine_is_told_with_its_code_and_a_gap(bench: &Bench) -> Checked {
    ended_without(bench, "docker", bench.lab.docker_host.as_ref())?.exits(6)
}

/// When the containerd of Docker 29 (2.x) starts and finds a shim without a process, it removes the
/// shim and with it the exit code ("cleaning leaked shim process" in the engine's log), and the
/// engine writes 255 (four of four runs). That of 20.10 (1.6) asks the shim first (three of three).
fn a_job_that_ended_without_its_current_engine_is_told_with_a_gap_and_no_other_code(
    bench: &Bench,
) -> Checked {
    let ran = ended_without(bench, "docker29", bench.lab.docker29_host.as_ref())?;
    let lost = ran.outcome()?["kind"] == "Lost";
    ran.exits(if lost { 125 } else { 6 })
}

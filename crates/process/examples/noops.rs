//! Measures the cost of a job: no-op jobs one after the other, compared with `xargs -n1 true`.
//!
//! `cargo run --release -p longshore-process --example noops -- [JOBS]` prints the ratio. Output is
//! captured and the record is kept.

#![expect(clippy::print_stdout, reason = "the example exists to print its result")]

use std::error::Error;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use longshore_core::{
    Attempt, Event, InstallationId, JobId, JobSpec, LaunchContext, LogPosition, Runner, RunnerName,
};
use longshore_process::{ProcessConfig, ProcessRunner};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    longshore_process::init();
    let jobs: u32 = std::env::args().nth(1).map_or(Ok(500), |text| text.parse())?;
    let runtime = tokio::runtime::Runtime::new()?;
    // One unmeasured round, then alternating rounds: the speed of the machine varies.
    let mut best = (Duration::MAX, Duration::MAX);
    for round in 0..4 {
        let ours = runtime.block_on(longshore(jobs))?;
        let theirs = xargs(jobs)?;
        if round > 0 {
            best = (best.0.min(ours), best.1.min(theirs));
        }
    }
    let (ours, theirs) = (best.0 / jobs, best.1 / jobs);
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("longshore {ours:?} a job, xargs {theirs:?} a job, ratio {ratio:.2}");
    Ok(())
}

async fn longshore(jobs: u32) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let state_directory = Some(folder.path().to_owned());
    let mut config = ProcessConfig::default();
    config.state_directory = state_directory;
    let runner = ProcessRunner::new(RunnerName::process(), config);
    let installation = InstallationId::random();
    let spec = std::sync::Arc::new(JobSpec::process(["true"]));
    let begin = Instant::now();
    for _ in 0..jobs {
        let attempt = Attempt::new(installation.clone(), JobId::random(), 1, spec.clone());
        let limit = tokio::time::Instant::now() + Duration::from_secs(30);
        let handle = runner.launch(&attempt, &LaunchContext::new(limit)).await?.handle;
        let logs = runner.logs(&handle, LogPosition::START, true).count();
        let events = runner.events(&handle).collect::<Vec<_>>();
        let (_, events) = tokio::join!(logs, events);
        let Some(Ok(Event::Ended(report))) = events.last() else { return Err("no end".into()) };
        if !report.outcome.is_success() {
            return Err(report.outcome.to_string().into());
        }
        runner.remove(&handle).await?;
    }
    Ok(begin.elapsed())
}

fn xargs(jobs: u32) -> Result<Duration> {
    let begin = Instant::now();
    let mut child = Command::new("xargs").args(["-n1", "true"]).stdin(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    for number in 0..jobs {
        writeln!(input, "{number}")?;
    }
    drop(input);
    if !child.wait()?.success() {
        return Err("xargs failed".into());
    }
    Ok(begin.elapsed())
}

//! Measures what the command itself costs, compared with Docker's and Kubernetes' commands.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use longshore_lab::say;
use rustix::process::{Pid, Signal, kill_process};

use super::context::Bench;
use super::cost::{Cost, Pair};
use super::process::pss;

/// How many commands hold memory at once.
const AT_ONCE: usize = 16;
/// How long jobs run before their supervisors are measured, which give back the memory of their start
/// after a second.
const SETTLE: Duration = Duration::from_secs(2);
/// What a job writes, in lines of 62 bytes: 64 MiB.
const OUTPUT: &str =
    "yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 67108864";

/// A part of a cost, and the largest ratio to the other command that is good enough.
type Bound = (&'static str, fn(&Cost) -> f64, f64);

const fn time(bound: f64) -> Bound {
    ("time, ms", |cost| cost.time.as_secs_f64() * 1e3, bound)
}

const fn cpu(bound: f64) -> Bound {
    ("CPU, ms", |cost| cost.cpu.as_secs_f64() * 1e3, bound)
}

const fn memory(bound: f64) -> Bound {
    ("largest process, MiB", |cost| cost.memory as f64 / f64::from(1 << 20), bound)
}

/// Prints the table. Returns whether every bound is met.
pub(crate) fn measure(bench: &Bench<'_>) -> Result<bool> {
    say!("{:<64} {:>9} {:>9} {:>6} {:>6}", "", "longshore", "peer", "ratio", "bound");
    let docker = |args: &[&str]| Cost::of(docker(bench).args(args));
    let no_op = || Cost::of(run(bench, "process").args(["--", "true"]));
    let pair = Pair::measure(bench.rounds, no_op, || docker(&["version"]))?;
    let mut met = rows("a process job; docker version", &pair, &[time(0.5), cpu(0.35)]);

    let ours = || Cost::of(container(bench, "docker").args(["--", "true"]));
    let theirs = || docker(&["run", "--rm", &bench.image, "true"]);
    let pair = Pair::measure(bench.rounds, ours, theirs)?;
    let bounds = [time(1.0), cpu(0.6), memory(0.6)];
    met &= rows("a container on Docker; docker run", &pair, &bounds);

    let ours = || Cost::of(container(bench, "docker").args(["--", "sh", "-c", OUTPUT]));
    let theirs = || docker(&["run", "--rm", &bench.image, "sh", "-c", OUTPUT]);
    let pair = Pair::measure(bench.rounds.div_ceil(5), ours, theirs)?;
    met &= rows("64 MiB of lines from Docker; docker run", &pair, &[time(1.3), cpu(3.0)]);

    let ours = || Cost::of(container(bench, "kubernetes").args(["--", "true"]));
    let pair = Pair::measure(bench.rounds, ours, || by_kubectl(bench))?;
    met &= rows("a Job; kubectl create, wait, logs, delete", &pair, &[cpu(0.15)]);
    let theirs = by_kubectl_steps(bench, &["-v=6"], |step| requests(step, "\"Response\""))?;
    let theirs: usize = theirs.into_iter().sum();
    let mut ours = bench.command();
    ours.args([
        "--verbose",
        "--verbose",
        "run",
        "--runners",
        "kubernetes",
        "--image",
        &bench.image,
        "--",
        "true",
    ]);
    let ours = requests(&mut ours, "requesting")?;
    met &= row("  API requests", ours as f64, theirs as f64, 0.78);

    let ours = memory_at_once(|| {
        let mut command = container(bench, "docker");
        command.args(["--", "sh", "-c", "echo; exec sleep 60"]);
        command
    })?;
    let theirs = memory_at_once(|| {
        let mut command = self::docker(bench);
        command.args(["run", "--rm", &bench.image, "sh", "-c", "echo; exec sleep 60"]);
        command
    })?;
    say!("{AT_ONCE} containers at once; docker run");
    met &= row("  proportional set size, MiB", ours, theirs, 0.6);

    say!("a detached process job more; its own process, `sleep`");
    let (ours, theirs) = memory_of_supervisors(bench)?;
    met &= row("  proportional set size of the supervisor, MiB", ours, theirs, 1.5);
    Ok(met)
}

fn rows(what: &str, pair: &Pair, bounds: &[Bound]) -> bool {
    say!("{what}");
    let mut met = true;
    for (name, part, bound) in bounds {
        let (ours, theirs) = pair.medians(*part);
        met &= row(&format!("  {name}"), ours, theirs, *bound);
    }
    met
}

fn row(what: &str, ours: f64, theirs: f64, bound: f64) -> bool {
    let ratio = ours / theirs.max(f64::EPSILON);
    let met = ratio <= bound;
    let remark = if met { "" } else { "  NOT met" };
    say!("{what:<64} {ours:>9.1} {theirs:>9.1} {ratio:>6.2} {bound:>6.2}{remark}");
    met
}

fn run(bench: &Bench<'_>, runner: &str) -> Command {
    let mut command = bench.command();
    command.args(["run", "-q", "--runners", runner]);
    command
}

fn container(bench: &Bench<'_>, runner: &str) -> Command {
    let mut command = run(bench, runner);
    command.args(["--image", &bench.image]);
    command
}

fn docker(bench: &Bench<'_>) -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", &bench.docker_host);
    command
}

/// Returns the cost of the commands that do what one `longshore run` does.
fn by_kubectl(bench: &Bench<'_>) -> Result<Cost> {
    let costs = by_kubectl_steps(bench, &[], Cost::of)?;
    Ok(costs.into_iter().fold(Cost::default(), Cost::then))
}

fn by_kubectl_steps<T>(
    bench: &Bench<'_>,
    flags: &[&str],
    mut measure: impl FnMut(&mut Command) -> Result<T>,
) -> Result<Vec<T>> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("bench-startup-{}-{number}", std::process::id());
    let (job, image) = (format!("job/{name}"), format!("--image={}", bench.image));
    let steps: [&[&str]; 4] = [
        &["create", "job", &name, &image, "--", "true"],
        &["wait", "--for=condition=complete", "--timeout=120s", &job],
        &["logs", &job],
        &["delete", &job],
    ];
    steps.into_iter().map(|step| measure(bench.kubectl().args(flags).args(step))).collect()
}

/// Returns how many lines of what `command` logs contain `mark`, which is one for each request.
fn requests(command: &mut Command, mark: &str) -> Result<usize> {
    let output = command.output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{log}");
    let requests = log.lines().filter(|line| line.contains(mark)).count();
    ensure!(requests > 0, "{command:?} logs no request");
    Ok(requests)
}

/// Commands that run. They are interrupted when dropped.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &self.0 {
            // A second signal, for a grace period of zero, follows the first at once.
            for _ in 0..2 {
                let _ = kill_process(Pid::from_child(child), Signal::INT);
            }
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

/// Starts commands, waits until the job of each has written, and returns what all use, in MiB.
fn memory_at_once(command: impl Fn() -> Command) -> Result<f64> {
    let mut running = Running(Vec::new());
    for _ in 0..AT_ONCE {
        let mut command = command();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        running.0.push(command.spawn()?);
    }
    for child in &mut running.0 {
        let output = child.stdout.as_mut().context("the command has no output")?;
        let mut line = String::new();
        BufReader::new(output.take(2)).read_line(&mut line)?;
        ensure!(line == "\n", "a job has not started");
    }
    let used = running
        .0
        .iter()
        .map(|child| pss(&Path::new("/proc").join(child.id().to_string())))
        .sum::<Result<u64>>()?;
    Ok(used as f64 / 1024.0)
}

/// Starts detached process jobs, and returns what the supervisor of one uses and what the job itself
/// does, in MiB.
fn memory_of_supervisors(bench: &Bench<'_>) -> Result<(f64, f64)> {
    let mut jobs = Vec::new();
    for _ in 0..AT_ONCE {
        let mut command = run(bench, "process");
        let output = command.args(["--detach", "--", "sleep", "60"]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        jobs.push(String::from_utf8(output.stdout)?.trim().to_owned());
    }
    sleep(SETTLE);
    let measured = supervisors(bench);
    let removed = bench.command().args(["rm", "--force"]).args(&jobs).output()?;
    ensure!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    let (supervisors, commands) = measured?;
    ensure!(supervisors.len() == AT_ONCE, "{} supervisors run", supervisors.len());
    let mean = |sizes: &[u64]| sizes.iter().sum::<u64>() as f64 / AT_ONCE as f64 / 1024.0;
    Ok((mean(&supervisors), mean(&commands)))
}

/// Returns the proportional set sizes of all supervisors of the measured program, and those of their
/// jobs' processes, in KiB.
fn supervisors(bench: &Bench<'_>) -> Result<(Vec<u64>, Vec<u64>)> {
    let program = bench.program.canonicalize()?;
    let (mut supervisors, mut commands) = (Vec::new(), Vec::new());
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let is_ours = fs::read_link(process.join("exe")).is_ok_and(|path| path == program);
        if !is_ours || !line.starts_with(b"longshore-supervisor") {
            continue;
        }
        supervisors.push(pss(&process)?);
        let children = fs::read_dir(process.join("task"))?.flatten();
        for children in children.map(|task| fs::read_to_string(task.path().join("children"))) {
            for child in children?.split_whitespace() {
                commands.push(pss(&Path::new("/proc").join(child))?);
            }
        }
    }
    Ok((supervisors, commands))
}

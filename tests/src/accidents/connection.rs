//! A connection to the server that is slow, breaks, or falls silent. Each job may also run as a
//! local process, so that it must run exactly once, here or there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::situation::{CONTAINERS, Expected, Situation, exits, lost, on};
use super::stage::{Stage, WAITS};
use super::wire::{Address, Fault, Wire};
use crate::backend::Backend;
use crate::cases::changed;
use crate::check::Checked;
use crate::command::Longshore;
use crate::network::refusing;
use crate::running::Ran;

/// It ran exactly once, on whichever runner.
const ONCE: Expected = exits(3).within(120);
const AWAY: Expected = lost(&["lostAfter"]).within(120);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CONTAINERS, "the server is away for good while it runs", gone, AWAY),
    on(CONTAINERS, "its server refuses connections", refused, ONCE),
    on(CONTAINERS, "its server never answers", never_answers, ONCE),
    on(CONTAINERS, "each piece takes 100 ms", |s| with(s, SLOW), ONCE),
    on(CONTAINERS, "each piece takes 500 ms", |s| with(s, SLOWER), ONCE),
    on(CONTAINERS, "50 KB per second", |s| with(s, Fault::Narrow(512)), ONCE),
    on(CONTAINERS, "answers in pieces of 3 bytes", |s| with(s, Fault::Sliced(3)), ONCE),
    on(CONTAINERS, "request 1 is lost", |s| request(s, 1), ONCE),
    on(CONTAINERS, "request 2 is lost", |s| request(s, 2), ONCE),
    on(CONTAINERS, "request 3 is lost", |s| request(s, 3), ONCE),
    on(CONTAINERS, "request 4 is lost", |s| request(s, 4), ONCE),
    on(CONTAINERS, "request 5 is lost", |s| request(s, 5), ONCE),
    on(CONTAINERS, "request 6 is lost", |s| request(s, 6), ONCE),
    on(CONTAINERS, "request 7 is lost", |s| request(s, 7), ONCE),
    on(CONTAINERS, "request 8 is lost", |s| request(s, 8), ONCE),
    on(CONTAINERS, "answer 1 is lost", |s| answer(s, 1), ONCE),
    on(CONTAINERS, "answer 2 is lost", |s| answer(s, 2), ONCE),
    on(CONTAINERS, "answer 3 is lost", |s| answer(s, 3), ONCE),
    on(CONTAINERS, "answer 4 is lost", |s| answer(s, 4), ONCE),
    on(CONTAINERS, "answer 5 is lost", |s| answer(s, 5), ONCE),
    on(CONTAINERS, "answer 6 is lost", |s| answer(s, 6), ONCE),
    on(CONTAINERS, "answer 7 is lost", |s| answer(s, 7), ONCE),
    on(CONTAINERS, "answer 8 is lost", |s| answer(s, 8), ONCE),
    on(CONTAINERS, "all connections are reset while it runs", reset, exits(5).within(120)),
    on(CONTAINERS, "the server is away for 2 s while it runs", away, exits(5).within(120)),
    on(CONTAINERS, "the server is silent for 2 s while it runs", silent, exits(5).within(120)),
];

const SLOW: Fault = Fault::Slow(Duration::from_millis(100));
const SLOWER: Fault = Fault::Slow(Duration::from_millis(500));
/// How long a server is away, which must be less than `lostAfter`.
const BREAK: Duration = Duration::from_secs(2);

/// Returns a wire to the stage's server.
pub(super) fn wire(stage: &Stage, fault: Fault) -> Result<Wire> {
    let lab = &stage.bench.lab;
    if stage.bench.backend == Backend::Docker {
        let host = lab.docker_host.as_deref().context("no engine")?;
        let server = match host.strip_prefix("unix://") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(resolved(host)?),
        };
        return Wire::new(server, stage.bench.folders.root(), fault);
    }
    let mut address = String::new();
    changed(&stage.bench, |cluster, _| {
        cluster["server"].as_str().unwrap_or_default().clone_into(&mut address);
    })?;
    Wire::new(Address::Tcp(resolved(&address)?), stage.bench.folders.root(), fault)
}

fn resolved(url: &str) -> Result<SocketAddr> {
    let host = url.split("://").nth(1).context("no address")?.trim_end_matches('/');
    host.to_socket_addrs()?.next().context("no address")
}

/// Returns `command`, which reaches its server at `address`.
fn through(stage: &Stage, command: Longshore, address: &Address) -> Result<Longshore> {
    let address = match address {
        Address::Unix(path) => {
            return Ok(command.env("DOCKER_HOST", format!("unix://{}", path.display())));
        }
        Address::Tcp(address) if stage.bench.backend == Backend::Docker => {
            return Ok(command.env("DOCKER_HOST", format!("tcp://{address}")));
        }
        Address::Tcp(address) => address,
    };
    let file = changed(&stage.bench, |cluster, _| redirect(cluster, *address))?;
    Ok(command.env("KUBECONFIG", file))
}

/// Makes the `cluster` of a kubeconfig have its API server at `address`.
pub(super) fn redirect(cluster: &mut Value, address: SocketAddr) {
    let name = cluster["server"].as_str().unwrap_or_default().to_owned();
    let name = name.trim_start_matches("https://").trim_end_matches('/');
    let name = name.rsplit_once(':').map_or(name, |(host, _)| host);
    cluster["tls-server-name"] = name.into();
    cluster["server"] = format!("https://{address}").into();
}

/// Returns a command whose job may run on the stage's runner or else as a local process.
fn either_way(stage: &Stage, address: &Address, script: &str) -> Result<Longshore> {
    let script = format!("echo start >> {{jobDir}}/output/trace; {script}");
    let (image, mark) = (stage.bench.image()?, &stage.mark);
    let file = stage.file(&format!(
        "labels = {{ accident = '{mark}' }}\n\
         [container]\nimage = '{image}'\nargs = ['sh', '-c', '''{script}''']\n\
         [process]\ncommand = ['sh', '-c', '''{script}''']\n"
    ))?;
    let command = stage.bench.with(&[stage.bench.backend, Backend::Process])?.arg("run");
    let command = command.result(stage.bench.folders.result()).arg("--job-dir");
    let command = command.arg(stage.directory.path()).arg(file);
    through(stage, command, address)
}

fn with(stage: &mut Stage, fault: Fault) -> Checked<Ran> {
    let wire = wire(stage, fault)?;
    let command = either_way(stage, &wire.address, "exit 3")?;
    let ran = stage.run(command)?;
    let runner = &ran.result()?["runner"];
    ensure!(runner == stage.bench.backend.name(), "it ran on {runner}: {}", ran.stderr);
    Ok(ran)
}

/// Loses one piece, and fails if there was no such piece.
fn losing(stage: &mut Stage, fault: Fault) -> Checked<Ran> {
    let wire = wire(stage, fault)?;
    let command = either_way(stage, &wire.address, "exit 3")?;
    let ran = stage.run(command)?;
    ensure!(wire.has_lost(), "nothing was lost: {}", ran.stderr);
    Ok(ran)
}

fn request(stage: &mut Stage, at: usize) -> Checked<Ran> {
    losing(stage, Fault::LoseRequest { at })
}

fn answer(stage: &mut Stage, at: usize) -> Checked<Ran> {
    losing(stage, Fault::LoseAnswer { at })
}

/// Runs a job that no server takes, so that it runs as a local process.
fn passed_over(stage: &mut Stage, address: &Address) -> Checked<Ran> {
    let command = either_way(stage, address, "exit 3")?.env("JOB_CONNECTTIMEOUT", "1s");
    let command = command.env("JOB_DOCKER_CONNECTTIMEOUT", "1s");
    let ran = stage.run(command.env("JOB_KUBERNETES_CONNECTTIMEOUT", "1s"))?;
    let over = &ran.result()?["passedOver"];
    ensure!(over[0]["kind"] == "Unavailable", "passed over: {over}");
    Ok(ran)
}

fn refused(stage: &mut Stage) -> Checked<Ran> {
    if stage.bench.backend == Backend::Docker {
        let path = stage.bench.folders.root().join("closed.sock");
        drop(UnixListener::bind(&path)?);
        return passed_over(stage, &Address::Unix(path));
    }
    passed_over(stage, &Address::Tcp(refusing()?))
}

fn never_answers(stage: &mut Stage) -> Checked<Ran> {
    let wire = wire(stage, Fault::Hole)?;
    passed_over(stage, &wire.address)
}

fn reset(stage: &mut Stage) -> Checked<Ran> {
    let wire = wire(stage, Fault::None)?;
    let command = either_way(stage, &wire.address, WAITS)?;
    let running = stage.started(command)?;
    wire.reset();
    stage.let_go(running)
}

/// The job ends while the server cannot be reached.
fn interrupted(stage: &mut Stage, fault: Fault) -> Checked<Ran> {
    let wire = wire(stage, Fault::None)?;
    let command = either_way(stage, &wire.address, WAITS)?;
    let running = stage.started(command)?;
    wire.set(fault);
    if fault == Fault::Closed {
        wire.reset();
    }
    stage.directory.input("go", "")?;
    // The break is the fault; nothing is waited for.
    thread::sleep(BREAK);
    wire.set(Fault::None);
    // What is lost in the silence is lost for good.
    wire.reset();
    stage.finish(running)
}

fn away(stage: &mut Stage) -> Checked<Ran> {
    interrupted(stage, Fault::Closed)
}

fn silent(stage: &mut Stage) -> Checked<Ran> {
    interrupted(stage, Fault::Hole)
}

fn gone(stage: &mut Stage) -> Checked<Ran> {
    let wire = wire(stage, Fault::None)?;
    let command = either_way(stage, &wire.address, WAITS)?.env("JOB_LOSTAFTER", "3s");
    let running = stage.started(command)?;
    wire.set(Fault::Closed);
    wire.reset();
    stage.finish(running)
}

//! The components that the lab runs: their trait and their list.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::graph::Done;
use super::layout::Lab;
use super::process::{self, Launch};
use super::state::{self, Record};
use super::{
    api_service, containerd, control_plane, docker, etcd, kubelet, port, registry, shell, toxiproxy,
};

/// A part of the lab that can be brought up on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Group {
    /// Debian's Docker engine on its own socket.
    Docker,
    /// A current Docker engine on its own socket.
    Docker29,
    /// Image registries: 127.0.0.1:5000 and, with a login, 127.0.0.1:5001.
    Registry,
    /// A cluster of one node, its API on 127.0.0.1:6443.
    Kubernetes,
    /// A proxy that breaks connections, its API on 127.0.0.1:8474.
    Toxiproxy,
    /// The command that installs charts, and the API's Service address for Pods.
    Helm,
}

impl Group {
    pub(crate) const ALL: [Self; 6] = [
        Self::Docker,
        Self::Docker29,
        Self::Registry,
        Self::Kubernetes,
        Self::Toxiproxy,
        Self::Helm,
    ];

    /// Returns the groups that this group requires.
    pub(crate) const fn brings(self) -> &'static [Self] {
        match self {
            // For the images of its Pods.
            Self::Kubernetes => &[Self::Registry],
            Self::Helm => &[Self::Registry, Self::Kubernetes],
            _ => &[],
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Docker => "docker",
            Self::Docker29 => "docker29",
            Self::Registry => "registry",
            Self::Kubernetes => "kubernetes",
            Self::Toxiproxy => "toxiproxy",
            Self::Helm => "helm",
        })
    }
}

/// A long-running program of the lab.
pub(crate) trait Component: Sync {
    /// Returns the name that users see. It also names the record, the log and the step.
    fn name(&self) -> &'static str;

    fn group(&self) -> Group;

    /// Returns the steps and components that must be done or ready before it starts.
    fn needs(&self) -> &'static [&'static str];

    /// Returns the addresses that it listens on. They are checked before it starts.
    fn addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }

    /// Returns whether it works only as root.
    fn needs_root(&self) -> bool {
        false
    }

    /// Writes its configuration and returns how to run it.
    fn launch(&self, lab: &Lab) -> Result<Launch>;

    /// Fails with the reason while it cannot be used.
    fn ready(&self, lab: &Lab) -> Result<()>;

    /// Returns the program that prints its version when run with `--version`.
    fn program(&self, lab: &Lab) -> PathBuf;

    /// Returns the endpoint at which others reach it.
    fn endpoint(&self, lab: &Lab) -> String;

    /// Returns how long it may take to end after SIGTERM.
    fn grace(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// Returns every component, each after those that it needs.
pub(crate) fn all() -> [&'static dyn Component; 12] {
    [
        &registry::OPEN,
        &registry::PRIVATE,
        &docker::DEBIAN,
        &docker::CURRENT,
        &toxiproxy::Toxiproxy,
        &etcd::Etcd,
        &containerd::Containerd,
        &control_plane::ApiServer,
        &control_plane::ControllerManager,
        &control_plane::Scheduler,
        &kubelet::Kubelet,
        &api_service::ApiService,
    ]
}

fn named(name: &str) -> Result<&'static dyn Component> {
    let names = || all().map(|component| component.name()).join(", ");
    all()
        .into_iter()
        .find(|component| component.name() == name)
        .with_context(|| format!("there is no component {name:?}; there are {}", names()))
}

/// Starts the component `name` and waits until it is ready. A component that
/// already runs is not restarted.
///
/// # Errors
/// If there is no such component, its port is in use, or it does not become
/// ready. The error then ends with the last lines of its log.
pub fn start(lab: &Lab, name: &str) -> Result<()> {
    let component = named(name)?;
    let _lock = lab.lock()?;
    ensure(lab, component).map(drop)
}

/// Stops the component `name` with SIGTERM and, if it does not end, with SIGKILL.
/// With `kill`, sends SIGKILL at once. Does nothing if it does not run.
///
/// # Errors
/// If there is no such component or it does not end.
pub fn stop(lab: &Lab, name: &str, kill: bool) -> Result<()> {
    let component = named(name)?;
    let _lock = lab.lock()?;
    end(lab, component, kill).map(drop)
}

/// Starts `component` unless it runs, and waits until it is ready.
pub(crate) fn ensure(lab: &Lab, component: &dyn Component) -> Result<Done> {
    if let Some(record) = state::running(lab, component.name())? {
        wait_until_ready(lab, component, &record)?;
        return Ok(Done::Already);
    }
    for address in component.addresses() {
        port::check_free(address, component.name())?;
    }
    let launch = component.launch(lab)?;
    let identity = process::spawn(lab, &launch, &lab.log(component.name()))?;
    let record = Record { name: component.name().to_owned(), identity };
    state::save(lab, &record)?;
    wait_until_ready(lab, component, &record)?;
    Ok(Done::Changed(format!("started, process {}", record.identity.pid)))
}

/// Stops `component`. Returns true if it was running.
pub(crate) fn end(lab: &Lab, component: &dyn Component, kill: bool) -> Result<bool> {
    let Some(record) = state::running(lab, component.name())? else {
        state::forget(lab, component.name())?;
        return Ok(false);
    };
    let ended = if kill { record.identity.kill() } else { record.identity.stop(component.grace()) };
    ended.with_context(|| format!("failed to stop {}", component.name()))?;
    state::forget(lab, component.name())?;
    Ok(true)
}

fn wait_until_ready(lab: &Lab, component: &dyn Component, record: &Record) -> Result<()> {
    let name = component.name();
    let ready = || {
        if !record.identity.is_alive() {
            return Err(Verdict::Never(anyhow!("{name} has ended")));
        }
        component.ready(lab).map_err(Verdict::NotYet)
    };
    poll(Duration::from_secs(90), ready).map_err(|error| {
        let log = log_tail(lab, name);
        anyhow!("failed to bring up {name}: {error:#}; its log ends\n{log}")
    })
}

fn log_tail(lab: &Lab, name: &str) -> String {
    let text = fs::read(lab.log(name)).unwrap_or_default();
    shell::tail(&String::from_utf8_lossy(&text), 20)
}

/// The reason why a condition does not hold.
pub(crate) enum Verdict {
    NotYet(anyhow::Error),
    Never(anyhow::Error),
}

/// Polls `condition` until it holds.
pub(crate) fn poll(within: Duration, condition: impl Fn() -> Result<(), Verdict>) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        match condition() {
            Ok(()) => return Ok(()),
            Err(Verdict::Never(error)) => return Err(error),
            Err(Verdict::NotYet(error)) if Instant::now() >= deadline => {
                return Err(error.context(format!("not ready within {} s", within.as_secs())));
            }
            Err(Verdict::NotYet(_)) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Fails unless `holds`.
pub(crate) fn expect(holds: bool, otherwise: &str) -> Result<()> {
    if !holds {
        bail!("{otherwise}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_stand_after_what_they_need() {
        let names = all().map(|component| component.name());
        for (index, component) in all().iter().enumerate() {
            for need in component.needs() {
                let place = names.iter().position(|name| name == need);
                assert!(place.is_none_or(|place| place < index), "{need}");
            }
        }
    }

    #[test]
    fn an_unknown_component_is_told_the_known_ones() {
        let error = named("dockerd").err().unwrap().to_string();
        assert!(error.contains("docker, docker29"), "{error}");
    }
}

//! The Docker engines: Debian's, which has its own image store, and a current
//! one, which uses the image store of containerd. Each has its own socket,
//! storage and bridge, beside any other engine of the machine. The default socket
//! is not created.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::component::{Component, Group, Verdict, ensure, expect, poll};
use super::http::Server;
use super::layout::{Lab, make_dir};
use super::network::Bridge;
use super::process::{Identity, Launch, lab_of};
use super::{cgroup, network, state};

/// How long an engine may take to reload its configuration.
const RELOAD: Duration = Duration::from_secs(20);

pub(crate) struct Engine {
    name: &'static str,
    group: Group,
    needs: &'static [&'static str],
    bridge: &'static Bridge,
    /// Whether it and the programs that it runs are built from source; otherwise it is Debian's.
    built: bool,
    /// Whether its containers continue when it goes down.
    live_restore: bool,
}

pub(crate) const DEBIAN: Engine = Engine {
    name: "docker",
    group: Group::Docker,
    needs: &["packages"],
    bridge: &network::DOCKER,
    built: false,
    live_restore: false,
};

pub(crate) const CURRENT: Engine = Engine {
    name: "docker29",
    group: Group::Docker29,
    needs: &["packages", "build engine"],
    bridge: &network::DOCKER29,
    built: true,
    live_restore: false,
};

impl Engine {
    fn socket(&self, lab: &Lab) -> PathBuf {
        lab.run(&format!("{}.sock", self.name))
    }

    fn pid_file(&self, lab: &Lab) -> PathBuf {
        lab.run(&format!("{}.pid", self.name))
    }

    fn config(&self, lab: &Lab) -> PathBuf {
        lab.etc(&format!("{}.json", self.name))
    }

    /// Writes its configuration. Without a file, the engine would read the machine's own.
    fn configure(&self, lab: &Lab) -> Result<()> {
        let config = serde_json::json!({ "live-restore": self.live_restore });
        lab.write(&self.config(lab), format!("{config}\n"))
    }

    /// Makes the engine reload its configuration, and waits until the configuration is in effect.
    fn reload(&self, lab: &Lab, identity: &Identity) -> Result<()> {
        self.configure(lab)?;
        identity.hang_up()?;
        poll(RELOAD, || self.does_as_told(lab).map_err(Verdict::NotYet))
            .with_context(|| format!("failed to reload {}", self.name))
    }

    fn does_as_told(&self, lab: &Lab) -> Result<()> {
        let answer = Server::Unix(self.socket(lab)).get("/info")?;
        let info: serde_json::Value = serde_json::from_slice(&answer.body)?;
        expect(
            info["LiveRestoreEnabled"] == self.live_restore,
            "the engine has another live-restore setting",
        )
    }

    /// Returns the engine's address, as for `DOCKER_HOST`.
    pub(crate) fn host(&self, lab: &Lab) -> String {
        format!("unix://{}", self.socket(lab).display())
    }
}

/// Runs the engine `name` with or without `live-restore`. A running engine is reloaded, so that its
/// containers continue. Any other start of an engine is without `live-restore`.
///
/// # Errors
/// If there is no such engine, or it does not become ready.
pub fn run_engine(lab: &Lab, name: &str, live_restore: bool) -> Result<()> {
    let engine = [DEBIAN, CURRENT].into_iter().find(|engine| engine.name == name);
    let engine = engine.with_context(|| format!("there is no engine {name:?}"))?;
    let engine = Engine { live_restore, ..engine };
    let _lock = lab.lock()?;
    match state::running(lab, name)? {
        Some(record) => engine.reload(lab, &record.identity),
        None => ensure(lab, &engine).map(drop),
    }
}

impl Component for Engine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn group(&self) -> Group {
        self.group
    }

    fn needs(&self) -> &'static [&'static str] {
        self.needs
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        let exec_root = lab.run(self.name);
        make_dir(lab.run_root())?;
        let pid_file = self.pid_file(lab);
        if !is_alive(read_pid(&pid_file)) {
            remove(&pid_file)?;
        }
        end_orphan(lab, &exec_root.join("containerd/containerd.pid"))?;
        network::ensure(self.bridge)?;
        cgroup::ensure()?;
        self.configure(lab)?;
        let program = self.program(lab);
        let mut launch = Launch::new(&program);
        if self.built {
            // It finds its containerd, its runc and its proxy there.
            launch = launch.prefer(program.parent().unwrap_or(lab.root()));
        }
        Ok(launch
            .flag("config-file", self.config(lab))
            .flag("host", self.host(lab))
            .flag("data-root", lab.data(self.name))
            .flag("exec-root", exec_root)
            .flag("pidfile", self.pid_file(lab))
            .flag("bridge", self.bridge.name)
            // The lab must not change the machine's firewall.
            .flag("iptables", "false")
            .flag("ip6tables", "false")
            .flag("cgroup-parent", cgroup::of(self.name))
            .flag("exec-opt", "native.cgroupdriver=cgroupfs"))
    }

    fn ready(&self, lab: &Lab) -> Result<()> {
        let answer = Server::Unix(self.socket(lab)).get("/_ping")?;
        expect(answer.status == 200, "the engine does not answer its ping with 200")
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        if self.built { lab.bin("engine/dockerd") } else { "dockerd".into() }
    }

    fn endpoint(&self, lab: &Lab) -> String {
        self.host(lab)
    }
}

/// Ends the containerd that a killed engine left behind, which may already be ending. The next
/// engine would take it for its own, even as an unreaped zombie, and wait in vain for its answer.
/// The containers continue under their shims.
fn end_orphan(lab: &Lab, pid_file: &Path) -> Result<()> {
    let pid = read_pid(pid_file);
    if let Ok(orphan) = Identity::of(pid)
        && lab_of(pid).as_deref() == Some(lab.root())
    {
        orphan.stop(Duration::from_secs(5))?;
    }
    remove(pid_file)
}

fn read_pid(pid_file: &Path) -> u32 {
    fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Returns whether the process is alive. An unreaped zombie is not; the engine would treat it as
/// alive.
fn is_alive(pid: u32) -> bool {
    Identity::of(pid).is_ok_and(|identity| identity.is_alive())
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

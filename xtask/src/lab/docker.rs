//! The Docker engines, each with a socket, storage and bridge of its own,
//! beside any other engine of the machine: Debian's, which stores images in
//! its own way, and a current one, which leaves them to containerd. The
//! default socket stays absent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::component::{Component, Group, expect};
use super::http::Server;
use super::layout::{Lab, make_dir};
use super::network::Bridge;
use super::process::{Identity, Launch};
use super::{cgroup, network};

pub(crate) struct Engine {
    name: &'static str,
    group: Group,
    needs: &'static [&'static str],
    bridge: &'static Bridge,
    /// Built with all that it runs, or Debian's.
    built: bool,
}

pub(crate) const DEBIAN: Engine = Engine {
    name: "docker",
    group: Group::Docker,
    needs: &["packages"],
    bridge: &network::DOCKER,
    built: false,
};

pub(crate) const CURRENT: Engine = Engine {
    name: "docker29",
    group: Group::Docker29,
    needs: &["packages", "build engine"],
    bridge: &network::DOCKER29,
    built: true,
};

impl Engine {
    fn socket(&self, lab: &Lab) -> PathBuf {
        lab.run(&format!("{}.sock", self.name))
    }

    fn pid_file(&self, lab: &Lab) -> PathBuf {
        lab.run(&format!("{}.pid", self.name))
    }

    /// What the engine is addressed by.
    pub(crate) fn host(&self, lab: &Lab) -> String {
        format!("unix://{}", self.socket(lab).display())
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
        remove_stale(&self.pid_file(lab))?;
        remove_stale(&exec_root.join("containerd/containerd.pid"))?;
        network::ensure(self.bridge)?;
        cgroup::ensure()?;
        // A file, though an empty one: else the machine's own would be read.
        let config = lab.etc(&format!("{}.json", self.name));
        lab.write(&config, "{}\n")?;
        let program = self.program(lab);
        let mut launch = Launch::new(&program);
        if self.built {
            // Where it finds its containerd, its runc and its proxy.
            launch = launch.prefer(program.parent().unwrap_or(lab.root()));
        }
        Ok(launch
            .flag("config-file", config)
            .flag("host", self.host(lab))
            .flag("data-root", lab.data(self.name))
            .flag("exec-root", exec_root)
            .flag("pidfile", self.pid_file(lab))
            .flag("bridge", self.bridge.name)
            // The machine's firewall is not the lab's to change.
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

/// The engine takes a killed predecessor that nobody has reaped yet for a
/// living one.
fn remove_stale(pid_file: &Path) -> Result<()> {
    let Ok(text) = fs::read_to_string(pid_file) else {
        return Ok(());
    };
    let pid = text.trim().parse().unwrap_or(0);
    if Identity::of(pid).is_ok_and(|identity| identity.is_alive()) {
        return Ok(());
    }
    fs::remove_file(pid_file).with_context(|| format!("failed to remove {}", pid_file.display()))
}

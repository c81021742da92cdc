//! The Docker engine: Debian's dockerd, with a socket, storage and bridge of
//! its own, beside any other engine of the machine. The default socket stays
//! absent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::component::{Component, Group, expect};
use super::http::Server;
use super::layout::{Lab, make_dir};
use super::process::{Identity, Launch};
use super::{cgroup, network};

pub(crate) struct Docker;

impl Component for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn group(&self) -> Group {
        Group::Docker
    }

    fn needs(&self) -> &'static [&'static str] {
        &["packages"]
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        make_dir(lab.run_root())?;
        remove_stale(&lab.run("docker.pid"))?;
        remove_stale(&lab.run("docker/containerd/containerd.pid"))?;
        network::ensure(&network::DOCKER)?;
        cgroup::ensure()?;
        // A file, though an empty one: else the machine's own would be read.
        let config = lab.etc("docker.json");
        lab.write(&config, "{}\n")?;
        Ok(Launch::new("dockerd")
            .flag("config-file", config)
            .flag("host", format!("unix://{}", lab.docker_socket().display()))
            .flag("data-root", lab.data("docker"))
            .flag("exec-root", lab.run("docker"))
            .flag("pidfile", lab.run("docker.pid"))
            .flag("bridge", network::DOCKER.name)
            // The machine's firewall is not the lab's to change.
            .flag("iptables", "false")
            .flag("ip6tables", "false")
            .flag("cgroup-parent", cgroup::of("docker"))
            .flag("exec-opt", "native.cgroupdriver=cgroupfs"))
    }

    fn ready(&self, lab: &Lab) -> Result<()> {
        let answer = Server::Unix(lab.docker_socket()).get("/_ping")?;
        expect(answer.status == 200, "the engine does not answer its ping with 200")
    }

    fn program(&self, _lab: &Lab) -> PathBuf {
        "dockerd".into()
    }

    fn endpoint(&self, lab: &Lab) -> String {
        format!("unix://{}", lab.docker_socket().display())
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

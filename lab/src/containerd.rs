//! The container runtime of the kubelet: the current containerd, separate from
//! those that the Docker engines start for themselves. Debian's containerd 1.6
//! cuts off what a container wrote just before its end, with any client.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::component::{Component, Group};
use super::layout::{Lab, NODE, make_dir};
use super::process::Launch;
use super::{images, network, registry, shell};

pub(crate) struct Containerd;

impl Component for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn group(&self) -> Group {
        Group::Kubernetes
    }

    fn needs(&self) -> &'static [&'static str] {
        &["packages", "build engine"]
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        make_dir(lab.run_root())?;
        network::ensure(&network::PODS)?;
        let config = lab.etc("containerd.toml");
        lab.write(&config, configuration(lab))?;
        lab.write(&lab.etc("cni/10-pods.conflist"), pod_network(lab)?)?;
        for registry in registry::ALL {
            let file = registries(lab).join(registry.host).join("hosts.toml");
            lab.write(&file, hosts(&registry.endpoint(lab)))?;
        }
        let program = self.program(lab);
        // It finds its shim and its runc there.
        let launch = Launch::new(&program).prefer(program.parent().unwrap_or(lab.root()));
        Ok(launch.flag("config", config).flag("log-level", "info"))
    }

    fn ready(&self, lab: &Lab) -> Result<()> {
        control(lab, ["version"]).map(drop)
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        lab.bin("engine/containerd")
    }

    fn endpoint(&self, lab: &Lab) -> String {
        format!("unix://{}", socket(lab).display())
    }
}

pub(crate) fn socket(lab: &Lab) -> PathBuf {
    lab.run("containerd/containerd.sock")
}

/// Runs containerd's own client in the kubelet's namespace.
pub(crate) fn control<const N: usize>(lab: &Lab, args: [&str; N]) -> Result<String> {
    let socket = socket(lab);
    let socket = socket.to_string_lossy();
    let base = ["--namespace", "k8s.io", "--timeout", "30s", "--address", socket.as_ref()];
    shell::run("ctr", base.iter().chain(&args))
}

/// Returns the folder with a subfolder for each registry, named by its host and
/// port, with a `hosts.toml`. For loopback registries without one, containerd
/// uses HTTP.
fn registries(lab: &Lab) -> PathBuf {
    lab.etc("registries")
}

fn hosts(server: &str) -> String {
    format!("server = {server:?}\n\n[host.{server:?}]\ncapabilities = [\"pull\", \"resolve\"]\n")
}

fn configuration(lab: &Lab) -> String {
    let cri = r#"[plugins."io.containerd.grpc.v1.cri""#;
    format!(
        r#"version = 2
root = {root:?}
state = {state:?}
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
address = {socket:?}

[plugins."io.containerd.internal.v1.opt"]
path = {opt:?}

{cri}]
sandbox_image = {pause:?}
# A lower oom_score_adj than one's own takes a privilege that root may lack.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
# A Pod whose pull gets no answer can be taken back only once the pull is given up.
image_pull_progress_timeout = "15s"
stream_server_address = "127.0.0.1"

{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = {runc:?}

{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = {cni:?}

{cri}.registry]
config_path = {registries:?}
"#,
        root = lab.data("containerd"),
        state = lab.run("containerd"),
        socket = socket(lab),
        runc = lab.run("runc"),
        opt = lab.data("containerd-opt"),
        pause = images::pause(),
        cni = lab.etc("cni"),
        registries = registries(lab),
    )
}

fn pod_network(lab: &Lab) -> Result<Vec<u8>> {
    let network = json!({
        "cniVersion": "0.4.0",
        "name": NODE,
        "plugins": [{
            "type": "bridge",
            "bridge": network::PODS.name,
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": lab.data("cni"),
                "ranges": [[{
                    "subnet": network::PODS.subnet(),
                    "gateway": network::PODS.address,
                }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    Ok(serde_json::to_vec_pretty(&network)?)
}

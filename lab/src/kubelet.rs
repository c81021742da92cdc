//! The kubelet: the node that runs the Pods.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::component::{Component, Group, expect};
use super::containerd;
use super::http::Server;
use super::layout::{Lab, NODE, make_dir};
use super::process::Launch;
use super::{certificates, cgroup, network};

pub(crate) struct Kubelet;

impl Component for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn group(&self) -> Group {
        Group::Kubernetes
    }

    fn needs(&self) -> &'static [&'static str] {
        &["apiserver", "containerd"]
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        let node = SocketAddr::new(IpAddr::V4(network::PODS.address), network::KUBELET_PORT);
        vec![network::KUBELET_HEALTH, node]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        network::ensure(&network::PODS)?;
        cgroup::ensure()?;
        make_dir(&lab.data("pod-logs"))?;
        let config = lab.etc("kubelet.json");
        lab.write(&config, configuration(lab)?)?;
        Ok(Launch::new(self.program(lab))
            .flag("config", config)
            .flag("kubeconfig", certificates::kubeconfig(lab, "kubelet"))
            .flag("root-dir", lab.data("kubelet"))
            .flag("cert-dir", certificates::path(lab, "kubelet"))
            .flag("hostname-override", NODE)
            .flag("node-ip", network::PODS.address.to_string()))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        let answer = Server::Tcp(network::KUBELET_HEALTH).get("/healthz")?;
        expect(answer.status == 200, "the kubelet is not healthy")
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        lab.bin("kubelet")
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("https://{}:{}", network::PODS.address, network::KUBELET_PORT)
    }
}

fn configuration(lab: &Lab) -> Result<Vec<u8>> {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network::PODS.address,
        "port": network::KUBELET_PORT,
        "healthzBindAddress": network::KUBELET_HEALTH.ip(),
        "healthzPort": network::KUBELET_HEALTH.port(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": false },
            "x509": { "clientCAFile": certificates::path(lab, "ca.crt") },
        },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": containerd::Containerd.endpoint(lab),
        "podLogsDir": lab.data("pod-logs"),
        "volumePluginDir": lab.data("volume-plugins"),
        // Lookups there are refused at once. Without the setting each Pod gets a warning.
        "clusterDNS": [network::PODS.address],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup::of(""),
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "oomScoreAdj": 0,
        // A developer's disk is often nearly full, and images must stay.
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "100Mi",
            "imagefs.available": "100Mi",
        },
        "imageGCHighThresholdPercent": 100,
        "registryPullQPS": 0,
        "serializeImagePulls": false,
    });
    Ok(serde_json::to_vec_pretty(&config)?)
}

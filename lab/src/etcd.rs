//! The store of the Kubernetes API. Its data need not survive a crash of the
//! machine, so it does not wait for the disk.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::component::{Component, Group, expect};
use super::http::Server;
use super::layout::{Lab, make_dir};
use super::network;
use super::process::Launch;

pub(crate) struct Etcd;

impl Component for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn group(&self) -> Group {
        Group::Kubernetes
    }

    fn needs(&self) -> &'static [&'static str] {
        &["packages"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![network::ETCD, network::ETCD_PEERS]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        let data = lab.data("etcd");
        if let Some(parent) = data.parent() {
            make_dir(parent)?;
        }
        let clients = self.endpoint(lab);
        let peers = format!("http://{}", network::ETCD_PEERS);
        Ok(Launch::new("etcd")
            .flag("name", "lab")
            .flag("data-dir", data)
            .flag("unsafe-no-fsync", "true")
            .flag("listen-client-urls", &clients)
            .flag("advertise-client-urls", &clients)
            .flag("listen-peer-urls", &peers)
            .flag("initial-advertise-peer-urls", &peers)
            .flag("initial-cluster", format!("lab={peers}"))
            .flag("log-level", "warn"))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        let answer = Server::Tcp(network::ETCD).get("/health")?;
        expect(answer.status == 200, "etcd is not healthy")
    }

    fn program(&self, _lab: &Lab) -> PathBuf {
        "etcd".into()
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("http://{}", network::ETCD)
    }
}

//! The registry: Debian's docker-registry, deletion enabled, nobody asked to
//! log in. Its log holds a line for each request.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::component::{Component, Group, expect};
use super::http::Server;
use super::layout::Lab;
use super::network;
use super::process::Launch;

pub(crate) struct Registry;

impl Component for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn group(&self) -> Group {
        Group::Registry
    }

    fn needs(&self) -> &'static [&'static str] {
        &["packages"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![network::REGISTRY]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        let config = lab.etc("registry.yaml");
        lab.write(&config, configuration(lab))?;
        Ok(Launch::new("docker-registry").arg("serve").arg(config.to_string_lossy()))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        let answer = Server::Tcp(network::REGISTRY).get("/v2/")?;
        expect(answer.status == 200, "the registry does not answer with 200")
    }

    fn program(&self, _lab: &Lab) -> PathBuf {
        "docker-registry".into()
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("http://{}", network::REGISTRY)
    }
}

fn configuration(lab: &Lab) -> String {
    format!(
        "version: 0.1
log:
  accesslog:
    disabled: false
  level: info
storage:
  filesystem:
    rootdirectory: {:?}
  delete:
    enabled: true
http:
  addr: {}
",
        lab.data("registry"),
        network::REGISTRY
    )
}

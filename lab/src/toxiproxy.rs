//! The proxy that delays, cuts and resets the connections that a test sends
//! through it. It starts without proxies; a test creates its own with the API,
//! <https://github.com/Shopify/toxiproxy#http-api>.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::component::{Component, Group, expect};
use super::http::Server;
use super::layout::Lab;
use super::network;
use super::process::Launch;

pub(crate) struct Toxiproxy;

impl Component for Toxiproxy {
    fn name(&self) -> &'static str {
        "toxiproxy"
    }

    fn group(&self) -> Group {
        Group::Toxiproxy
    }

    fn needs(&self) -> &'static [&'static str] {
        &["build toxiproxy"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![network::TOXIPROXY]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        Ok(Launch::new(self.program(lab))
            .flag("host", network::TOXIPROXY.ip().to_string())
            .flag("port", network::TOXIPROXY.port().to_string()))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        let answer = Server::Tcp(network::TOXIPROXY).get("/version")?;
        expect(answer.status == 200, "toxiproxy does not answer with 200")
    }

    fn program(&self, lab: &Lab) -> PathBuf {
        lab.bin("toxiproxy/server")
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        endpoint()
    }
}

/// Returns the address of its API.
pub(crate) fn endpoint() -> String {
    format!("http://{}", network::TOXIPROXY)
}

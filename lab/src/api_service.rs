//! Forwards the address of the API's Service to the API server, as a kube-proxy
//! would. A program in a Pod looks for the API only at this address.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::component::{Component, Group, expect};
use super::layout::Lab;
use super::process::Launch;
use super::{network, port, shell};

pub(crate) struct ApiService;

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(network::API_SERVICE), 443);

impl Component for ApiService {
    fn name(&self) -> &'static str {
        "api-service"
    }

    fn group(&self) -> Group {
        Group::Helm
    }

    fn needs(&self) -> &'static [&'static str] {
        &["apiserver", "build helm"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![ADDRESS]
    }

    fn needs_root(&self) -> bool {
        true
    }

    fn launch(&self, _lab: &Lab) -> Result<Launch> {
        network::ensure(&network::SERVICE)?;
        let program = shell::find("socat").context("failed to find socat")?;
        Ok(Launch::new(program)
            .arg(format!("TCP-LISTEN:443,bind={},fork,reuseaddr", network::API_SERVICE))
            .arg(format!("TCP:{}", network::API)))
    }

    fn ready(&self, _lab: &Lab) -> Result<()> {
        expect(port::accepts(ADDRESS), "its port is closed")
    }

    fn program(&self, _lab: &Lab) -> PathBuf {
        shell::find("socat").unwrap_or_default()
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("https://{ADDRESS}")
    }
}

//! The lab's addresses and its bridges.
//!
//! Everything listens on loopback except the kubelet. A node's address must not
//! be a loopback one, and taking it from the host's name or default route would
//! make the lab depend on both. So the node has the address of the Pods' bridge,
//! which only this machine can reach.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};

use super::shell;

/// A network device that connects containers.
pub(crate) struct Bridge {
    pub name: &'static str,
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Bridge {
    /// Returns its own address in CIDR notation.
    fn cidr(&self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }

    /// Returns a hardware address derived from the IP address. A bridge without its own hardware
    /// address takes the address of one of its ports, and another when that port is removed. Peers
    /// of the bridge then cannot reach it for a minute.
    fn hardware(&self) -> String {
        let [a, b, c, d] = self.address.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// Returns its network in CIDR notation.
    pub(crate) fn subnet(&self) -> String {
        let mask = u32::MAX << (32 - u32::from(self.prefix));
        format!("{}/{}", Ipv4Addr::from_bits(self.address.to_bits() & mask), self.prefix)
    }
}

pub(crate) const DOCKER: Bridge =
    Bridge { name: "lsl-docker0", address: Ipv4Addr::new(172, 28, 77, 1), prefix: 24 };
pub(crate) const DOCKER29: Bridge =
    Bridge { name: "lsl-docker29", address: Ipv4Addr::new(172, 28, 78, 1), prefix: 24 };
pub(crate) const PODS: Bridge =
    Bridge { name: "lsl-pods0", address: Ipv4Addr::new(10, 244, 0, 1), prefix: 16 };
/// Connects nothing: it has the address of the API's Service, see `api_service`.
pub(crate) const SERVICE: Bridge =
    Bridge { name: "lsl-service0", address: API_SERVICE, prefix: 32 };
/// Every bridge that the lab creates.
pub(crate) const BRIDGES: [&Bridge; 4] = [&DOCKER, &DOCKER29, &PODS, &SERVICE];

/// The address range of the cluster's Services, and the address of its API in that range.
pub(crate) const SERVICES: &str = "10.96.0.0/24";
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

pub(crate) const REGISTRY: SocketAddr = loopback(5000);
pub(crate) const PRIVATE_REGISTRY: SocketAddr = loopback(5001);
pub(crate) const TOXIPROXY: SocketAddr = loopback(8474);
pub(crate) const ETCD: SocketAddr = loopback(2379);
pub(crate) const ETCD_PEERS: SocketAddr = loopback(2380);
pub(crate) const API: SocketAddr = loopback(6443);
pub(crate) const CONTROLLER_MANAGER: SocketAddr = loopback(10257);
pub(crate) const SCHEDULER: SocketAddr = loopback(10259);
pub(crate) const KUBELET_HEALTH: SocketAddr = loopback(10248);
pub(crate) const KUBELET_PORT: u16 = 10250;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Creates `bridge` if it does not exist.
pub(crate) fn ensure(bridge: &Bridge) -> Result<()> {
    if exists(bridge.name) {
        return Ok(());
    }
    let ip = |args: &[&str]| shell::run("ip", args);
    let make = || -> Result<()> {
        let hardware = bridge.hardware();
        ip(&["link", "add", "name", bridge.name, "address", &hardware, "type", "bridge"])?;
        ip(&["address", "add", &bridge.cidr(), "dev", bridge.name])?;
        ip(&["link", "set", bridge.name, "up"])?;
        Ok(())
    };
    make().with_context(|| format!("failed to create the bridge {}", bridge.name))
}

/// Removes `bridge`. Returns true if it existed.
pub(crate) fn remove(bridge: &Bridge) -> Result<bool> {
    if !exists(bridge.name) {
        return Ok(false);
    }
    shell::run("ip", ["link", "delete", bridge.name])
        .with_context(|| format!("failed to remove the bridge {}", bridge.name))?;
    Ok(true)
}

pub(crate) fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_a_local_one() {
        assert_eq!(PODS.hardware(), "02:42:0a:f4:00:01");
    }

    #[test]
    fn a_subnet_is_without_the_host() {
        assert_eq!(PODS.subnet(), "10.244.0.0/16");
        assert_eq!(DOCKER.subnet(), "172.28.77.0/24");
    }
}

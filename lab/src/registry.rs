//! The registries: Debian's docker-registry twice, with deletion enabled, each
//! with its own storage. One requires no login, the other always does. Their logs
//! have a line for each request.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use super::component::{Component, Group, expect};
use super::layout::Lab;
use super::process::Launch;
use super::{http, login, network};

pub(crate) struct Registry {
    name: &'static str,
    address: SocketAddr,
    /// The host as images name it. `127.0.0.1` is the same registry.
    pub host: &'static str,
    private: bool,
}

pub(crate) const OPEN: Registry = Registry {
    name: "registry",
    address: network::REGISTRY,
    host: "localhost:5000",
    private: false,
};

pub(crate) const PRIVATE: Registry = Registry {
    name: "registry-private",
    address: network::PRIVATE_REGISTRY,
    host: "localhost:5001",
    private: true,
};

pub(crate) const ALL: [&Registry; 2] = [&OPEN, &PRIVATE];

impl Registry {
    /// Returns a client for the registry, logged in if required.
    pub(crate) fn client(&self, lab: &Lab) -> Result<http::Client> {
        let authorization = if self.private { Some(login::authorization(lab)?) } else { None };
        Ok(http::Client { server: http::Server::Tcp(self.address), authorization })
    }

    fn configuration(&self, lab: &Lab) -> String {
        let storage = lab.data(self.name);
        let address = self.address;
        let mut text = format!(
            "version: 0.1
log:
  accesslog:
    disabled: false
  level: info
storage:
  filesystem:
    rootdirectory: {storage:?}
  delete:
    enabled: true
http:
  addr: {address}
"
        );
        if self.private {
            let file = login::htpasswd(lab);
            text.push_str(&format!(
                "auth:
  htpasswd:
    realm: longshore-lab
    path: {file:?}
"
            ));
        }
        text
    }
}

impl Component for Registry {
    fn name(&self) -> &'static str {
        self.name
    }

    fn group(&self) -> Group {
        Group::Registry
    }

    fn needs(&self) -> &'static [&'static str] {
        &["packages"]
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }

    fn launch(&self, lab: &Lab) -> Result<Launch> {
        if self.private {
            login::ensure(lab)?;
        }
        let config = lab.etc(&format!("{}.yaml", self.name));
        lab.write(&config, self.configuration(lab))?;
        Ok(Launch::new(self.program(lab)).arg("serve").arg(config.to_string_lossy()))
    }

    fn ready(&self, lab: &Lab) -> Result<()> {
        let answer = self.client(lab)?.request("GET", "/v2/", &[], &[])?;
        expect(answer.status == 200, "the registry does not answer with 200")
    }

    fn program(&self, _lab: &Lab) -> PathBuf {
        "docker-registry".into()
    }

    fn endpoint(&self, _lab: &Lab) -> String {
        format!("http://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_private_registry_asks_for_a_login() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::open(Some(dir.path().into())).unwrap();
        assert!(!OPEN.configuration(&lab).contains("auth:"));
        let text = PRIVATE.configuration(&lab);
        assert!(text.contains("auth:") && text.contains("127.0.0.1:5001"), "{text}");
    }

    #[test]
    fn images_name_a_registry_by_its_port() {
        for registry in ALL {
            assert_eq!(registry.host, format!("localhost:{}", registry.address.port()));
        }
    }
}

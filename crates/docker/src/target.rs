//! Which engine an attempt is on.
//!
//! What names the engine is outside the runner: `DOCKER_HOST`, the current context of the docker
//! command, the sockets that exist. Another process may find another engine, and the 404 of an engine
//! on which the attempt never was proves nothing. So a handle has the engine's address, and whatever
//! is asked about an attempt is asked of the engine at that address only.

use std::path::{Path, PathBuf, absolute};

use longshore_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::endpoint::{Address, Endpoint};

/// The most symbolic links that lead to a socket; as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// An engine, by its address. An address has one form, however it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// `unix:///path` without symbolic links, or `tcp://host:port`.
    address: String,
}

impl Target {
    /// The engine at `address`, as the file system is now.
    pub(crate) fn of(address: &Address) -> Self {
        Self {
            address: match address {
                Address::Unix(path) => format!("unix://{}", resolve(path).display()),
                Address::Http(host) => format!("tcp://{}", with_port(host, 80)),
                Address::Tls { host, .. } => format!("tcp://{}", with_port(host, 443)),
            },
        }
    }

    /// Reads what [`Target::of`] became in an attempt or a handle.
    pub(crate) fn read(value: &serde_json::Value) -> serde_json::Result<Self> {
        Self::deserialize(value)
    }

    /// Checks that this is the engine of `endpoint`, which is `connected`.
    ///
    /// # Errors
    /// `Unavailable` if it is on another engine.
    pub(crate) fn ensure_is(&self, endpoint: &Endpoint, connected: &Self) -> Result<()> {
        if self == connected {
            return Ok(());
        }
        let by = endpoint.named_by.unwrap_or("the default");
        let message = format!(
            "the job is on the Docker engine at {}, and {by} names the one at {}",
            self.address, connected.address
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

/// Returns the path of the socket to which `path` leads, also if that socket does not exist now.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    let mut path = absolute(path).unwrap_or_else(|_| path.to_owned());
    for _ in 0..MOST_LINKS {
        let Ok(target) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// Returns `host` in lower case, and with `port` if it has none.
fn with_port(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    match host.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
        true => host,
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn unix(path: PathBuf) -> Target {
        Target::of(&Address::Unix(path))
    }

    #[test]
    fn one_socket_by_two_paths_is_one_target() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("run")).unwrap();
        symlink("run", folder.join("var")).unwrap();
        symlink("run/d.sock", folder.join("link")).unwrap();
        let expected = Target { address: format!("unix://{}/run/d.sock", folder.display()) };
        // First while the engine is away.
        for _ in 0..2 {
            for name in ["run/d.sock", "var/d.sock", "link", "./run/../var/d.sock"] {
                assert_eq!(unix(folder.join(name)), expected, "{name}");
            }
            std::fs::write(folder.join("run/d.sock"), "").unwrap();
        }
        assert_ne!(unix(folder.join("run/e.sock")), expected);
    }

    #[test]
    fn a_link_that_leads_to_another_engine_is_another_target() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("docker.sock");
        symlink("a.sock", &link).unwrap();
        let before = unix(link.clone());
        std::fs::remove_file(&link).unwrap();
        symlink("b.sock", &link).unwrap();
        assert_ne!(unix(link), before);
    }

    #[test]
    fn links_in_a_circle_have_an_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        let _ = unix(folder.path().join("a"));
    }

    #[test]
    fn one_host_in_two_spellings_is_one_target() {
        let http = |host: &str| Target::of(&Address::Http(host.to_owned())).address;
        let tls = |host: &str| {
            let host = host.to_owned();
            Target::of(&Address::Tls { host, certificates: PathBuf::new() }).address
        };
        assert_eq!(http("Build.Example:2375"), "tcp://build.example:2375");
        assert_eq!(tls("build.example:2375"), http("BUILD.example:2375"));
        assert_eq!((http("d"), tls("d")), ("tcp://d:80".to_owned(), "tcp://d:443".to_owned()));
        assert_eq!(http("[::1]"), "tcp://[::1]:80");
        assert_eq!(http("[::1]:1"), "tcp://[::1]:1");
    }

    /// The 404 of another engine was taken for the proof that a job had never started.
    #[test]
    fn an_attempt_on_another_engine_was_not_noticed() {
        let at =
            |host: &str, named_by| Endpoint { address: Address::Http(host.to_owned()), named_by };
        let target = Target::of(&at("a:1", None).address);
        let ensure =
            |endpoint: &Endpoint| target.ensure_is(endpoint, &Target::of(&endpoint.address));
        ensure(&at("A:1", Some("DOCKER_HOST"))).unwrap();
        for (named_by, by) in [(Some("DOCKER_HOST"), "DOCKER_HOST"), (None, "the default")] {
            let error = ensure(&at("b:1", named_by)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let said = format!(
                "the job is on the Docker engine at tcp://a:1, and {by} names the one at tcp://b:1"
            );
            assert_eq!(error.to_string(), said);
        }
    }
}

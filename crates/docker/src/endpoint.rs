//! Finding the engine's address.

use std::path::{Path, PathBuf};

use longshore_core::{Error, ErrorKind, Result};

use crate::DockerConfig;

/// The path of Docker's own socket.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The most bytes of a file of the docker command that are read.
const LONGEST: u64 = 1 << 20;
/// What names the address of a context.
const CONTEXT: &str = "the current docker context";

/// Where the engine is, and what names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// What names the address; `None` for a default. A default socket that we may not open is
    /// unavailable, not a refusal.
    pub(crate) named_by: Option<&'static str>,
}

/// An address, by its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Http(String),
    Tls { host: String, certificates: PathBuf },
}

impl Address {
    /// Whether the engine certainly sees this machine's files.
    pub(crate) const fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(host) => write!(f, "tcp://{host}"),
            Self::Tls { host, .. } => write!(f, "tcp://{host} (TLS)"),
        }
    }
}

/// What the endpoint depends on besides the configuration.
pub(crate) trait World {
    /// An environment variable.
    fn var(&self, name: &str) -> Option<String>;
    /// The text of a regular file of at most [`LONGEST`] bytes, if it is readable.
    fn text(&self, path: &Path) -> Option<String>;
    /// Whether a file exists.
    fn exists(&self, path: &Path) -> bool;
}

/// The process's own environment and file system.
pub(crate) struct ThisProcess;

impl World for ThisProcess {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn text(&self, path: &Path) -> Option<String> {
        // To open anything else, such as a pipe, may take for ever.
        let is_sound = std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.len() <= LONGEST);
        is_sound.then(|| std::fs::read_to_string(path).ok()).flatten()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Finds the engine as the docker command does: the configuration, `DOCKER_HOST`, the current
/// context, the default socket
/// (<https://docs.docker.com/engine/manage-resources/contexts/>), and rootless Docker's socket.
pub(crate) fn find(config: &DockerConfig, world: &dyn World) -> Result<Endpoint> {
    if let Some(host) = &config.host {
        return named(host, "the setting `host`", config, world);
    }
    if let Some(host) = world.var("DOCKER_HOST") {
        return named(&host, "DOCKER_HOST", config, world);
    }
    if let Some(context) = context(world)? {
        let mut endpoint = named(&context.host, CONTEXT, config, world)?;
        if let (Address::Http(host), Some(certificates)) = (&endpoint.address, context.certificates)
        {
            endpoint.address = Address::Tls { host: host.clone(), certificates };
        }
        return Ok(endpoint);
    }
    let rootless = world.var("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("docker.sock"));
    let path = match rootless {
        Some(rootless) if !world.exists(Path::new(DEFAULT_SOCKET)) && world.exists(&rootless) => {
            rootless
        }
        _ => PathBuf::from(DEFAULT_SOCKET),
    };
    Ok(Endpoint { address: Address::Unix(path), named_by: None })
}

fn named(
    host: &str,
    by: &'static str,
    config: &DockerConfig,
    world: &dyn World,
) -> Result<Endpoint> {
    Ok(Endpoint { address: parse(host, by, config, world)?, named_by: Some(by) })
}

fn parse(host: &str, by: &str, config: &DockerConfig, world: &dyn World) -> Result<Address> {
    let refuse = |what: &'static str| {
        Err(Error::new(ErrorKind::Unavailable, what).with("address", host).with("named by", by))
    };
    let Some((scheme, rest)) = host.split_once("://") else {
        return refuse("the engine's address has no scheme: write unix:///path or tcp://host:port");
    };
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() {
        return refuse("the engine's address is empty: write unix:///path or tcp://host:port");
    }
    let tls = config.tls_verify.unwrap_or_else(|| world.var("DOCKER_TLS_VERIFY").is_some());
    match scheme {
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "https" => {
            Ok(Address::Tls { host: rest.to_owned(), certificates: certificates(config, world) })
        }
        "tcp" if tls => {
            Ok(Address::Tls { host: rest.to_owned(), certificates: certificates(config, world) })
        }
        "tcp" | "http" => Ok(Address::Http(rest.to_owned())),
        _ => refuse("the engine's address has a scheme other than unix, tcp, http and https"),
    }
}

fn certificates(config: &DockerConfig, world: &dyn World) -> PathBuf {
    let given =
        config.cert_path.clone().or_else(|| world.var("DOCKER_CERT_PATH").map(PathBuf::from));
    given.unwrap_or_else(|| docker_folder(world).unwrap_or_default())
}

/// The folder of the docker command's own configuration.
fn docker_folder(world: &dyn World) -> Option<PathBuf> {
    let given = world.var("DOCKER_CONFIG").map(PathBuf::from);
    given.or_else(|| world.var("HOME").map(|home| Path::new(&home).join(".docker")))
}

/// A context of the docker command.
struct Context {
    host: String,
    /// The folder of its own certificates, if it has any.
    certificates: Option<PathBuf>,
}

/// The docker command's current context, unless that is the default one. The name of a context's
/// folder is a digest of the context's name; there are few, so this reads each.
///
/// # Errors
/// `Unavailable` if there is no such context: the engine of another one is not the one that was
/// chosen.
fn context(world: &dyn World) -> Result<Option<Context>> {
    let Some(folder) = docker_folder(world) else { return Ok(None) };
    let of_file = || {
        let config = world.text(&folder.join("config.json"))?;
        let config: serde_json::Value = serde_json::from_str(&config).ok()?;
        Some(config.get("currentContext")?.as_str()?.to_owned())
    };
    let chosen = world.var("DOCKER_CONTEXT").map(|name| (name, "DOCKER_CONTEXT"));
    let chosen = chosen.or_else(|| of_file().map(|name| (name, "currentContext of config.json")));
    let Some((current, by)) = chosen.filter(|(name, _)| !matches!(&**name, "" | "default")) else {
        return Ok(None);
    };
    let entries = std::fs::read_dir(folder.join("contexts/meta")).into_iter().flatten().flatten();
    let mut found = entries.filter_map(|entry| {
        let meta = world.text(&entry.path().join("meta.json"))?;
        let meta: serde_json::Value = serde_json::from_str(&meta).ok()?;
        let host = meta.pointer("/Endpoints/docker/Host")?.as_str()?;
        let certificates = folder.join("contexts/tls").join(entry.file_name()).join("docker");
        let certificates = Some(certificates).filter(|folder| world.exists(folder));
        (meta.get("Name")?.as_str()? == current)
            .then(|| Context { host: host.to_owned(), certificates })
    });
    found.next().map(Some).ok_or_else(|| {
        let missing = "there is no such docker context: choose one that `docker context ls` lists";
        Error::new(ErrorKind::Unavailable, missing).with("context", current).with("named by", by)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Fake {
        vars: BTreeMap<&'static str, String>,
        files: Vec<PathBuf>,
    }

    impl World for Fake {
        fn var(&self, name: &str) -> Option<String> {
            self.vars.get(name).cloned()
        }

        fn text(&self, path: &Path) -> Option<String> {
            std::fs::read_to_string(path).ok()
        }

        fn exists(&self, path: &Path) -> bool {
            self.files.contains(&path.to_path_buf())
        }
    }

    fn found(config: &DockerConfig, world: &Fake) -> (String, Option<&'static str>) {
        let endpoint = find(config, world).unwrap();
        (endpoint.address.to_string(), endpoint.named_by)
    }

    #[test]
    fn the_engine_is_found_by_setting_then_environment_then_default_socket() {
        let mut config = DockerConfig::default();
        let mut world = Fake::default();
        assert_eq!(found(&config, &world), ("unix:///var/run/docker.sock".to_owned(), None));
        world.vars.insert("XDG_RUNTIME_DIR", "/run/user/7".to_owned());
        world.files.push("/run/user/7/docker.sock".into());
        assert_eq!(found(&config, &world), ("unix:///run/user/7/docker.sock".to_owned(), None));
        world.vars.insert("DOCKER_HOST", "tcp://d:2376".to_owned());
        assert_eq!(found(&config, &world), ("tcp://d:2376".to_owned(), Some("DOCKER_HOST")));
        world.vars.insert("DOCKER_TLS_VERIFY", "1".to_owned());
        assert_eq!(found(&config, &world).0, "tcp://d:2376 (TLS)");
        config.host = Some("unix:///x.sock".to_owned());
        assert_eq!(
            found(&config, &world),
            ("unix:///x.sock".to_owned(), Some("the setting `host`"))
        );
    }

    #[test]
    fn the_current_docker_context_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let meta = home.path().join(".docker/contexts/meta/abc");
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"far","Endpoints":{"docker":{"Host":"tcp://far:2375"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        let mut world = Fake::default();
        world.vars.insert("HOME", home.path().display().to_string());
        let config = DockerConfig::default();
        assert_eq!(found(&config, &world).1, None, "no context is chosen");
        std::fs::write(home.path().join(".docker/config.json"), r#"{"currentContext":"far"}"#)
            .unwrap();
        let (address, by) = found(&config, &world);
        assert_eq!((address.as_str(), by), ("tcp://far:2375", Some(CONTEXT)));
        let certificates = home.path().join(".docker/contexts/tls/abc/docker");
        world.files.push(certificates.clone());
        let tls = Address::Tls { host: "far:2375".to_owned(), certificates };
        assert_eq!(find(&config, &world).unwrap().address, tls);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_was_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, large) = (folder.path().join("pipe"), folder.path().join("large"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::File::create(&large).unwrap().set_len(LONGEST + 1).unwrap();
        assert_eq!((ThisProcess.text(&pipe), ThisProcess.text(&large)), (None, None));
        std::fs::write(&large, "text").unwrap();
        assert_eq!(ThisProcess.text(&large).as_deref(), Some("text"));
    }

    #[test]
    fn a_context_that_does_not_exist_was_taken_for_the_default_one() {
        let home = tempfile::tempdir().unwrap();
        let mut world = Fake::default();
        world.vars.insert("HOME", home.path().display().to_string());
        world.vars.insert("DOCKER_CONTEXT", "prod".to_owned());
        let config = DockerConfig::default();
        let error = find(&config, &world).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("(context: prod, named by: DOCKER_CONTEXT)"), "{error}");
        world.vars.insert("DOCKER_CONTEXT", "default".to_owned());
        assert_eq!(found(&config, &world).1, None);
        world.vars.remove("DOCKER_CONTEXT");
        std::fs::create_dir(home.path().join(".docker")).unwrap();
        let file = home.path().join(".docker/config.json");
        std::fs::write(file, r#"{"currentContext":"far"}"#).unwrap();
        let error = find(&config, &world).unwrap_err().to_string();
        assert!(error.contains("currentContext of config.json"), "{error}");
        // As in docker, DOCKER_HOST precedes any context.
        world.vars.insert("DOCKER_HOST", "tcp://d:1".to_owned());
        assert_eq!(found(&config, &world).1, Some("DOCKER_HOST"));
    }

    #[test]
    fn an_address_that_makes_no_sense_is_unavailable_and_says_who_named_it() {
        for host in ["d:2375", "unix://", "ssh://d", "ftp://d"] {
            let config = DockerConfig { host: Some(host.to_owned()), ..DockerConfig::default() };
            let error = find(&config, &Fake::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("`host`"), "{error}");
        }
    }
}

//! The servers of logins, and the images that they apply to.

use longshore_core::ImageRef;

/// The name of Docker Hub in image names.
const HUB: &str = "docker.io";
/// The old name of Docker Hub, still in image names and in Docker's configuration.
const HUB_LEGACY: &str = "index.docker.io";
/// The name of Docker Hub in `config.json` and for credential helpers
/// (<https://docs.docker.com/reference/cli/docker/login/>).
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// A registry, or a part of one: its host and the beginning of a repository's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Server {
    host: String,
    /// The path, without a slash at either end; empty for the whole registry.
    path: String,
}

impl Server {
    /// Parses the `server` of a login strictly: no image's name could begin with an invalid server.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.trim_end_matches('/');
            return Err(format!("has the scheme `{scheme}://`: write `{rest}`"));
        }
        if text.ends_with('/') {
            return Err("ends with a slash".to_owned());
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        if path.contains([':', '@']) {
            return Err("has a tag or a digest: it is not one image's name".to_owned());
        }
        if !host.ends_with(']')
            && let Some((_, port)) = host.rsplit_once(':')
            && !port.parse::<u16>().is_ok_and(|port| port > 0)
        {
            return Err(format!("has an invalid port: `{port}`"));
        }
        let image: ImageRef = format!("{text}/x").parse().map_err(|_| {
            "is not `HOST[:PORT]`, with or without the beginning of a path, as in image names"
                .to_owned()
        })?;
        if !image.names_registry() {
            return Err("names no host: a host has a dot or a port, or is `localhost`".to_owned());
        }
        Ok(Self::new(host, path))
    }

    /// Parses a key of Docker's `config.json`, as the kubelet does.
    ///
    /// Ignores the scheme, and the version of the registry's API at the beginning of the path. Any
    /// other path narrows the server to that path (`pkg/credentialprovider/keyring.go`,
    /// `BasicDockerKeyring.Add`).
    pub(crate) fn of_key(key: &str) -> Self {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = match path.split_once('/').unwrap_or((path, "")) {
            ("v1" | "v2", below) => below,
            _ => path,
        };
        Self::new(host, path.trim_matches('/'))
    }

    fn new(host: &str, path: &str) -> Self {
        Self { host: one_name(host).to_owned(), path: path.to_owned() }
    }

    /// Returns how well the server fits `image`, or `None` if it does not.
    ///
    /// A longer path fits better.
    pub(crate) fn fits(&self, image: &ImageRef) -> Option<usize> {
        let begins = self.path.is_empty()
            || image.repository().strip_prefix(&self.path).is_some_and(|rest| {
                // `h/team` does not apply to `h/teamwork`.
                rest.is_empty() || rest.starts_with('/')
            });
        (self.host == registry_of(image) && begins).then_some(self.path.len())
    }
}

/// Returns the registry of `image`, by its canonical name.
pub(crate) fn registry_of(image: &ImageRef) -> &str {
    one_name(image.registry())
}

fn one_name(host: &str) -> &str {
    if host == HUB_LEGACY { HUB } else { host }
}

/// Returns Docker's name for `registry` in `config.json` and for credential helpers.
pub(crate) fn docker_name(registry: &str) -> &str {
    if registry == HUB { HUB_SERVER } else { registry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_fits_what_begins_with_all_of_it() {
        for (server, image, fits) in [
            ("harbor.example.org", "harbor.example.org/team/app:1", Some(0)),
            ("harbor.example.org/team", "harbor.example.org/team/app:1", Some(4)),
            ("harbor.example.org/team/app", "harbor.example.org/team/app:1", Some(8)),
            ("harbor.example.org/team", "harbor.example.org/teamwork/app", None),
            ("harbor.example.org/team/app/x", "harbor.example.org/team/app", None),
            ("harbor.example.org", "harbor.example.org:443/team/app", None),
            ("harbor.example.org:443", "harbor.example.org/team/app", None),
            ("harbor.example.org", "harbor.example.org.evil.test/team/app", None),
            ("harbor.example.org", "busybox", None),
            ("localhost:5000", "localhost:5000/x", Some(0)),
            ("localhost", "localhost/x", Some(0)),
            ("127.0.0.1:5000", "127.0.0.1:5000/x", Some(0)),
            ("[::1]:5000", "[::1]:5000/x", Some(0)),
            ("[::1]:5000/team", "[::1]:5000/team/app", Some(4)),
            ("[::1]", "[::1]:5000/x", None),
            ("docker.io", "busybox", Some(0)),
            ("docker.io", "index.docker.io/library/busybox", Some(0)),
            ("index.docker.io", "docker.io/library/busybox", Some(0)),
            ("docker.io/library", "busybox", Some(7)),
            ("docker.io/me", "busybox", None),
            ("docker.io/me", "me/app", Some(2)),
        ] {
            let image: ImageRef = image.parse().unwrap();
            assert_eq!(Server::parse(server).unwrap().fits(&image), fits, "{server} {image}");
        }
    }

    #[test]
    fn a_server_that_no_image_begins_with_is_refused_with_the_reason() {
        for (server, reason) in [
            ("", "is empty"),
            ("https://harbor.example.org/", "write `harbor.example.org`"),
            ("harbor.example.org/", "ends with a slash"),
            ("harbor.example.org/team:1", "has a tag"),
            ("harbor.example.org/team@sha256:12", "has a tag or a digest"),
            ("harbor.example.org:", "port"),
            ("harbor.example.org:0", "port"),
            ("harbor.example.org:66000", "port"),
            ("harbor.example.org:https", "port"),
            ("[::1]:", "port"),
            ("::1", "is not `HOST[:PORT]`"),
            ("harbor", "names no host"),
            ("team/app", "names no host"),
            ("harbor example.org", "is not `HOST[:PORT]`"),
            ("harbor.example.org/Team", "is not `HOST[:PORT]`"),
            ("harbor.example.org//team", "is not `HOST[:PORT]`"),
            ("/team", "is not `HOST[:PORT]`"),
        ] {
            let said = Server::parse(server).unwrap_err();
            assert!(said.contains(reason), "{server}: {said}");
        }
    }

    #[test]
    fn a_key_of_config_json_may_have_a_scheme_and_the_apis_version() {
        for (key, server) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://index.docker.io/v1", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://harbor.example.org", "harbor.example.org"),
            ("http://localhost:5000/v2/", "localhost:5000"),
            ("https://[fd00::1]:5000/v2/", "[fd00::1]:5000"),
            ("harbor.example.org/", "harbor.example.org"),
            ("harbor.example.org/v2/team", "harbor.example.org/team"),
            ("harbor.example.org/team/", "harbor.example.org/team"),
            ("https://harbor.example.org/team", "harbor.example.org/team"),
        ] {
            assert_eq!(Server::of_key(key), Server::parse(server).unwrap(), "{key}");
        }
    }
}

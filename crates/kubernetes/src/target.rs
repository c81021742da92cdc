//! Where an attempt is: in which cluster, and in which namespace of it.
//!
//! Only an answer of the attempt's own cluster says anything about the attempt: another one has never
//! heard of its Job, and says so with 404. So a handle names the cluster, and each use of the handle
//! compares it with the one that the kubeconfig names now.

use std::fmt;

use hmac_sha256::Hash;
use http::Uri;
use kube::config::Config;
use longshore_core::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// How many authorities identify a cluster at most. A larger bundle is one of public authorities,
/// which any server may have.
const MOST_AUTHORITIES: usize = 16;
/// How many bytes of an authority's SHA-256 are kept.
const FINGERPRINT_BYTES: usize = 16;

/// The target of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The namespace.
    pub(crate) namespace: String,
    /// The cluster.
    pub(crate) cluster: ClusterId,
}

/// What identifies a cluster, without a request. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterId {
    /// The API server's address in a normal form.
    server: String,
    /// What the kubeconfig calls the cluster. `None` for the service account of a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The context that named the cluster. Only for people: several contexts may name one cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    context: Option<String>,
    /// The name that the server's certificate must have, if it is not that of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<String>,
    /// The fingerprints of the authorities that the server's certificate must come from, in order.
    /// Empty if those of the system count, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<String>,
}

impl ClusterId {
    /// Returns the identity of the cluster of `config`, which the kubeconfig calls `name` in its
    /// context `context`.
    pub(crate) fn of(config: &Config, name: Option<String>, context: Option<String>) -> Self {
        let certificates = config.root_cert.as_deref().unwrap_or_default();
        // Without verification, a server of any authority would be accepted.
        let counts = !config.accept_invalid_certs && certificates.len() <= MOST_AUTHORITIES;
        let mut authorities: Vec<String> =
            certificates.iter().filter(|_| counts).map(|it| fingerprint(it)).collect();
        authorities.sort();
        authorities.dedup();
        let server = normal(&config.cluster_url);
        let tls_server_name = config.tls_server_name.clone();
        Self { server, name, context, tls_server_name, authorities }
    }

    /// Returns the context that named the cluster.
    pub(crate) fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// Returns whether both name the same cluster.
    ///
    /// - Without a common authority, two clusters are different, at whatever address: another cluster
    ///   may have taken it, or a tunnel may end elsewhere. A bundle with the old and the new authority
    ///   of a rotation has one in common with either.
    /// - At one address, they are the same. If not both name their authorities (those of the system
    ///   count, the certificate is not verified, or the address is that of `kubectl proxy`), nothing
    ///   else is known. An address that leads to several clusters by the name in TLS leads to the
    ///   same one only by the same name.
    /// - At two addresses, a common authority is not enough, because minikube gives all its clusters
    ///   the same one, and a gateway such as Rancher's has one for all clusters behind it. They are the
    ///   same if the kubeconfig also calls them the same, and the path of the address is the same: the
    ///   server has then moved to another host or port.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let shared = self.authorities.iter().any(|it| other.authorities.contains(it));
        if !shared && !self.authorities.is_empty() && !other.authorities.is_empty() {
            return false;
        }
        let names = self.tls_server_name.as_ref().zip(other.tls_server_name.as_ref());
        if names.is_some_and(|(one, another)| one != another) {
            return false;
        }
        self.server == other.server
            || shared && self.name == other.name && path(&self.server) == path(&other.server)
    }

    /// Returns the error of a request about an attempt in this cluster, if the kubeconfig names the
    /// cluster `now`.
    pub(crate) fn unreachable_from(&self, now: &Self) -> Error {
        let message = "the job is in another cluster than the one that the kubeconfig names now";
        let remedy = match &self.context {
            Some(context) => format!(
                "choose the context `{context}` again (kubectl config use-context), or set \
                 job.kubernetes.context"
            ),
            None => "use the kubeconfig of the job's cluster again".to_owned(),
        };
        Error::new(ErrorKind::Unavailable, message)
            .with("job's cluster", self)
            .with("kubeconfig's cluster", now)
            .with("remedy", remedy)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}` at {}", self.server),
            None => f.write_str(&self.server),
        }
    }
}

fn fingerprint(certificate: &[u8]) -> String {
    let hash = Hash::hash(certificate);
    hash.iter().take(FINGERPRINT_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns `server` without credentials and query, with its port only if that is not the scheme's own.
pub(crate) fn normal(server: &Uri) -> String {
    let scheme = server.scheme_str().unwrap_or("https").to_lowercase();
    let host = server.host().unwrap_or_default().to_lowercase();
    let own = if scheme == "http" { 80 } else { 443 };
    let port = server.port_u16().filter(|port| *port != own);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}://{host}{port}{}", server.path().trim_end_matches('/'))
}

/// Returns the path of a normal address.
fn path(server: &str) -> &str {
    let behind_scheme = server.split_once("://").map_or(server, |(_, rest)| rest);
    behind_scheme.split_once('/').map_or("", |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cluster called `name` at `server`, with authorities that have these certificates.
    fn cluster(name: &str, server: &str, authorities: &[&str]) -> ClusterId {
        let mut config = Config::new(server.parse().unwrap());
        config.root_cert = Some(authorities.iter().map(|it| it.as_bytes().to_vec()).collect());
        let name = Some(name.to_owned()).filter(|name| !name.is_empty());
        ClusterId::of(&config, name, None)
    }

    fn with_name_in_tls(mut id: ClusterId, name: &str) -> ClusterId {
        id.tls_server_name = Some(name.to_owned());
        id
    }

    #[test]
    fn two_clusters_are_the_same_only_if_all_that_is_known_says_so() {
        let home = || cluster("a", "https://10.0.0.1:6443", &["A"]);
        let tunnel = |authority| cluster("a", "https://127.0.0.1:6443", &[authority]);
        let named = |name| with_name_in_tls(cluster("a", "https://gate", &["G"]), name);
        let many: Vec<String> = (0..=MOST_AUTHORITIES).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (what, one, another, same) in [
            ("itself", home(), home(), true),
            ("renamed", home(), cluster("b", "https://10.0.0.1:6443/", &["A"]), true),
            ("another port", home(), cluster("a", "https://10.0.0.1:7443", &["A"]), true),
            ("another host", home(), cluster("a", "https://api.example", &["A"]), true),
            (
                "an authority's rotation begins",
                home(),
                cluster("a", "https://10.0.0.1:6443", &["B", "A"]),
                true,
            ),
            (
                "an authority's rotation ends",
                cluster("a", "https://10.0.0.1:6443", &["A", "B"]),
                cluster("a", "https://10.0.0.1:6443", &["B"]),
                true,
            ),
            ("another cluster at the end of a tunnel", tunnel("A"), tunnel("B"), false),
            ("another cluster", home(), cluster("b", "https://10.0.0.2:6443", &["B"]), false),
            (
                "another cluster with the same name",
                home(),
                cluster("a", "https://10.0.0.2:6443", &["B"]),
                false,
            ),
            (
                "another minikube",
                cluster("one", "https://192.168.49.2:8443", &["minikube"]),
                cluster("two", "https://192.168.58.2:8443", &["minikube"]),
                false,
            ),
            (
                "another cluster behind a gateway",
                cluster("a", "https://rancher/k8s/clusters/c-1", &["R"]),
                cluster("a", "https://rancher/k8s/clusters/c-2", &["R"]),
                false,
            ),
            ("another name in TLS", named("one"), named("two"), false),
            ("the same name in TLS", named("one"), named("one"), true),
            ("a name in TLS", cluster("a", "https://gate", &["G"]), named("one"), true),
            (
                "kubectl proxy",
                cluster("a", "http://127.0.0.1:8001", &[]),
                cluster("b", "http://LOCALHOST:8001", &[]),
                false,
            ),
            (
                "authorities of the system",
                cluster("a", "https://API.example:443", &[]),
                cluster("b", "https://api.example", &[]),
                true,
            ),
            ("authorities of the system, elsewhere", home(), cluster("a", "https://b", &[]), false),
            ("not verified", home(), cluster("a", "https://10.0.0.1:6443", &[]), true),
            (
                "public authorities",
                cluster("a", "https://one", &many),
                cluster("a", "https://two", &many),
                false,
            ),
            (
                "the service of a Pod",
                cluster("", "https://10.96.0.1", &["A"]),
                cluster("", "https://10.96.0.1", &["B"]),
                false,
            ),
        ] {
            assert_eq!(one.is_same(&another), same, "{what}: {one:?} {another:?}");
            assert_eq!(another.is_same(&one), same, "{what}, the other way");
        }
    }

    #[test]
    fn what_does_not_verify_the_server_has_no_authorities() {
        let mut config = Config::new("https://a".parse().unwrap());
        config.root_cert = Some(vec![b"A".to_vec()]);
        config.accept_invalid_certs = true;
        assert_eq!(ClusterId::of(&config, None, None).authorities, Vec::<String>::new());
    }

    #[test]
    fn an_address_is_kept_without_its_password() {
        for (server, kept) in [
            ("https://me:hunter2@Host:443/", "https://host"),
            ("http://host:80", "http://host"),
            ("https://[::1]:6443/k8s/?token=hunter2", "https://[::1]:6443/k8s"),
        ] {
            assert_eq!(normal(&server.parse().unwrap()), kept);
        }
    }

    #[test]
    fn an_error_says_where_the_job_is_and_how_to_get_there() {
        let mut there = cluster("a", "https://a", &["A"]);
        there.context = Some("prod".to_owned());
        let error = there.unreachable_from(&cluster("b", "https://b", &["B"]));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let said = error.to_string();
        for words in ["`a` at https://a", "`b` at https://b", "`prod`", "job.kubernetes.context"] {
            assert!(said.contains(words), "{said}");
        }
    }
}

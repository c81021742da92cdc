//! The proxy through which the API server is reached. Pure.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use longshore_core::{Error, ErrorKind, Result};

/// Returns the proxy for requests to `server`: that of the kubeconfig, else that of the environment,
/// as for kubectl.
///
/// `variable` returns a variable of the environment. As in Go, `NO_PROXY` does not apply to the
/// kubeconfig's own proxy, and no variable applies to a server on loopback.
///
/// # Errors
/// `Unavailable` for a proxy that cannot be used. The error does not contain the proxy's password.
pub(crate) fn choose(
    server: &Uri,
    of_kubeconfig: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>> {
    if let Some(url) = of_kubeconfig {
        return parse(url, "proxy-url of the kubeconfig").map(Some);
    }
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse().is_ok_and(|it: std::net::IpAddr| it.is_loopback());
    if loopback || host == "localhost" {
        return Ok(None);
    }
    let first = |names: [&'static str; 2]| {
        let set = names.map(|name| (name, variable(name).unwrap_or_default()));
        set.into_iter().find(|(_, value)| !value.trim().is_empty())
    };
    let names = if server.scheme_str() == Some("http") {
        ["HTTP_PROXY", "http_proxy"]
    } else {
        ["HTTPS_PROXY", "https_proxy"]
    };
    let Some((name, value)) = first(names).or_else(|| first(["ALL_PROXY", "all_proxy"])) else {
        return Ok(None);
    };
    let (_, except) = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
    if except.split(',').any(|it| it.trim() == "*") {
        return Ok(None);
    }
    // Any proxy: the matcher only decides whether `server` is among the exceptions.
    let matcher = Matcher::builder().all("http://proxy").no(except).build();
    if matcher.intercept(server).is_none() {
        return Ok(None);
    }
    parse(value.trim(), name).map(Some)
}

/// Returns the proxy `url`, which `origin` names.
fn parse(url: &str, origin: &'static str) -> Result<Uri> {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let refused = |why: &'static str| {
        let error = Error::new(ErrorKind::Unavailable, "the proxy for the API server is unusable");
        error.with("setting", origin).with("reason", why)
    };
    // Remote look-up of names, which `socks5h` demands, is how `socks5` works here.
    let url = url.replacen("socks5h://", "socks5://", 1);
    let uri: Uri = url.parse().map_err(|_| refused("it is not a URL"))?;
    let authority = uri.authority().ok_or_else(|| refused("it names no host"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        Some("socks5") if authority.as_str().contains('@') => {
            Err(refused("a login to a SOCKS proxy is not supported"))
        }
        Some("socks5") => Ok(uri),
        _ => Err(refused("its scheme must be http, https or socks5")),
    }
}

/// Returns the host and port of `proxy`, without a login.
pub(crate) fn address(proxy: &Uri) -> String {
    let authority = proxy.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, own: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let found = choose(&server.parse().unwrap(), own, variable).unwrap();
        found.map(|uri| uri.to_string())
    }

    #[test]
    fn no_proxy_excludes_a_server_from_the_proxy_of_the_environment() {
        let proxy = ("HTTPS_PROXY", "http://proxy:3128");
        let used = Some("http://proxy:3128/".to_owned());
        for (server, except, expected) in [
            ("https://api.example.org:6443", "", used.clone()),
            ("https://api.example.org:6443", "localhost,.example.org,", None),
            ("https://api.example.org:6443", "example.org", None),
            ("https://api.example.org:6443", "*", None),
            ("https://api.example.org:6443", "other.org, 10.0.0.0/8", used.clone()),
            ("https://10.1.2.3:6443", "localhost, 10.0.0.0/8", None),
            ("https://[fd00::1]:6443", "fd00::/8", None),
            ("https://[fd00::1]:6443", "fe80::/10", used),
            ("https://127.0.0.1:6443", "", None),
            ("https://[::1]:6443", "", None),
            ("https://localhost:6443", "", None),
        ] {
            let found = chosen(server, None, &[proxy, ("NO_PROXY", except)]);
            assert_eq!(found, expected, "{server} with NO_PROXY={except}");
        }
    }

    #[test]
    fn the_kubeconfigs_proxy_precedes_the_environments_and_empty_variables_are_unset() {
        let server = "https://api.example.org";
        let both = [("HTTPS_PROXY", "http://env:1"), ("NO_PROXY", "*")];
        assert_eq!(chosen(server, Some("http://own:2"), &both).unwrap(), "http://own:2/");
        let lower = [("HTTPS_PROXY", ""), ("https_proxy", "me:secret@env:3")];
        assert_eq!(chosen(server, None, &lower).unwrap(), "http://me:secret@env:3/");
        let all = [("ALL_PROXY", "socks5h://env:4")];
        assert_eq!(chosen(server, None, &all).unwrap(), "socks5://env:4/");
        assert_eq!(chosen(server, None, &[("HTTP_PROXY", "http://env:5")]), None);
        let plain = chosen("http://api.example.org", None, &[("HTTP_PROXY", "http://env:5")]);
        assert_eq!(plain.unwrap(), "http://env:5/");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
        for (url, words) in [
            ("ftp://me:hunter2@proxy:21", "its scheme must be http, https or socks5"),
            ("socks5://me:hunter2@proxy:1080", "a login to a SOCKS proxy is not supported"),
            ("http://me:hunter2@[proxy", "it is not a URL"),
        ] {
            let server = "https://api.example.org".parse().unwrap();
            let error = choose(&server, Some(url), |_| None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let error = error.to_string();
            assert!(error.contains(words) && error.contains("proxy-url"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let shown = address(&"http://me:hunter2@proxy:3128/".parse().unwrap());
        assert_eq!(shown, "proxy:3128");
    }
}

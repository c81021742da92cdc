//! The grammar of image references.
//!
//! The source is <https://pkg.go.dev/github.com/distribution/reference>, which Docker and the
//! kubelet use. The test compares this reader with `oci-spec`. A program that starts for each job
//! cannot use that crate itself: to compile its regular expression takes 30 ms, more than the rest
//! of such a program's start.

/// The registry of names without a host.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Another name of the same registry, which Docker replaces.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// The namespace of names without one in the default registry.
const OFFICIAL: &str = "library";
/// The longest repository, in bytes.
const LONGEST_REPOSITORY: usize = 255;
/// The longest tag, in bytes.
const LONGEST_TAG: usize = 128;
/// The algorithms of digests, and how many hexadecimal digits each has.
const ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// An image reference in its parts, with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Reference {
    /// Reads `text`. The error is the reason, without the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (tagged, digest) = match text.split_once('@') {
            Some((tagged, digest)) => (tagged, Some(check_digest(digest)?)),
            None => (text, None),
        };
        let (name, tag) = match tagged.rsplit_once(':') {
            // A colon before the last slash belongs to the registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(check_tag(tag)?)),
            _ => (tagged, None),
        };
        let (registry, repository) = split_name(name)?;
        let tag = match digest {
            None => Some(tag.unwrap_or("latest").to_owned()),
            Some(_) => tag.map(str::to_owned),
        };
        Ok(Self { registry, repository, tag, digest: digest.map(str::to_owned) })
    }
}

/// Returns whether `first`, the part of a name before its first slash, is a registry's host.
pub(crate) fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

fn split_name(name: &str) -> Result<(String, String), String> {
    if name.is_empty() {
        return Err("a repository's name must have at least one component".to_owned());
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if is_registry(first) => (check_registry(first)?, path),
        _ => (DEFAULT_REGISTRY, name),
    };
    if !path.split('/').all(is_component) {
        return Err("invalid reference format".to_owned());
    }
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("64 hexadecimal digits are an image's ID, not its name".to_owned());
    }
    let repository = match path.contains('/') {
        false if registry == DEFAULT_REGISTRY => format!("{OFFICIAL}/{path}"),
        _ => path.to_owned(),
    };
    if repository.len() > LONGEST_REPOSITORY {
        return Err(format!("a repository's name has at most {LONGEST_REPOSITORY} characters"));
    }
    Ok((registry.to_owned(), repository))
}

fn check_registry(text: &str) -> Result<&str, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let valid_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if !is_host(host) || port.is_some_and(|port| !valid_port(port)) {
        return Err(format!("`{text}` is not a registry's host"));
    }
    Ok(if text == LEGACY_REGISTRY { DEFAULT_REGISTRY } else { text })
}

fn is_host(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(|label| {
            label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    }
}

/// Returns whether `text` is a component of a path: words in lower case, joined by `.`, `_`, `__` or
/// any number of `-`.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_are_valid = || {
        text.split(is_word).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
    };
    text.starts_with(is_word) && text.ends_with(is_word) && separators_are_valid()
}

fn check_tag(tag: &str) -> Result<&str, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid =
        tag.starts_with(is_word) && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'));
    match valid {
        true if tag.len() > LONGEST_TAG => {
            Err(format!("a tag has at most {LONGEST_TAG} characters"))
        }
        true => Ok(tag),
        false => Err("invalid reference format: the tag".to_owned()),
    }
}

fn check_digest(digest: &str) -> Result<&str, String> {
    let algorithm = ALGORITHMS.iter().find_map(|(name, digits)| {
        Some((name, digits, digest.strip_prefix(name)?.strip_prefix(':')?))
    });
    let Some((name, digits, value)) = algorithm else {
        return Err("invalid digest: write it as sha256:…".to_owned());
    };
    if value.len() != *digits || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("invalid digest: {name} has {digits} hexadecimal digits"));
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use oci_spec::distribution::Reference as Oracle;
    use proptest::prelude::*;

    use super::*;

    /// Pieces of references, valid and not, so that a good part of their combinations is valid.
    fn text() -> impl Strategy<Value = String> {
        let digest =
            |algorithm: &str, digits: usize| format!("@{algorithm}:{}", "0aF9".repeat(digits / 4));
        let pieces: Vec<String> =
            ["a", "b-c", "a__b", "x.y", "host.example", "localhost", "T", ".", "-"]
                .into_iter()
                .chain([
                    "_",
                    "/",
                    "/",
                    ":",
                    ":5000/",
                    ":v1.0",
                    ":_x",
                    "@",
                    "docker.io/",
                    " ",
                    "--",
                    "0",
                ])
                .chain(["index.docker.io/", "library/"])
                .map(str::to_owned)
                .chain([digest("sha256", 64), digest("sha512", 128), digest("sha256", 32)])
                .collect();
        prop::collection::vec(prop::sample::select(pieces), 1..7).prop_map(|parts| parts.concat())
    }

    fn by_oracle(text: &str) -> Option<Reference> {
        let oracle: Oracle = text.parse().ok()?;
        // The oracle takes `T` in `T/x` for a part of the repository, which is in lower case, and
        // `a_b.c` in `a_b.c/x` for a host, which has no underscore.
        if oracle.repository().chars().any(char::is_uppercase) || oracle.registry().contains('_') {
            return None;
        }
        Some(Reference {
            registry: oracle.registry().to_owned(),
            repository: oracle.repository().to_owned(),
            tag: oracle.tag().map(str::to_owned),
            digest: oracle.digest().map(str::to_owned),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn references_are_read_as_oci_spec_reads_them(text in text()) {
            prop_assert_eq!(Reference::parse(&text).ok(), by_oracle(&text), "{}", text);
        }
    }

    /// `oci-spec` accepts the first two, and refuses the last.
    #[test]
    fn references_are_read_as_docker_reads_them_where_oci_spec_does_not() {
        assert!(Reference::parse("x:\u{e4}").is_err());
        assert!(Reference::parse(&"a0".repeat(32)).unwrap_err().contains("ID"));
        let reference = Reference::parse("[fd00::1]:5000/a/b:1").unwrap();
        assert_eq!(reference.registry, "[fd00::1]:5000");
        assert_eq!((reference.repository.as_str(), reference.tag.as_deref()), ("a/b", Some("1")));
        assert!(Reference::parse("[fd00::g]/x").is_err());
    }

    #[test]
    fn bounds_of_length_are_those_of_the_registry() {
        let bounds = [
            ("a".repeat(247), "a".repeat(248)), // With `library/`, 255 and 256.
            (format!("x:{}", "t".repeat(128)), format!("x:{}", "t".repeat(129))),
        ];
        for (valid, too_long) in bounds {
            assert!(Reference::parse(&valid).is_ok());
            assert!(Reference::parse(&too_long).unwrap_err().contains("at most"));
        }
    }
}

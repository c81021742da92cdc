//! Pull policies by image.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};
use longshore_core::{ImageRef, PullPolicies};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pull policy for the images that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImagePullPolicyRule {
    /// The images, such as `harbor.example.org/ci/*` or `*:latest`. The pattern is compared with
    /// `REGISTRY/REPOSITORY` and `REGISTRY/REPOSITORY:TAG`, with `docker.io` and `library/` filled
    /// in. `*` matches any characters, including `/`.
    pub image: ImageGlob,
    /// The pull policy: one, or a list that is tried in turn.
    pub image_pull_policy: PullPolicies,
}

/// A pattern for images: `*` matches any characters, `?` any one character, `[ab]` one of these,
/// `{a,b}` either.
///
/// The pattern is compared with `REGISTRY/REPOSITORY` and with `REGISTRY/REPOSITORY:TAG`. A pattern
/// whose first part is not a registry host is one of Docker's short names, as in an image name: `x`
/// is `docker.io/library/x`, and `team/*` is `docker.io/team/*`. A pattern that begins with a
/// wildcard is used unchanged. In `[::1]:5000/*` the brackets are those of the address.
#[derive(Clone)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct ImageGlob {
    given: String,
    matcher: GlobMatcher,
}

longshore_core::serde_as_text!(ImageGlob);

/// The error for text that is not a pattern for images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a pattern for images: {reason}")]
pub struct ImageGlobError {
    given: String,
    reason: String,
}

impl ImageGlob {
    /// The pattern as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Whether the pattern matches `image`. An image named only by its digest has no tag.
    #[must_use]
    pub fn matches(&self, image: &ImageRef) -> bool {
        let name = format!("{}/{}", image.registry(), image.repository());
        let tagged = image.tag().map(|tag| format!("{name}:{tag}"));
        self.matcher.is_match(&name) || tagged.is_some_and(|tagged| self.matcher.is_match(tagged))
    }
}

/// Returns `pattern` with `docker.io` and `library/` filled in, as in an image name.
fn canonical(pattern: &str) -> String {
    if pattern.starts_with(WILDCARDS) {
        return pattern.to_owned();
    }
    match pattern.split_once('/') {
        None => format!("docker.io/library/{pattern}"),
        Some(("index.docker.io", rest)) => format!("docker.io/{rest}"),
        Some((host, _)) if host.contains(['.', ':']) || host.contains(WILDCARDS) => {
            pattern.to_owned()
        }
        Some(("localhost", _)) => pattern.to_owned(),
        Some(_) => format!("docker.io/{pattern}"),
    }
}

/// Returns the pattern for a registry with an IPv6 address, such as `[::1]:5000/*`, whose brackets are
/// no wildcard. `None` if `pattern` begins with no such address.
fn literal_address(pattern: &str) -> Option<String> {
    let (address, rest) = pattern.strip_prefix('[')?.split_once(']')?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(format!("\\[{address}\\]{rest}"))
}

/// Characters that begin a wildcard.
const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

impl FromStr for ImageGlob {
    type Err = ImageGlobError;

    fn from_str(text: &str) -> Result<Self, ImageGlobError> {
        let refused =
            |reason: &str| ImageGlobError { given: text.to_owned(), reason: reason.to_owned() };
        if text.trim().is_empty() {
            return Err(refused("it is empty"));
        }
        if text.contains(char::is_whitespace) {
            return Err(refused("it contains white space"));
        }
        if text.contains("://") {
            return Err(refused("an image name has no scheme: remove the part up to `://`"));
        }
        let pattern = literal_address(text).unwrap_or_else(|| canonical(text));
        let built = GlobBuilder::new(&pattern).literal_separator(false).build();
        match built {
            Ok(glob) => Ok(Self { given: text.to_owned(), matcher: glob.compile_matcher() }),
            Err(error) => Err(refused(&error.kind().to_string())),
        }
    }
}

impl PartialEq for ImageGlob {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl Eq for ImageGlob {}

impl fmt::Display for ImageGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

impl fmt::Debug for ImageGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_pattern_means_an_image_however_its_name_is_written() {
        let digest = format!("localhost:5000/x@{DIGEST}");
        for (pattern, image, matches) in [
            ("x", "x", true),
            ("x", "docker.io/library/x", true),
            ("x", "x:2", true),
            ("x", "localhost:5000/x", false),
            ("x:1", "x:1", true),
            ("x:1", "x:2", false),
            ("x:latest", "x", true),
            ("docker.io/library/x", "x", true),
            ("index.docker.io/team/x", "team/x", true),
            ("team/*", "team/x:1", true),
            ("team/*", "harbor.example.org/team/x", false),
            ("*", "anything/at:all", true),
            ("**", "anything/at:all", true),
            ("*:latest", "harbor.example.org/a/b", true),
            ("*:latest", "harbor.example.org/a/b:1", false),
            ("*:latest", digest.as_str(), false),
            ("localhost:5000/*", digest.as_str(), true),
            ("localhost:5000/x", digest.as_str(), true),
            ("localhost/x", "localhost/x", true),
            ("harbor.example.org/*", "harbor.example.org/a/b/c:1", true),
            ("harbor.example.org/*/c", "harbor.example.org/a/b/c:1", true),
            ("harbor.example.org/ci/*:v?", "harbor.example.org/ci/x:v1", true),
            ("harbor.example.org/ci/*:v?", "harbor.example.org/ci/x:v10", false),
            ("harbor.example.*/x", "harbor.example.org/x", true),
            ("{docker.io,ghcr.io}/*", "ghcr.io/a/b", true),
            ("{docker.io,ghcr.io}/*", "quay.io/a/b", false),
            ("[xg]*/x", "docker.io/library/x", false),
            ("[dg]*/x", "ghcr.io/a/x", true),
            // The brackets were taken for a wildcard, and the rule never applied.
            ("[::1]:5000/*", "[::1]:5000/a/b:1", true),
            ("[::1]:5000/*", "[::2]:5000/a/b:1", false),
            ("[fd00::1]/x:1", "[fd00::1]/x:1", true),
        ] {
            let glob: ImageGlob = pattern.parse().unwrap();
            let image: ImageRef = image.parse().unwrap();
            assert_eq!(glob.matches(&image), matches, "{pattern} against {image}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for (pattern, reason) in [
            ("", "empty"),
            ("a b", "white space"),
            ("https://harbor.example.org/*", "no scheme"),
            ("a[", "unclosed"),
            ("{a", "unclosed"),
            ("[z-a]", "invalid range"),
        ] {
            let error = pattern.parse::<ImageGlob>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{pattern}`")), "{error}");
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }
}

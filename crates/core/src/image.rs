//! References to container images.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use crate::reference::{Reference, is_registry};

/// A reference to a container image, as the distribution specification and Docker write it:
/// `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`.
///
/// Keeps the text as given. Only the accessors fill in `docker.io` and `library/`, as Docker and
/// the kubelet do. A reference with neither tag nor digest means the tag `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct ImageRef {
    given: String,
    reference: Reference,
}

crate::serde_as_text!(ImageRef);

/// The error for text that is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an image reference: {reason}")]
pub struct ImageRefError {
    given: String,
    reason: String,
}

impl ImageRef {
    /// Returns the text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Returns whether the name as given begins with a registry's host.
    ///
    /// The part before the first slash is a host if it has a dot or a port or is `localhost`, as in
    /// Docker (<https://pkg.go.dev/github.com/distribution/reference>).
    #[must_use]
    pub fn names_registry(&self) -> bool {
        self.given.split_once('/').is_some_and(|(first, _)| is_registry(first))
    }

    /// Returns this image at the registry or path `prefix`, joined with one slash.
    ///
    /// Returns it unchanged if it already names a registry.
    ///
    /// # Errors
    /// If the result is not an image reference.
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, ImageRefError> {
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() || self.names_registry() {
            return Ok(self.clone());
        }
        format!("{prefix}/{}", self.given.trim_start_matches('/')).parse()
    }

    /// Returns this image by `digest`, independent of its tag.
    ///
    /// # Errors
    /// If `digest` is not a digest.
    pub fn pinned(&self, digest: &str) -> Result<Self, ImageRefError> {
        format!("{}/{}@{digest}", self.registry(), self.repository()).parse()
    }

    /// Returns whether the image that it names may change: it has no digest.
    #[must_use]
    pub fn is_mutable(&self) -> bool {
        self.digest().is_none()
    }

    /// Returns the registry's host and port; `docker.io` if none was given.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.reference.registry
    }

    /// Returns the repository within the registry; `library/x` for Docker's short name `x`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.reference.repository
    }

    /// Returns the tag: `latest` if neither tag nor digest was given, `None` for a digest alone.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag.as_deref()
    }

    /// Returns the digest, such as `sha256:…`, if the reference names one.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.reference.digest.as_deref()
    }

    /// Returns the full form, with registry and tag filled in.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Reference { registry, repository, tag, digest } = &self.reference;
        let mut name = format!("{registry}/{repository}");
        for (mark, part) in [(':', tag), ('@', digest)] {
            if let Some(part) = part {
                name.push(mark);
                name.push_str(part);
            }
        }
        name
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let reference = Reference::parse(text).map_err(|reason| ImageRefError {
            given: text.to_owned(),
            reason: match hint(text) {
                Some(hint) => format!("{reason} ({hint})"),
                None => reason,
            },
        })?;
        Ok(Self { given: text.to_owned(), reference })
    }
}

/// Returns the most likely mistake in `text`, if it is a known one.
fn hint(text: &str) -> Option<&'static str> {
    let before_tag = text.rsplit_once(':').map_or(text, |(name, _)| name);
    if text.chars().any(char::is_whitespace) {
        Some("it contains white space")
    } else if before_tag.chars().any(char::is_uppercase) {
        Some("a repository's name is in lower case")
    } else {
        None
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_read_as_docker_and_the_kubelet_read_them() {
        let by_digest = format!("localhost:5000/a/b@{DIGEST}");
        let both = format!("a:1@{DIGEST}");
        for (text, registry, repository, tag, digest) in [
            ("busybox", "docker.io", "library/busybox", Some("latest"), None),
            ("docker.io/library/busybox:1", "docker.io", "library/busybox", Some("1"), None),
            ("cortexneurons/fileinfo:3", "docker.io", "cortexneurons/fileinfo", Some("3"), None),
            ("localhost:5000/x", "localhost:5000", "x", Some("latest"), None),
            ("harbor.example.org/p/i:v1", "harbor.example.org", "p/i", Some("v1"), None),
            (by_digest.as_str(), "localhost:5000", "a/b", None, Some(DIGEST)),
            (both.as_str(), "docker.io", "library/a", Some("1"), Some(DIGEST)),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(image.as_str(), text);
            assert_eq!(image.registry(), registry, "{text}");
            assert_eq!(image.repository(), repository, "{text}");
            assert_eq!(image.tag(), tag, "{text}");
            assert_eq!(image.digest(), digest, "{text}");
        }
    }

    #[test]
    fn a_prefix_is_joined_with_one_slash_and_only_where_no_registry_is_named() {
        for (image, prefix, expected) in [
            ("busybox", "harbor.example.org/p", "harbor.example.org/p/busybox"),
            (
                "cortexneurons/x:3",
                "harbor.example.org/p/",
                "harbor.example.org/p/cortexneurons/x:3",
            ),
            ("busybox:1", "localhost:5000", "localhost:5000/busybox:1"),
            ("localhost:5000/x", "harbor.example.org", "localhost:5000/x"),
            ("localhost/x", "harbor.example.org", "localhost/x"),
            ("docker.io/library/x", "harbor.example.org", "docker.io/library/x"),
            ("x", "", "x"),
            ("x", "/", "x"),
        ] {
            let image: ImageRef = image.parse().unwrap();
            assert_eq!(image.with_prefix(prefix).unwrap().as_str(), expected);
        }
        let image: ImageRef = "x".parse().unwrap();
        assert!(image.with_prefix("Harbor Example").is_err());
    }

    #[test]
    fn a_pinned_image_is_named_by_its_digest_alone() {
        let image: ImageRef = "busybox:1".parse().unwrap();
        assert!(image.is_mutable());
        let pinned = image.pinned(DIGEST).unwrap();
        assert_eq!(pinned.as_str(), format!("docker.io/library/busybox@{DIGEST}"));
        assert!(!pinned.is_mutable());
        assert!(image.pinned("sha256:12").is_err());
    }

    /// The login for docker.io would have gone to the registry `Team`.
    #[test]
    fn a_name_in_upper_case_is_not_taken_for_a_repository_of_docker_io() {
        assert!("Team/x".parse::<ImageRef>().is_err());
        let image: ImageRef = "Harbor.example.org/x".parse().unwrap();
        assert_eq!(image.registry(), "Harbor.example.org");
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        let long = "a".repeat(300);
        for (text, reason) in [
            ("", "at least one"),
            ("Busybox", "lower case"),
            ("Team/x:1", "lower case"),
            ("a b", "white space"),
            ("a:b:c", "invalid"),
            ("a@sha256:12", "invalid"),
            (long.as_str(), "255"),
        ] {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}

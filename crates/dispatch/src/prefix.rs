//! The registry for images whose names contain none.

use std::fmt;
use std::str::FromStr;

use longshore_core::{Error, ErrorKind, ImageRef, JobSpec};
#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// A registry, or a path in one, that is put before the names of images that contain no registry:
/// `HOST[:PORT][/PATH]`, such as `harbor.example.org/proxy`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct ImageRegistryPrefix(String);

longshore_core::serde_as_text!(ImageRegistryPrefix);

/// The error for text that is not a registry prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a registry with or without a path: {reason}")]
pub struct ImageRegistryPrefixError {
    given: String,
    reason: String,
}

impl ImageRegistryPrefix {
    /// The prefix as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Puts the prefix before the image of `spec`, unless the image names a registry.
    ///
    /// # Errors
    /// `InvalidSpec` if the result is too long for an image name.
    pub(crate) fn apply(&self, spec: &mut JobSpec) -> Result<(), Error> {
        let Some(container) = &mut spec.container else { return Ok(()) };
        container.image = container.image.with_prefix(&self.0).map_err(|error| {
            Error::new(
                ErrorKind::InvalidSpec,
                "the image name is not valid with job.imageRegistryPrefix",
            )
            .caused_by(error)
        })?;
        Ok(())
    }
}

impl FromStr for ImageRegistryPrefix {
    type Err = ImageRegistryPrefixError;

    fn from_str(text: &str) -> Result<Self, ImageRegistryPrefixError> {
        let refused = |reason: String| ImageRegistryPrefixError { given: text.to_owned(), reason };
        if text.contains("://") {
            return Err(refused("leave out the scheme".to_owned()));
        }
        let example = format!("{}/x", text.trim_end_matches('/'));
        match example.parse::<ImageRef>() {
            Err(error) => Err(refused(error.to_string())),
            // Docker would look for such images on docker.io, in another user's repositories.
            Ok(image) if !image.names_registry() => Err(refused(
                "its first part is not a host: it has no dot and no port, and is not localhost"
                    .to_owned(),
            )),
            Ok(_) => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for ImageRegistryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_registry_with_or_without_a_path() {
        for prefix in ["harbor.example.org", "harbor.example.org/p/", "localhost:5000", "localhost"]
        {
            let prefix: ImageRegistryPrefix = prefix.parse().unwrap();
            let mut spec = JobSpec::container("team/x:1".parse().unwrap());
            prefix.apply(&mut spec).unwrap();
            let expected = format!("{}/team/x:1", prefix.as_str().trim_end_matches('/'));
            assert_eq!(spec.container.unwrap().image.as_str(), expected);
        }
        for (bad, reason) in [
            ("", "not a"),
            ("/", "not a"),
            ("harbor", "not a host"),
            ("team/x", "not a host"),
            ("https://harbor.example.org", "scheme"),
            ("harbor.example.org/A", "invalid"),
            ("harbor.example.org//a", "invalid"),
            ("harbor.example.org/a:1", "invalid"),
            ("harbor.example.org /a", "white space"),
        ] {
            let error = bad.parse::<ImageRegistryPrefix>().unwrap_err().to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn an_image_that_is_too_long_with_its_prefix_is_refused_by_key() {
        let prefix: ImageRegistryPrefix =
            "harbor.example.org/a-proxy/of-docker-hub".parse().unwrap();
        let mut spec = JobSpec::container("a".repeat(240).parse().unwrap());
        let error = prefix.apply(&mut spec).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        assert!(error.to_string().contains("job.imageRegistryPrefix"), "{error}");
    }
}

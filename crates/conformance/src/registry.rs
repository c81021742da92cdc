//! A real registry to pull from.

use std::env;
use std::path::PathBuf;

use longshore_core::ImageRef;
use serde_json::{Value, json};

use crate::registry_http::{Http, MANIFEST, digest};
use crate::{Failure, Unsupported};

const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// A real registry to which the suite pushes its own images over plain HTTP.
///
/// Each image is a base image with a file `/version` on top, so that a job can print which image
/// it runs in.
#[derive(Clone, Debug)]
pub struct TestRegistry {
    base: ImageRef,
    log: Option<PathBuf>,
}

/// A pushed image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The reference by tag.
    pub image: ImageRef,
    /// The digest that the registry serves for the tag, `sha256:…`.
    pub digest: String,
}

impl Pushed {
    /// Returns the reference by digest, which stays valid if the tag moves.
    ///
    /// # Errors
    /// The parts do not form a valid reference.
    pub fn by_digest(&self) -> Result<ImageRef, Failure> {
        let (registry, repository) = (self.image.registry(), self.image.repository());
        Ok(format!("{registry}/{repository}@{}", self.digest).parse()?)
    }
}

impl TestRegistry {
    /// Returns the registry that holds `base`, an image with busybox or similar tools.
    #[must_use]
    pub const fn new(base: ImageRef) -> Self {
        Self { base, log: None }
    }

    /// Returns the registry of the image that `LONGSHORE_LAB_IMAGE` names, with the access log that
    /// `LONGSHORE_LAB_REGISTRY_LOG` names, if any.
    ///
    /// # Errors
    /// `LONGSHORE_LAB_IMAGE` is not set or is not an image reference.
    pub fn from_env() -> Result<Self, Unsupported> {
        let image = env::var("LONGSHORE_LAB_IMAGE").map_err(|_| {
            Unsupported::new(
                "set LONGSHORE_LAB_IMAGE to an image with a busybox, in a registry that takes pushes",
            )
        })?;
        let base =
            image.parse().map_err(|e| Unsupported::new(format!("LONGSHORE_LAB_IMAGE: {e}")))?;
        Ok(Self::new(base).with_log(env::var_os("LONGSHORE_LAB_REGISTRY_LOG").map(Into::into)))
    }

    /// Sets the file in which the registry logs each request in Apache's common format.
    #[must_use]
    pub fn with_log(mut self, log: Option<PathBuf>) -> Self {
        self.log = log;
        self
    }

    /// Returns the image on which the pushed images are built.
    #[must_use]
    pub const fn base(&self) -> &ImageRef {
        &self.base
    }

    /// Returns the reference of `tag` in `repository`. Sends no request.
    ///
    /// # Errors
    /// The parts do not form a valid reference.
    pub fn image(&self, repository: &str, tag: &str) -> Result<ImageRef, Failure> {
        Ok(format!("{}/{repository}:{tag}", self.base.registry()).parse()?)
    }

    /// Pushes the base image plus the file `/version` with the content `version`, as `tag` in
    /// `repository`. An existing tag moves.
    ///
    /// # Errors
    /// A request failed.
    pub async fn push(
        &self,
        repository: &str,
        tag: &str,
        version: &str,
    ) -> Result<Pushed, Failure> {
        let image = self.image(repository, tag)?;
        let digest = self
            .push_to(&image, version)
            .await
            .map_err(|e| e.while_doing(format!("failed to push {image}")))?;
        Ok(Pushed { image, digest })
    }

    async fn push_to(&self, image: &ImageRef, version: &str) -> Result<String, Failure> {
        let http = Http::new(image.registry());
        let (from, to) = (self.base.repository(), image.repository());
        let base_tag = self.base.digest().or(self.base.tag()).unwrap_or("latest");
        let mut manifest: Value = serde_json::from_slice(&http.manifest(from, base_tag).await?)?;
        let config = http.blob(from, digest_of(&manifest, "/config")?).await?;
        for layer in layers(&mut manifest, "/layers")?.iter() {
            http.mount(to, from, digest_of(layer, "")?).await?;
        }
        let layer = layer(version)?;
        let config = config_with(&config, &digest(&layer))?;
        layers(&mut manifest, "/layers")?
            .push(json!({"mediaType": LAYER, "size": layer.len(), "digest": digest(&layer)}));
        manifest["config"]["size"] = json!(config.len());
        manifest["config"]["digest"] = json!(digest(&config));
        http.upload(to, layer).await?;
        http.upload(to, config).await?;
        let manifest_type = manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
        let manifest = serde_json::to_vec(&manifest)?;
        let digest = digest(&manifest);
        http.put_manifest(to, image.tag().unwrap_or("latest"), &manifest_type, manifest).await?;
        Ok(digest)
    }

    /// Deletes a pushed image if the registry allows it.
    ///
    /// # Errors
    /// A request failed.
    pub async fn delete(&self, pushed: &Pushed) -> Result<(), Failure> {
        let http = Http::new(pushed.image.registry());
        http.delete(pushed.image.repository(), &pushed.digest).await
    }

    /// Returns how many requests for a manifest of `repository` the registry logged, or `None`
    /// without a log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn requests(&self, repository: &str) -> Result<Option<usize>, Failure> {
        let Some(log) = &self.log else { return Ok(None) };
        let bytes = std::fs::read(log)
            .map_err(|e| Failure::from(e).while_doing("failed to read the registry's log"))?;
        let asks = ["GET", "HEAD"].map(|method| format!("\"{method} /v2/{repository}/manifests/"));
        let asks_for_it = |line: &&str| asks.iter().any(|ask| line.contains(ask.as_str()));
        Ok(Some(String::from_utf8_lossy(&bytes).lines().filter(asks_for_it).count()))
    }
}

fn layers<'a>(document: &'a mut Value, pointer: &str) -> Result<&'a mut Vec<Value>, Failure> {
    document
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .ok_or_else(|| Failure::new(format!("the base image has no list {pointer}")))
}

fn digest_of<'a>(document: &'a Value, pointer: &str) -> Result<&'a str, Failure> {
    document
        .pointer(&format!("{pointer}/digest"))
        .and_then(Value::as_str)
        .ok_or_else(|| Failure::new(format!("the base image's manifest has no {pointer}/digest")))
}

/// Returns a layer that only holds the file `/version`.
fn layer(version: &str) -> Result<Vec<u8>, Failure> {
    let mut header = tar::Header::new_ustar();
    header.set_size(version.len().try_into()?);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "version", version.as_bytes())?;
    Ok(archive.into_inner()?)
}

/// Adds a layer to an image's configuration
/// (<https://github.com/opencontainers/image-spec/blob/main/config.md>).
fn config_with(config: &[u8], diff_id: &str) -> Result<Vec<u8>, Failure> {
    let mut config: Value = serde_json::from_slice(config)?;
    layers(&mut config, "/rootfs/diff_ids")?.push(json!(diff_id));
    if let Ok(history) = layers(&mut config, "/history") {
        history.push(json!({"created_by": "longshore-conformance"}));
    }
    Ok(serde_json::to_vec(&config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pushed_image_has_one_layer_more_than_its_base() {
        let base = br#"{"rootfs": {"type": "layers", "diff_ids": ["sha256:a"]}, "os": "linux"}"#;
        let config: Value =
            serde_json::from_slice(&config_with(base, "sha256:b").unwrap()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!(["sha256:a", "sha256:b"]));
        assert_eq!(config["os"], "linux");
        assert!(config_with(b"{}", "sha256:b").is_err());
    }

    #[test]
    fn the_same_version_gives_the_same_layer() {
        assert_eq!(layer("1").unwrap(), layer("1").unwrap());
        assert_ne!(digest(&layer("1").unwrap()), digest(&layer("2").unwrap()));
    }

    #[test]
    fn the_registrys_log_tells_how_often_a_repository_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let lines = "127.0.0.1 - - [x] \"GET /v2/a/b/manifests/1 HTTP/1.1\" 200\n\
                     127.0.0.1 - - [x] \"HEAD /v2/a/b/manifests/1 HTTP/1.1\" 200\n\
                     127.0.0.1 - - [x] \"GET /v2/a/c/manifests/1 HTTP/1.1\" 200\n\
                     127.0.0.1 - - [x] \"GET /v2/a/b/blobs/x HTTP/1.1\" 200\n";
        std::fs::write(&log, lines).unwrap();
        let registry = TestRegistry::new("localhost:5000/base:1".parse().unwrap());
        assert_eq!(registry.requests("a/b").unwrap(), None);
        assert_eq!(registry.with_log(Some(log)).requests("a/b").unwrap(), Some(2));
    }
}

//! The images of one cell. Each has its own layer, so that no cells share one.

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use longshore_conformance::TestRegistry;
use serde_json::{Value, json};

use super::http::Client;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The size of the padding of a stalled layer. containerd writes half a MiB at a time, and gives up
/// a download without progress only once it has written some of it.
pub(crate) const PADDING: usize = 4 << 20;

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The first line of its `/version`.
    pub(crate) marker: String,
    /// The digest that its tag names. For an index, that of the index.
    pub(crate) digest: String,
    /// The digest of the layer that only this image has.
    pub(crate) layer: String,
}

/// A registry to push to. It is healthy and requires no login.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// `HOST:PORT`
    host: String,
    registry: TestRegistry,
    client: Client,
}

impl Shelf {
    /// Creates a shelf for the registry at `host`, which has `base`, `REPOSITORY:TAG`.
    pub(crate) fn new(host: impl Into<String>, base: &str) -> Result<Self> {
        let host = host.into();
        let registry = TestRegistry::new(format!("{host}/{base}").parse()?);
        Ok(Self { host, registry, client: Client::new() })
    }

    /// Pushes an image whose `/version` is the line `marker`, followed by `padding` bytes. The tag
    /// moves if it exists.
    pub(crate) async fn push(
        &self,
        repository: &str,
        tag: &str,
        marker: &str,
        padding: usize,
    ) -> Result<Image> {
        let version = format!("{marker}\n{}", ".".repeat(padding));
        let pushed = self.registry.push(repository, tag, &version).await;
        let digest = pushed.map_err(|e| anyhow!("{e}"))?.digest;
        let manifest = self.manifest(repository, &digest).await?;
        let manifest: Value = serde_json::from_slice(&manifest)?;
        let layer = manifest["layers"].as_array().and_then(|layers| layers.last());
        let layer = layer.and_then(|layer| layer["digest"].as_str()).context("no layer")?;
        Ok(Image { marker: marker.to_owned(), digest, layer: layer.to_owned() })
    }

    /// Pushes the same as an index of several platforms, one of which is this machine's.
    pub(crate) async fn push_index(
        &self,
        repository: &str,
        tag: &str,
        marker: &str,
        padding: usize,
    ) -> Result<Image> {
        let (here, elsewhere) = match std::env::consts::ARCH {
            "aarch64" => ("arm64", "amd64"),
            _ => ("amd64", "arm64"),
        };
        let image = self.push(repository, &format!("{tag}-{here}"), marker, padding).await?;
        let other = format!("{marker} elsewhere");
        let other = self.push(repository, &format!("{tag}-{elsewhere}"), &other, 0).await?;
        let mut manifests = Vec::new();
        for (image, architecture) in [(&other, elsewhere), (&image, here)] {
            let size = self.manifest(repository, &image.digest).await?.len();
            manifests.push(json!({
                "mediaType": MANIFEST, "size": size, "digest": image.digest,
                "platform": {"os": "linux", "architecture": architecture},
            }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let digest = self.put(repository, tag, INDEX, index.to_string()).await?;
        Ok(Image { digest, ..image })
    }

    async fn manifest(&self, repository: &str, digest: &str) -> Result<Bytes> {
        let request = Request::get(self.address(repository, digest)).header(ACCEPT, MANIFEST);
        let request = request.body(Full::default())?;
        Ok(self.client.get_one_of(request, &[StatusCode::OK]).await?.into_body())
    }

    async fn put(&self, repository: &str, tag: &str, kind: &str, body: String) -> Result<String> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(self.address(repository, tag))
            .header(CONTENT_TYPE, kind)
            .body(Full::new(body.into()))?;
        let answer = self.client.get_one_of(request, &[StatusCode::CREATED]).await?;
        let digest = answer.headers().get("docker-content-digest");
        let digest = digest.context("the registry reports no digest")?;
        Ok(digest.to_str()?.to_owned())
    }

    /// Deletes the image, if the registry allows it.
    pub(crate) async fn delete(&self, repository: &str, image: &Image) -> Result<()> {
        let request = Request::delete(self.address(repository, &image.digest));
        let fine = [StatusCode::ACCEPTED, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        self.client.get_one_of(request.body(Full::default())?, &fine).await.map(drop)
    }

    fn address(&self, repository: &str, reference: &str) -> String {
        format!("http://{}/v2/{repository}/manifests/{reference}", self.host)
    }
}

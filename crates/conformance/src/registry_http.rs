//! The part of the distribution API that pushing an image needs
//! (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>).

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};

use crate::Failure;
use crate::wait::within;

pub(crate) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The limit for one request to a local registry.
const LIMIT: Duration = Duration::from_secs(20);

/// A client of one registry over plain HTTP.
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    /// `http://HOST:PORT`
    base: String,
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

impl Http {
    pub(crate) fn new(registry: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, base: format!("http://{registry}") }
    }

    pub(crate) async fn manifest(&self, repository: &str, tag: &str) -> Result<Bytes, Failure> {
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.base);
        let accept = format!("{MANIFEST}, {OCI_MANIFEST}");
        let request = Request::get(&url).header(ACCEPT, accept).body(Full::default())?;
        Ok(self.send(request, &[StatusCode::OK]).await?.into_body())
    }

    pub(crate) async fn blob(&self, repository: &str, digest: &str) -> Result<Bytes, Failure> {
        let url = format!("{}/v2/{repository}/blobs/{digest}", self.base);
        let request = Request::get(&url).body(Full::default())?;
        Ok(self.send(request, &[StatusCode::OK]).await?.into_body())
    }

    /// Mounts a blob of the repository `from` in the repository `to`.
    pub(crate) async fn mount(&self, to: &str, from: &str, digest: &str) -> Result<(), Failure> {
        let url = format!("{}/v2/{to}/blobs/uploads/?mount={digest}&from={from}", self.base);
        let request = Request::post(&url).body(Full::default())?;
        self.send(request, &[StatusCode::CREATED]).await.map(drop)
    }

    pub(crate) async fn upload(&self, repository: &str, blob: Vec<u8>) -> Result<(), Failure> {
        let url = format!("{}/v2/{repository}/blobs/uploads/", self.base);
        let begun = self.send(Request::post(&url).body(Full::default())?, &[StatusCode::ACCEPTED]);
        let begun = begun.await?;
        let location = begun
            .headers()
            .get(LOCATION)
            .ok_or_else(|| Failure::new("the registry names no place for an upload"))?
            .to_str()?;
        let place = if location.starts_with('/') {
            format!("{}{location}", self.base)
        } else {
            location.to_owned()
        };
        let mark = if place.contains('?') { '&' } else { '?' };
        let url = format!("{place}{mark}digest={}", digest(&blob));
        self.put(&url, "application/octet-stream", blob).await
    }

    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        manifest: Vec<u8>,
    ) -> Result<(), Failure> {
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.base);
        self.put(&url, media_type, manifest).await
    }

    /// Deletes a manifest. A registry without deletion keeps it.
    pub(crate) async fn delete(&self, repository: &str, digest: &str) -> Result<(), Failure> {
        let url = format!("{}/v2/{repository}/manifests/{digest}", self.base);
        let request = Request::delete(&url).body(Full::default())?;
        let fine = [StatusCode::ACCEPTED, StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        self.send(request, &fine).await.map(drop)
    }

    async fn put(&self, url: &str, media_type: &str, body: Vec<u8>) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(url)
            .header(CONTENT_TYPE, media_type)
            .body(Full::from(body))?;
        self.send(request, &[StatusCode::CREATED]).await.map(drop)
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        expected: &[StatusCode],
    ) -> Result<Response<Bytes>, Failure> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = async {
            let (parts, body) = self.client.request(request).await?.into_parts();
            Ok::<_, Failure>(Response::from_parts(parts, body.collect().await?.to_bytes()))
        };
        let answer = within(LIMIT, &what, answer).await?.map_err(|e| e.while_doing(&what))?;
        if expected.contains(&answer.status()) {
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(answer.body()).into_owned();
        Err(Failure::new(format!("the registry answers {} to {what}: {said}", answer.status())))
    }
}

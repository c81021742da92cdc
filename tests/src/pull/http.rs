//! A plain HTTP client for the registries and the proxy of the lab.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The time limit of one request to a server of this machine.
const LIMIT: Duration = Duration::from_secs(30);

/// An HTTP client. It is cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client(Pool<HttpConnector, Full<Bytes>>);

impl Client {
    pub(crate) fn new() -> Self {
        Self(Pool::builder(TokioExecutor::new()).build_http())
    }

    /// Sends `request` and returns the whole answer, whatever its status.
    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = async {
            let (parts, body) = self.0.request(request).await?.into_parts();
            anyhow::Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
        };
        let answer = tokio::time::timeout(LIMIT, answer).await;
        answer.context("no answer in time").flatten().with_context(|| format!("failed to {what}"))
    }

    /// Sends `request` and returns the answer, whose status must be one of `expected`.
    pub(crate) async fn get_one_of(
        &self,
        request: Request<Full<Bytes>>,
        expected: &[StatusCode],
    ) -> Result<Response<Bytes>> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = self.ask(request).await?;
        if expected.contains(&answer.status()) {
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(answer.body());
        bail!("the answer to {what} is {}: {said}", answer.status())
    }
}

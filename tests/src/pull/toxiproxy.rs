//! A client for the API of the lab's proxy (<https://github.com/Shopify/toxiproxy#http-api>).

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::http::Client;

/// The proxy's server.
#[derive(Clone, Debug)]
pub(crate) struct Toxiproxy {
    client: Client,
    /// `http://HOST:PORT`
    api: String,
}

/// A port that forwards to another, until a fault is set. It must be [removed](Self::remove).
#[derive(Debug)]
pub(crate) struct Proxy {
    server: Toxiproxy,
    name: String,
    pub(crate) address: SocketAddr,
}

impl Toxiproxy {
    pub(crate) fn new(api: &str) -> Self {
        Self { client: Client::new(), api: api.trim_end_matches('/').to_owned() }
    }

    /// Creates a port in front of `upstream`.
    pub(crate) async fn proxy(&self, name: &str, upstream: SocketAddr) -> Result<Proxy> {
        let body = json!({
            "name": name, "listen": "127.0.0.1:0", "upstream": upstream.to_string(),
            "enabled": true,
        });
        let made = self.send(Method::POST, "/proxies", Some(&body)).await?;
        let address = made["listen"].as_str().context("the proxy reports no address")?.parse()?;
        Ok(Proxy { server: self.clone(), name: name.to_owned(), address })
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let fine = [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT];
        let answer = self.client.get_one_of(request, &fine).await?;
        if answer.body().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(answer.body()).context("the proxy's answer is no JSON")
    }
}

impl Proxy {
    /// Refuses connections from now on, and closes open ones.
    pub(crate) async fn refuse(&self) -> Result<()> {
        let path = format!("/proxies/{}", self.name);
        self.server.send(Method::POST, &path, Some(&json!({"enabled": false}))).await.map(drop)
    }

    /// Accepts connections from now on, but never sends anything back.
    pub(crate) async fn say_nothing(&self) -> Result<()> {
        self.toxic("timeout", json!({"timeout": 0})).await
    }

    /// Delays each answer from now on, and limits it to a few KiB per second.
    pub(crate) async fn be_slow(&self) -> Result<()> {
        self.toxic("latency", json!({"latency": 150, "jitter": 50})).await?;
        self.toxic("bandwidth", json!({"rate": 4})).await
    }

    async fn toxic(&self, kind: &str, attributes: Value) -> Result<()> {
        let body = json!({"type": kind, "stream": "downstream", "attributes": attributes});
        let path = format!("/proxies/{}/toxics", self.name);
        self.server.send(Method::POST, &path, Some(&body)).await.map(drop)
    }

    pub(crate) async fn remove(self) -> Result<()> {
        let path = format!("/proxies/{}", self.name);
        self.server.send(Method::DELETE, &path, None).await.map(drop)
    }
}

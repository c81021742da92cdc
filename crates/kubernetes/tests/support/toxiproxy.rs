//! A client for the lab's proxy (<https://github.com/Shopify/toxiproxy#http-api>).

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::{Checked, PATIENCE};

/// A port that forwards to another one and can be made faulty. Call [`remove`](Self::remove) at the
/// end.
pub(crate) struct Toxic {
    /// `http://HOST:PORT`
    api: String,
    name: String,
    /// `HOST:PORT`
    pub(crate) address: String,
}

impl Toxic {
    /// Creates a port in front of `upstream` (`HOST:PORT`).
    pub(crate) async fn new(name: &str, upstream: &str) -> Checked<Self> {
        let api = std::env::var("LONGSHORE_LAB_TOXIPROXY")
            .map_err(|_| "set LONGSHORE_LAB_TOXIPROXY to the address of its API")?;
        let body = json!({
            "name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true,
        });
        let made = send(&api, Method::POST, "/proxies", &body).await?;
        let address = made["listen"].as_str().ok_or("the proxy returned no address")?.to_owned();
        Ok(Self { api, name: name.to_owned(), address })
    }

    /// With `false`, closes the open connections and refuses new ones; with `true`, accepts them
    /// again.
    pub(crate) async fn enable(&self, enabled: bool) -> Checked {
        self.change("", json!({"enabled": enabled})).await
    }

    /// Closes each connection after this many bytes from the server.
    pub(crate) async fn cut_after(&self, bytes: u32) -> Checked {
        let attributes = json!({"bytes": bytes});
        let toxic = json!({"type": "limit_data", "stream": "downstream", "attributes": attributes});
        self.change("/toxics", toxic).await
    }

    /// Undoes [`cut_after`](Self::cut_after).
    pub(crate) async fn cut_no_more(&self) -> Checked {
        let path = format!("/proxies/{}/toxics/limit_data_downstream", self.name);
        send(&self.api, Method::DELETE, &path, &Value::Null).await.map(drop)
    }

    pub(crate) async fn remove(self) -> Checked {
        let path = format!("/proxies/{}", self.name);
        send(&self.api, Method::DELETE, &path, &Value::Null).await.map(drop)
    }

    async fn change(&self, of: &str, body: Value) -> Checked {
        let path = format!("/proxies/{}{of}", self.name);
        send(&self.api, Method::POST, &path, &body).await.map(drop)
    }
}

async fn send(api: &str, method: Method, path: &str, body: &Value) -> Checked<Value> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", api.trim_end_matches('/')))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = tokio::time::timeout(PATIENCE, client.request(request)).await??;
    let status = answer.status();
    let said = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(
            format!("the proxy answers {status}: {}", String::from_utf8_lossy(&said)).into()
        );
    }
    Ok(serde_json::from_slice(&said).unwrap_or_default())
}

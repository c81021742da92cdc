//! An API server of a cluster in which there is nothing.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

type Requests = Arc<Mutex<Vec<String>>>;

/// A server without TLS. Once it is dropped, its port refuses connections.
pub(crate) struct EmptyCluster {
    /// Its address.
    pub(crate) address: String,
    requests: Requests,
    serving: JoinHandle<()>,
}

impl EmptyCluster {
    /// Starts a server on a port of its own.
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let requests = Requests::default();
        let serving = tokio::spawn(serve(listener, requests.clone()));
        Ok(Self { address, requests, serving })
    }

    /// Returns the requests that it got.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for EmptyCluster {
    fn drop(&mut self) {
        // This also closes the connections.
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, requests: Requests) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let requests = requests.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let line = format!("{} {}", request.method(), request.uri());
            requests.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            async move { Ok::<_, Infallible>(answer(request).await) }
        });
        connections.spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // The client may close the connection.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    if is_watch {
        return std::future::pending().await;
    }
    let collection = path.rsplit('/').next().unwrap_or_default();
    let is_list = ["jobs", "pods", "events"].contains(&collection);
    let (code, text) = match method {
        // What is created is answered as it is.
        Method::POST => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes());
            return Response::new(Full::new(body.unwrap_or_default()));
        }
        Method::GET if is_list => {
            (200, json!({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}))
        }
        _ => (
            404,
            json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                "code": 404, "message": format!("{collection:?} not found"),
            }),
        ),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text.to_string())));
    *answer.status_mut() = code.try_into().unwrap_or_default();
    answer
}

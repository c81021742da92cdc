//! A layer in front of a real registry. It forwards everything, keeps a log, and injects a test's
//! fault once it is set.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::http::Client;
use super::spoilt::{Damage, spoil};

/// An answer's body; it may break off.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The registry behind a layer.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// `HOST:PORT`
    pub(crate) host: String,
    /// The value of the Authorization header that the registry requires. The layer adds it while it
    /// is healthy; after that, clients must send it themselves.
    pub(crate) authorization: Option<HeaderValue>,
}

/// The behaviour of a layer.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mode {
    /// It forwards everything, and logs in if the registry requires it.
    #[default]
    Healthy,
    /// It forwards everything unchanged.
    Plain,
    /// It answers with this status for every repository.
    Answer(StatusCode),
    /// It replaces this name, such as a tag or a repository, in the requests that it forwards.
    Rename { from: String, to: String },
    /// It damages the blob with this digest.
    Damage { digest: String, how: Damage },
}

/// A layer, on its own port. Once it is dropped, connections are refused.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    client: Client,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    /// `METHOD PATH` of each request.
    log: Vec<String>,
}

impl Layer {
    /// Starts a healthy layer, served by this runtime.
    pub(crate) async fn start(upstream: Upstream) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Shared { upstream, client: Client::new(), state: Mutex::default() };
        let shared = Arc::new(shared);
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, serving })
    }

    /// Switches to `mode`, and clears the log.
    pub(crate) fn turn(&self, mode: Mode) {
        *self.shared.state() = State { mode, log: Vec::new() };
    }

    /// Returns `METHOD PATH` of each request since the last turn.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.state().log.clone()
    }

    /// Returns whether a request arrived since the last turn. A client without a login that learns
    /// from `/v2/` that one is required sends no more requests.
    pub(crate) fn was_asked(&self) -> bool {
        !self.log().is_empty()
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        // This also closes the connections.
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(shared.answer(request).await) }
        });
        connections.spawn(async move {
            // It ends with an error if an engine hangs up, or if a body breaks off as intended.
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let mode = {
            let mut state = self.state();
            state.log.push(format!("{} {path}", request.method()));
            state.mode.clone()
        };
        match &mode {
            Mode::Answer(status) if refuses(*status, &path) => return refusal(*status),
            _ => {}
        }
        match self.forward(request, &mode).await {
            Ok(answer) => answer,
            Err(error) => {
                let text = Full::new(Bytes::from(format!("{error:#}")));
                let body = text.map_err(|never| match never {}).boxed_unsync();
                let mut answer = Response::new(body);
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }
        }
    }

    async fn forward(&self, request: Request<Incoming>, mode: &Mode) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
        let path = match mode {
            Mode::Rename { from, to } => path.replacen(from, to, 1),
            _ => path.to_owned(),
        };
        // The client's `Host` is kept, so that the registry's links lead back here.
        parts.uri = format!("http://{}{path}", self.upstream.host).parse::<Uri>()?;
        if let (Mode::Healthy, Some(value)) = (mode, &self.upstream.authorization) {
            parts.headers.insert(AUTHORIZATION, value.clone());
        }
        let is_get = parts.method == hyper::Method::GET;
        // These headers are about one connection, and there are two.
        [CONNECTION, TRANSFER_ENCODING].iter().for_each(|name| drop(parts.headers.remove(name)));
        let body = Full::new(body.collect().await?.to_bytes());
        let mut answer = self.client.ask(Request::from_parts(parts, body)).await?;
        [CONNECTION, TRANSFER_ENCODING]
            .iter()
            .for_each(|name| drop(answer.headers_mut().remove(name)));
        Ok(match mode {
            Mode::Damage { digest, how } if is_get && path.contains(digest.as_str()) => {
                spoil(answer, *how)
            }
            _ => {
                answer.map(|bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
            }
        })
    }
}

/// Returns whether a registry that answers with `status` does so for `path`. A registry that
/// refuses a login does so from the start: clients learn from `/v2/` whether one is required.
fn refuses(status: StatusCode, path: &str) -> bool {
    status == StatusCode::UNAUTHORIZED || path.trim_end_matches('/') != "/v2"
}

/// Returns an error as the distribution specification defines it
/// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>).
fn refusal(status: StatusCode) -> Response<Body> {
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => ("UNAUTHORIZED", "authentication required"),
        StatusCode::FORBIDDEN => ("DENIED", "requested access to the resource is denied"),
        StatusCode::TOO_MANY_REQUESTS => ("TOOMANYREQUESTS", "too many requests"),
        _ => ("UNKNOWN", "unknown error"),
    };
    let body = json!({"errors": [{"code": code, "message": message, "detail": null}]});
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    if status == StatusCode::UNAUTHORIZED {
        let asks = HeaderValue::from_static("Basic realm=\"longshore\"");
        headers.insert("www-authenticate", asks);
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert("retry-after", HeaderValue::from_static("30"));
    }
    answer
}

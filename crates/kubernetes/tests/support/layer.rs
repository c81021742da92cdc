//! An HTTP layer in front of the API server. It forwards every request, and breaks the answers that
//! a test wants broken.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use kube::Client;
use longshore_core::RunnerName;
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::support::Lab;
use crate::{Checked, kubeconfig};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Rule = Box<dyn Fn(&Method, &Uri) -> Fate + Send + Sync>;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// The layer forwards it.
    Pass,
    /// The layer answers it with this, and does not forward it.
    Answer(StatusCode, String),
    /// After this many bytes of the server's answer, the connection breaks, or the answer ends as
    /// if it were complete (`cleanly`).
    Cut { after: usize, cleanly: bool },
    /// The layer forwards it once `when` is cancelled, even if the client has gone by then, and
    /// cancels `done` once the server has answered.
    Late { when: CancellationToken, done: CancellationToken },
}

/// What has been done to the answers in progress.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// How many times the existing answers have been ended.
    severed: u32,
    /// How many times the existing watches have been silenced.
    silenced: u32,
}

/// A layer on a port of its own, without TLS. Once it is dropped, its port refuses connections.
pub(crate) struct Layer {
    address: String,
    state: Arc<watch::Sender<State>>,
    serving: JoinHandle<()>,
}

impl Layer {
    /// Starts a layer that applies `rule` to each request.
    pub(crate) async fn start(
        client: Client,
        rule: impl Fn(&Uri) -> Fate + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_by_method(client, move |_, uri| rule(uri)).await
    }

    /// Starts a layer that applies `rule` to each request, by its method and its address.
    pub(crate) async fn start_by_method(
        client: Client,
        rule: impl Fn(&Method, &Uri) -> Fate + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(watch::Sender::new(State::default()));
        let shared = Arc::new(Shared { client, state: state.clone(), rule: Box::new(rule) });
        Ok(Self { address, state, serving: tokio::spawn(serve(listener, shared)) })
    }

    /// Returns a runner that uses the layer, while its kubeconfig exists.
    pub(crate) fn runner(&self, lab: &Lab) -> Checked<(KubernetesRunner, tempfile::NamedTempFile)> {
        self.runner_with(lab.config())
    }

    /// Like [`runner`](Self::runner), with `config`.
    pub(crate) fn runner_with(
        &self,
        mut config: KubernetesConfig,
    ) -> Checked<(KubernetesRunner, tempfile::NamedTempFile)> {
        let file = kubeconfig(|c| {
            c["clusters"][0]["cluster"] = json!({"server": format!("http://{}", self.address)});
            c["users"][0]["user"] = json!({});
        })?;
        config.kubeconfig = Some(file.path().to_owned());
        Ok((KubernetesRunner::new(RunnerName::kubernetes(), config), file))
    }

    /// Ends the answers in progress as if they were complete.
    pub(crate) fn sever(&self) {
        self.state.send_modify(|state| state.severed += 1);
    }

    /// Makes the existing watches silent.
    pub(crate) fn silence_watches(&self) {
        self.state.send_modify(|state| state.silenced += 1);
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        // This also closes the connections.
        self.serving.abort();
    }
}

/// Returns whether `uri` requests a watch.
pub(crate) fn is_watch(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|part| part == "watch=true")
}

struct Shared {
    client: Client,
    state: Arc<watch::Sender<State>>,
    rule: Rule,
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| {
            let shared = shared.clone();
            async move { Ok::<_, Infallible>(shared.answer(request).await) }
        });
        connections.spawn(async move {
            // A body that breaks off on purpose is an error here.
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let uri = request.uri().clone();
        let cut = match (self.rule)(request.method(), &uri) {
            Fate::Pass => None,
            Fate::Late { when, done } => {
                let late = async move {
                    when.cancelled().await;
                    let answer = self.forward(request).await;
                    done.cancel();
                    answer
                };
                return match tokio::spawn(late).await {
                    Ok(Ok(answer)) => answer.map(|body| {
                        body.map_err(|error| io::Error::other(error.to_string())).boxed_unsync()
                    }),
                    failed => whole(StatusCode::BAD_GATEWAY, format!("{failed:?}")),
                };
            }
            Fate::Cut { after, cleanly } => Some((after, cleanly)),
            Fate::Answer(status, text) => return whole(status, text),
        };
        let state = self.state.subscribe();
        match self.forward(request).await {
            Ok(answer) => answer.map(|body| under_way(body, state, is_watch(&uri), cut)),
            Err(error) => whole(StatusCode::BAD_GATEWAY, error.to_string()),
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Checked<Response<kube::client::Body>> {
        let (mut parts, body) = request.into_parts();
        // These headers are about one connection, and there are two.
        for name in [AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        let body = body.collect().await?.to_bytes().to_vec();
        let request = Request::from_parts(parts, kube::client::Body::from(body));
        let mut answer = self.client.send(request).await?;
        for name in [CONNECTION, TRANSFER_ENCODING] {
            answer.headers_mut().remove(name);
        }
        Ok(answer)
    }
}

fn whole(status: StatusCode, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// Returns the body of an answer as it arrives, until it is severed, silenced or cut.
fn under_way(
    body: kube::client::Body,
    mut state: watch::Receiver<State>,
    watch: bool,
    cut: Option<(usize, bool)>,
) -> Body {
    let first = *state.borrow_and_update();
    let frames = async_stream::stream! {
        let mut frames = BodyStream::new(body);
        let mut left = cut.map_or(usize::MAX, |(after, _)| after);
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                severed = stopped(&mut state, first, watch) => {
                    if !severed {
                        std::future::pending::<()>().await;
                    }
                    return;
                }
            };
            let Some(frame) = frame else { return };
            let data = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => data,
                Ok(Err(_)) => continue,
                Err(error) => {
                    yield Err(io::Error::other(error.to_string()));
                    return;
                }
            };
            let piece = data.slice(..left.min(data.len()));
            left -= piece.len();
            yield Ok(Frame::data(piece));
            if left == 0 {
                if cut.is_some_and(|(_, cleanly)| !cleanly) {
                    yield Err(io::Error::other("cut"));
                }
                return;
            }
        }
    };
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// Waits until the answer must stop. Returns `true` if it must end, `false` if it must become
/// silent.
async fn stopped(state: &mut watch::Receiver<State>, first: State, watch: bool) -> bool {
    let change = state
        .wait_for(|now| now.severed != first.severed || (watch && now.silenced != first.silenced));
    change.await.is_ok_and(|now| now.severed != first.severed)
}

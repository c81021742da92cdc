//! One engine: every request that the runner makes.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_stubs::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse, ContainerSummary,
    CreateImageInfo, EventMessage, ExecConfig, ExecInspectResponse, ImageInspect, Network,
    SystemInfo,
};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, RequestCounter, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::DockerConfig;
use crate::body::{self, Body, LogFormat, Record};
use crate::connection::Connection;
use crate::endpoint::{self, Endpoint, ThisProcess};
use crate::fault::{Cause, Fault};
use crate::greeting::{ApiVersion, Greeting, is_other_version};
use crate::http::Call;
use crate::target::Target;

/// The most bytes of an answer about one object.
const OBJECT: usize = 16 << 20;
/// The most bytes of a list: enough for 100,000 containers.
const LIST: usize = 512 << 20;

/// Which of an attempt's containers a removal may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Any container; a running one is killed.
    Force,
    /// One that does not run. The engine serialises the start and the removal of one container,
    /// and refuses to start a container that it has begun to remove.
    UnlessRunning,
}

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// This request removed the container, which did not run or was killed.
    ByUs,
    /// The container did not exist, or another request is removing it.
    WasGone,
    /// The container still exists: it runs, or another request is working on it.
    Not,
}

/// A file of a container.
#[derive(Debug, Deserialize)]
pub(crate) struct FileStat {
    /// As Go's `FileMode`.
    pub(crate) mode: u32,
    #[serde(rename = "linkTarget")]
    pub(crate) link_target: String,
}

/// One engine. The version of its API is negotiated at the first request, and again if another engine
/// takes its place that does not know that version.
#[derive(Debug)]
pub(crate) struct Engine {
    config: DockerConfig,
    requests: RequestCounter,
    connection: OnceCell<Connection>,
}

/// The result of one request.
pub(crate) type Answer<T> = std::result::Result<T, Fault>;

impl Engine {
    pub(crate) fn new(config: DockerConfig, requests: RequestCounter) -> Self {
        Self { config, requests, connection: OnceCell::new() }
    }

    pub(crate) const fn config(&self) -> &DockerConfig {
        &self.config
    }

    /// Where the engine is. Makes no request. It stays there once it has answered, whatever is named
    /// later.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        match self.connection.get() {
            Some(connection) => Ok(connection.endpoint.clone()),
            None => endpoint::find(&self.config, &ThisProcess),
        }
    }

    /// Which engine this is. Makes no request.
    pub(crate) fn target(&self) -> Result<Target> {
        match self.connection.get() {
            Some(connection) => Ok(connection.target.clone()),
            None => Ok(Target::of(&self.endpoint()?.address)),
        }
    }

    /// Checks that this engine is the `target` of an attempt, if that is known. Makes no request.
    pub(crate) fn ensure_is_at(&self, target: Option<&Target>) -> Result<()> {
        let Some(target) = target else { return Ok(()) };
        target.ensure_is(&self.endpoint()?, &self.target()?)
    }

    /// As [`ensure_is_at`](Self::ensure_is_at), of the engine that has answered: from then on, all
    /// requests reach that one.
    pub(crate) async fn ensure_connected_at(&self, target: Option<&Target>) -> Result<()> {
        if target.is_none() {
            return Ok(());
        }
        // Whether another engine answers does not matter.
        self.ensure_is_at(target)?;
        let connected = self.connected().await;
        connected.map_err(|fault| fault.into_error("failed to reach the Docker engine"))?;
        self.ensure_is_at(target)
    }

    async fn connected(&self) -> Answer<&Connection> {
        self.connection.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Answer<Connection> {
        let endpoint = self.endpoint().map_err(Fault::Unreached)?;
        Connection::open(endpoint, self.requests.clone(), self.config.connect_timeout.get()).await
    }

    /// Asks the engine for its version and its system, with one request.
    pub(crate) async fn greet(&self) -> Answer<Greeting> {
        let is_new = self.connection.get().is_none();
        let connection = self.connected().await?;
        if !is_new {
            connection.greet(self.config.connect_timeout.get()).await?;
        }
        Ok(connection.greeting())
    }

    /// Limits the time of `request`.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Answer<T>>,
    ) -> Answer<T> {
        let connection = self.connected().await?;
        let answer = timeout(limit, request).await;
        answer.unwrap_or_else(|_| Err(Fault::timed_out(limit, &connection.endpoint)))
    }

    /// Sends `call`. The body is unlimited in time.
    async fn send(&self, call: Call) -> Answer<(http::Response<()>, Body)> {
        let connection = self.connected().await?;
        // The future of a request is large, and is passed on by value several times.
        match Box::pin(connection.send(call.clone())).await {
            Err(fault) if is_other_version(&fault) => {
                connection.greet(self.config.connect_timeout.get()).await?;
                Box::pin(connection.send(call)).await
            }
            answer => answer,
        }
    }

    /// Sends `call`, and reads the answer, of at most `size` bytes.
    async fn read<T: DeserializeOwned>(&self, call: Call, size: usize) -> Answer<T> {
        self.read_within(self.config.request_timeout.get(), call, size).await
    }

    async fn read_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        call: Call,
        size: usize,
    ) -> Answer<T> {
        let answer = async {
            let (_, body) = self.send(call).await?;
            let read = body.whole(size).await;
            let read = read.and_then(|json| Ok(serde_json::from_slice(&json)?));
            read.map_err(|cause| self.fault(cause))
        };
        self.within(limit, answer).await
    }

    /// Sends `call`, whose answer has no body.
    pub(crate) async fn order(&self, call: Call) -> Answer<http::Response<()>> {
        self.order_within(self.config.request_timeout.get(), call).await
    }

    async fn order_within(&self, limit: Duration, call: Call) -> Answer<http::Response<()>> {
        self.within(limit, async { Ok(self.send(call).await?.0) }).await
    }

    /// Sends `call`, and returns the items that `read` finds in the body, up to the first failure.
    /// The time until the body begins is limited by `limit`.
    fn stream<'a, T: 'a, S>(
        &'a self,
        limit: Duration,
        call: Call,
        read: impl FnOnce(Body) -> S + Send + 'a,
    ) -> BoxStream<'a, Answer<T>>
    where
        S: Stream<Item = std::result::Result<T, Cause>> + Send + 'a,
    {
        let opened = async move {
            let (_, body) = self.within(limit, self.send(call)).await?;
            Ok(read(body).map_err(|cause| self.fault(cause)))
        };
        stream::once(opened).try_flatten().boxed()
    }

    /// Classifies a failure in a body.
    pub(crate) fn fault(&self, cause: Cause) -> Fault {
        match self.connection.get() {
            Some(connection) => Fault::new(cause, &connection.endpoint),
            None => Fault::Unanswered(
                Error::new(ErrorKind::Unavailable, "the Docker engine did not answer")
                    .caused_by(cause),
            ),
        }
    }

    /// Whether a followed log may end without its last records when the container ends, as it does
    /// before Docker 23.0 (API 1.42).
    pub(crate) fn follows_lossily(&self) -> bool {
        self.is_before(1, 42)
    }

    /// Whether the engine may send the end of a line that it has cut into records without its
    /// newline, as 20.10 does. Docker 25 (API 1.44) does not.
    pub(crate) fn loses_newlines(&self) -> bool {
        self.is_before(1, 44)
    }

    /// Whether the engine reports from which repository an image was pulled, as it does from
    /// Docker 29.3 (API 1.53) on.
    pub(crate) fn tells_origin(&self) -> bool {
        self.connection.get().is_some() && !self.is_before(1, 53)
    }

    /// Whether the negotiated version of the API is older, once connected.
    fn is_before(&self, major: u32, minor: u32) -> bool {
        self.connection.get().is_some_and(|it| it.version() < ApiVersion { major, minor })
    }

    /// The negotiated version of the API.
    pub(crate) async fn api_version(&self) -> Answer<ApiVersion> {
        Ok(self.connected().await?.version())
    }

    /// Creates a container.
    pub(crate) async fn create(
        &self,
        name: &str,
        body: &ContainerCreateBody,
    ) -> Answer<ContainerCreateResponse> {
        let call = Call::post("/containers/create").query(&[("name", name)]).json(body);
        self.read(call.map_err(unwritten)?, OBJECT).await
    }

    pub(crate) async fn start(&self, id: &str) -> Answer<()> {
        self.order(Call::post(format!("/containers/{id}/start"))).await.map(drop)
    }

    /// Attaches to the stdin of a container that runs. The engine closes that stdin when the
    /// connection ends.
    pub(crate) async fn attach_stdin(
        &self,
        id: &str,
    ) -> Answer<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let query = [("stream", "true"), ("stdin", "true"), ("detachKeys", NO_DETACH_KEYS)];
        self.attach_to(id, &query).await
    }

    /// The container with this name or id, or `None` if it does not exist.
    pub(crate) async fn inspect(&self, name: &str) -> Answer<Option<ContainerInspectResponse>> {
        let call = Call::get(format!("/containers/{name}/json"));
        absent_is_none(self.read(call, OBJECT).await)
    }

    pub(crate) async fn inspect_image(&self, reference: &str) -> Answer<Option<ImageInspect>> {
        let call = Call::get(format!("/images/{reference}/json"));
        absent_is_none(self.read(call, OBJECT).await)
    }

    /// Looks at the file `path` of a container; `None` if it does not exist.
    pub(crate) async fn stat(&self, id: &str, path: &str) -> Answer<Option<FileStat>> {
        const STAT: &str = "x-docker-container-path-stat";
        let call = Call::head(format!("/containers/{id}/archive")).query(&[("path", path)]);
        let Some(head) = absent_is_none(self.order(call).await)? else { return Ok(None) };
        let stat = head.headers().get(STAT).map_or(&b""[..], |stat| stat.as_bytes());
        let stat = serde_json::from_slice(&STANDARD.decode(stat).unwrap_or_default());
        stat.map(Some).map_err(|cause| self.fault(cause.into()))
    }

    /// The containers with all of `labels` (`key` or `key=value`), running or not.
    pub(crate) async fn list(&self, labels: Vec<String>) -> Answer<Vec<ContainerSummary>> {
        let labels: Vec<_> = labels.iter().map(|label| ("label", label.as_str())).collect();
        let query = [("all", "true"), ("filters", &filters(&labels))];
        self.read(Call::get("/containers/json").query(&query), LIST).await
    }

    /// The events that match `filters`, in a range of time.
    pub(crate) async fn events(
        &self,
        filters: &[(&str, &str)],
        range: &[(&str, &str)],
    ) -> Answer<BoxStream<'_, Answer<EventMessage>>> {
        let filters = self::filters(filters);
        let query = [&[("filters", filters.as_str())], range].concat();
        let call = Call::get("/events").query(&query);
        let (_, body) = self.within(self.config.request_timeout.get(), self.send(call)).await?;
        Ok(body.values().map_err(|cause| self.fault(cause)).boxed())
    }

    /// The output of a container, as its log has it.
    pub(crate) fn logs(
        &self,
        name: &str,
        range: &[(&str, &str)],
        format: LogFormat,
    ) -> BoxStream<'_, Answer<Record>> {
        let query = [&[("stdout", "true"), ("stderr", "true")], range].concat();
        let call = Call::get(format!("/containers/{name}/logs")).query(&query);
        let limit = self.config.request_timeout.get();
        match format {
            LogFormat::Records => self.stream(limit, call, body::records),
            LogFormat::Shown => self.stream(limit, call, body::shown),
            LogFormat::TimedLines => self.stream(limit, call, body::timed_lines),
        }
    }

    /// Attaches to the output of a container, from now on.
    pub(crate) async fn attach(
        &self,
        id: &str,
    ) -> Answer<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.attach_to(id, &[("stream", "true"), ("stdout", "true"), ("stderr", "true")]).await
    }

    pub(crate) async fn attach_to(
        &self,
        id: &str,
        query: &[(&str, &str)],
    ) -> Answer<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.hijack(Call::post(format!("/containers/{id}/attach")).query(query)).await
    }

    /// Sends `call`, after which the connection carries raw bytes both ways.
    async fn hijack(
        &self,
        call: Call,
    ) -> Answer<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let hijacked = async { self.connected().await?.hijack(call).await };
        self.within(self.config.request_timeout.get(), hijacked).await
    }

    /// Prepares a command in a container that runs. Returns its id.
    pub(crate) async fn create_exec(&self, id: &str, config: &ExecConfig) -> Answer<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let call = Call::post(format!("/containers/{id}/exec")).json(config);
        let created: Created = self.read(call.map_err(unwritten)?, OBJECT).await?;
        Ok(created.id)
    }

    /// Starts a command, and attaches to its streams. Once its stdin is closed, only the half of the
    /// connection towards the engine is.
    pub(crate) async fn start_exec(
        &self,
        id: &str,
        tty: bool,
    ) -> Answer<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let attached = serde_json::json!({ "Detach": false, "Tty": tty });
        let call = Call::post(format!("/exec/{id}/start")).json(&attached);
        self.hijack(call.map_err(unwritten)?).await
    }

    pub(crate) async fn inspect_exec(&self, id: &str) -> Answer<ExecInspectResponse> {
        self.read(Call::get(format!("/exec/{id}/json")), OBJECT).await
    }

    /// Pulls an image. `auth` is the value of `X-Registry-Auth`. The engine may be silent for a while
    /// before its first message.
    pub(crate) fn pull(
        &self,
        image: &str,
        tag: &str,
        auth: Option<&str>,
    ) -> BoxStream<'_, Answer<CreateImageInfo>> {
        let mut call = Call::post("/images/create").query(&[("fromImage", image), ("tag", tag)]);
        if let Some(auth) = auth {
            call = call.secret_header("x-registry-auth", auth);
        }
        self.stream(self.config.pull_stall_timeout.get(), call, Body::values)
    }

    /// When the engine came up: the time at which it created its default network.
    pub(crate) async fn came_up(&self) -> Answer<Option<Timestamp>> {
        let network = self.read::<Network>(Call::get("/networks/bridge"), OBJECT).await;
        let created = absent_is_none(network)?.and_then(|network| network.created);
        Ok(crate::outcome::moment(created.as_deref()))
    }

    async fn info(&self) -> Answer<SystemInfo> {
        self.info_within(self.config.request_timeout.get()).await
    }

    pub(crate) async fn info_within(&self, limit: Duration) -> Answer<SystemInfo> {
        self.read_within(limit, Call::get("/info"), OBJECT).await
    }

    /// The engine's time.
    pub(crate) async fn now(&self) -> Answer<Timestamp> {
        let time = self.info().await?.system_time;
        Ok(crate::outcome::moment(time.as_deref()).unwrap_or_else(Timestamp::now))
    }

    /// Whether containers keep running while the engine is down (`live-restore`).
    pub(crate) async fn leaves_containers_alone(&self) -> Answer<bool> {
        Ok(self.info().await?.live_restore_enabled.unwrap_or(false))
    }

    /// Sends a signal. A container that does not run or does not exist needs none.
    pub(crate) async fn kill(&self, id: &str, signal: &str) -> Answer<()> {
        match self.signal(id, signal).await {
            Err(fault) if fault.is_not_found() || fault.is_conflict() => Ok(()),
            answer => answer,
        }
    }

    /// Sends a signal to a container that runs.
    pub(crate) async fn signal(&self, id: &str, signal: &str) -> Answer<()> {
        let call = Call::post(format!("/containers/{id}/kill")).query(&[("signal", signal)]);
        self.order(call).await.map(drop)
    }

    /// Sends TERM, and KILL after `grace`; returns when the container has ended. The engine keeps
    /// the grace period also after the client has disconnected.
    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Answer<()> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX).to_string();
        let call = Call::post(format!("/containers/{id}/stop")).query(&[("t", &seconds)]);
        let limit = grace.saturating_add(self.config.request_timeout.get());
        match self.order_within(limit, call).await {
            Err(fault) if fault.is_not_found() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Removes a container with its anonymous volumes.
    pub(crate) async fn remove(&self, id: &str, removal: Removal) -> Answer<Removed> {
        let force = removal == Removal::Force;
        let query = [("v", "true"), ("force", if force { "true" } else { "false" })];
        match self.order(Call::delete(format!("/containers/{id}")).query(&query)).await {
            Ok(_) => Ok(Removed::ByUs),
            Err(fault) if fault.is_not_found() => Ok(Removed::WasGone),
            // "removal of container x is already in progress"; with force nothing else conflicts.
            Err(fault) if fault.is_conflict() && force => Ok(Removed::WasGone),
            Err(fault) if fault.is_conflict() => Ok(Removed::Not),
            Err(fault) => Err(fault),
        }
    }
}

/// Keys at which the engine ends a connection to a terminal: an engine has some by default, and
/// cannot have none. A program that attaches looks for its own. Nobody types these.
pub(crate) const NO_DETACH_KEYS: &str =
    "ctrl-@,ctrl-_,ctrl-@,ctrl-_,ctrl-@,ctrl-_,ctrl-@,ctrl-_,ctrl-@,ctrl-_,ctrl-@,ctrl-_";

/// The failure of a request whose body could not be written.
fn unwritten(cause: Cause) -> Fault {
    let error = Error::new(ErrorKind::Internal, "failed to write the body of a request");
    Fault::Unreached(error.caused_by(cause))
}

/// The value of the parameter `filters`: JSON, with a list of values for each key.
fn filters(pairs: &[(&str, &str)]) -> String {
    let mut filters = BTreeMap::<&str, Vec<&str>>::new();
    for (key, value) in pairs {
        filters.entry(key).or_default().push(value);
    }
    serde_json::json!(filters).to_string()
}

fn absent_is_none<T>(answer: Answer<T>) -> Answer<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(fault) if fault.is_not_found() => Ok(None),
        Err(fault) => Err(fault),
    }
}

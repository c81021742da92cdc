//! The engine's API, with a time limit on each request.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse, ContainerSummary,
    ImageInspect,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker, body_stream};
use bytes::Bytes;
use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, Result};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::DockerConfig;
use crate::endpoint::{self, Address, Endpoint, ThisProcess};
use crate::fault::Fault;

/// The client library's own limit for the head of an answer. Our shorter limits apply first;
/// requests that last as long as a job have none.
const CLIENT_TIMEOUT_SECONDS: u64 = 366 * 86_400;

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

/// A connection to one engine, made at the first request.
#[derive(Debug)]
pub(crate) struct Engine {
    config: DockerConfig,
    connected: OnceCell<Connected>,
}

#[derive(Debug)]
struct Connected {
    docker: Docker,
    endpoint: Endpoint,
}

/// The result of one request.
pub(crate) type Answer<T> = std::result::Result<T, Fault>;

impl Engine {
    pub(crate) fn new(config: DockerConfig) -> Self {
        Self { config, connected: OnceCell::new() }
    }

    pub(crate) const fn config(&self) -> &DockerConfig {
        &self.config
    }

    /// Where the engine is. Makes no request.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        endpoint::find(&self.config, &ThisProcess)
    }

    /// The client, for requests without a time limit. The first call negotiates the API version.
    pub(crate) async fn docker(&self) -> Answer<&Docker> {
        self.connected.get_or_try_init(|| self.connect()).await.map(|c| &c.docker)
    }

    async fn connect(&self) -> Answer<Connected> {
        let endpoint = self.endpoint().map_err(Fault::Unreached)?;
        let docker = open(&endpoint).map_err(|cause| Fault::new(cause, &endpoint))?;
        let limit = self.config.connect_timeout.get();
        let docker = match timeout(limit, docker.negotiate_version()).await {
            Ok(Ok(docker)) => docker,
            Ok(Err(cause)) => return Err(Fault::new(cause, &endpoint)),
            Err(_) => return Err(Fault::timed_out(limit, &endpoint)),
        };
        Ok(Connected { docker, endpoint })
    }

    /// Makes one request, limited by the configured timeout.
    pub(crate) async fn call<'a, T, F>(&'a self, request: impl FnOnce(&'a Docker) -> F) -> Answer<T>
    where
        F: Future<Output = std::result::Result<T, bollard::errors::Error>>,
    {
        self.call_within(self.config.request_timeout.get(), request).await
    }

    pub(crate) async fn call_within<'a, T, F>(
        &'a self,
        limit: Duration,
        request: impl FnOnce(&'a Docker) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = std::result::Result<T, bollard::errors::Error>>,
    {
        let connected = self.connected.get_or_try_init(|| self.connect()).await?;
        match timeout(limit, request(&connected.docker)).await {
            Ok(answer) => answer.map_err(|cause| Fault::new(cause, &connected.endpoint)),
            Err(_) => Err(Fault::timed_out(limit, &connected.endpoint)),
        }
    }

    /// Whether a followed log may end without its last records when the container ends, as it does
    /// before Docker 23.0 (API 1.42).
    pub(crate) fn follows_lossily(&self) -> bool {
        self.version().is_some_and(|version| version < (1, 42))
    }

    /// Whether the engine may send the end of a line that it has cut into records without its
    /// newline, as 20.10 does. Docker 25 (API 1.44) does not.
    pub(crate) fn loses_newlines(&self) -> bool {
        self.version().is_some_and(|version| version < (1, 44))
    }

    /// Whether the engine reports from which repository an image was pulled, as it does from
    /// Docker 29.3 (API 1.53) on.
    pub(crate) fn tells_origin(&self) -> bool {
        self.version().is_some_and(|version| version >= (1, 53))
    }

    /// The negotiated API version, once connected.
    fn version(&self) -> Option<(usize, usize)> {
        let version = self.connected.get()?.docker.client_version();
        Some((version.major_version, version.minor_version))
    }

    /// Classifies a failed item of a stream.
    pub(crate) fn fault(&self, cause: bollard::errors::Error) -> Fault {
        match self.connected.get() {
            Some(connected) => Fault::new(cause, &connected.endpoint),
            None => Fault::Unanswered(
                Error::new(ErrorKind::Unavailable, "the Docker engine did not answer")
                    .caused_by(cause),
            ),
        }
    }

    /// Creates a container. `shown` is `body` without its secrets: the client library logs each
    /// request's body at the level `debug`, so it gets `shown`, and a request modifier replaces
    /// that with the true body afterwards.
    pub(crate) async fn create(
        &self,
        name: &str,
        body: &ContainerCreateBody,
        shown: ContainerCreateBody,
    ) -> Answer<ContainerCreateResponse> {
        let true_body = serde_json::to_vec(body).map(Bytes::from).map_err(|error| {
            Fault::Unreached(
                Error::new(ErrorKind::Internal, "failed to write the container's body")
                    .caused_by(error),
            )
        })?;
        self.call(|docker| {
            let docker = docker.clone().with_request_modifier(move |request| {
                let true_body = true_body.clone();
                request.map(|_| body_stream(futures::stream::iter([true_body])))
            });
            let options = CreateContainerOptionsBuilder::default().name(name).build();
            async move { docker.create_container(Some(options), shown).await }
        })
        .await
    }

    pub(crate) async fn start(&self, id: &str) -> Answer<()> {
        self.call(|docker| docker.start_container(id, None)).await
    }

    /// The container with this name or id, or `None` if it does not exist.
    pub(crate) async fn inspect(&self, name: &str) -> Answer<Option<ContainerInspectResponse>> {
        absent_is_none(self.call(|docker| docker.inspect_container(name, None)).await)
    }

    pub(crate) async fn inspect_image(&self, reference: &str) -> Answer<Option<ImageInspect>> {
        absent_is_none(self.call(|docker| docker.inspect_image(reference)).await)
    }

    /// The containers with all of `labels` (`key` or `key=value`), running or not.
    pub(crate) async fn list(&self, labels: Vec<String>) -> Answer<Vec<ContainerSummary>> {
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        self.call(|docker| docker.list_containers(Some(options))).await
    }

    /// When the engine came up: the time at which it created its default network.
    pub(crate) async fn came_up(&self) -> Answer<Option<Timestamp>> {
        let network = self.call(|docker| docker.inspect_network("bridge", None)).await;
        let created = absent_is_none(network)?.and_then(|network| network.created);
        Ok(crate::outcome::moment(created.as_deref()))
    }

    /// The engine's time.
    pub(crate) async fn now(&self) -> Answer<Timestamp> {
        let info = self.call(Docker::info).await?;
        Ok(crate::outcome::moment(info.system_time.as_deref()).unwrap_or_else(Timestamp::now))
    }

    /// Whether containers keep running while the engine is down (`live-restore`).
    pub(crate) async fn leaves_containers_alone(&self) -> Answer<bool> {
        let info = self.call(Docker::info).await?;
        Ok(info.live_restore_enabled.unwrap_or(false))
    }

    /// Sends a signal. A container that does not run or does not exist needs none.
    pub(crate) async fn kill(&self, id: &str, signal: &str) -> Answer<()> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.call(|docker| docker.kill_container(id, Some(options))).await {
            Err(fault) if fault.is_not_found() || fault.is_conflict() => Ok(()),
            answer => answer,
        }
    }

    /// Sends TERM, and KILL after `grace`; returns when the container has ended. The engine keeps
    /// the grace period also after the client has disconnected.
    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Answer<()> {
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let limit = grace.saturating_add(self.config.request_timeout.get());
        let answer =
            self.call_within(limit, |docker| docker.stop_container(id, Some(options))).await;
        match answer {
            Err(fault) if fault.is_not_found() => Ok(()),
            answer => answer,
        }
    }

    /// Removes a container with its anonymous volumes.
    pub(crate) async fn remove(&self, id: &str, removal: Removal) -> Answer<Removed> {
        let force = removal == Removal::Force;
        let options = RemoveContainerOptionsBuilder::default().force(force).v(true).build();
        match self.call(|docker| docker.remove_container(id, Some(options))).await {
            Ok(()) => Ok(Removed::ByUs),
            Err(fault) if fault.is_not_found() => Ok(Removed::WasGone),
            // "removal of container x is already in progress"; with force nothing else conflicts.
            Err(fault) if fault.is_conflict() && force => Ok(Removed::WasGone),
            Err(fault) if fault.is_conflict() => Ok(Removed::Not),
            Err(fault) => Err(fault),
        }
    }
}

fn open(endpoint: &Endpoint) -> std::result::Result<Docker, bollard::errors::Error> {
    let seconds = CLIENT_TIMEOUT_SECONDS;
    match &endpoint.address {
        Address::Unix(path) => {
            Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
        }
        Address::Http(host) => {
            Docker::connect_with_http(&format!("tcp://{host}"), seconds, API_DEFAULT_VERSION)
        }
        Address::Tls { host, certificates: folder } => Docker::connect_with_ssl(
            &format!("tcp://{host}"),
            &folder.join("key.pem"),
            &folder.join("cert.pem"),
            &folder.join("ca.pem"),
            seconds,
            API_DEFAULT_VERSION,
        ),
    }
}

fn absent_is_none<T>(answer: Answer<T>) -> Answer<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(fault) if fault.is_not_found() => Ok(None),
        Err(fault) => Err(fault),
    }
}

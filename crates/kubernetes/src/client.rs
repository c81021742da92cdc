//! The connection to a cluster, which is opened at first use and reopened after a failure.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Response;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::Config;
use longshore_core::{Backoff, Error, ErrorKind, RequestCounter, Result};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tower::layer::layer_fn;
use tower::util::MapResultLayer;

use crate::bounded::Bounded;
use crate::config::KubernetesConfig;
use crate::credential_plugin;
use crate::error::{self, failed, timed_out};
use crate::kubeconfig::{self, Named};
use crate::proxy;
use crate::server_clock::ServerClock;
use crate::target::{self, ClusterId, Target};

/// How long one watch request lasts, in seconds. The server then ends it, and the next request resumes there.
/// The time is short, so that a silently broken connection is soon detected. Three requests in that
/// time serve all jobs.
pub(crate) const WATCH_SECONDS: u32 = 30;
/// How long a watch may be silent before it counts as dead and is resumed. A little longer than the
/// time after which the server ends a watch request.
const WATCH_SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);

/// How long before it expires a plug-in's credential is replaced.
const BEFORE_EXPIRY: SignedDuration = SignedDuration::from_secs(10);

/// The first pause before a failed request is sent again, and the longest one.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Returns the pauses between the retries of requests.
pub(crate) fn retry_backoff() -> Backoff {
    Backoff::new(RETRY_PAUSES.0, RETRY_PAUSES.1)
}

/// A cluster that Longshore can send requests to.
pub(crate) struct Cluster {
    /// For requests, each of which has its own timeout, and for log streams, which may be silent.
    pub(crate) client: Client,
    /// For watches: this client gives up a connection that is silent for too long.
    pub(crate) watcher: Client,
    /// The namespace to use if none is configured.
    pub(crate) namespace: String,
    /// The API server's address.
    pub(crate) server: String,
    /// Where its credentials come from.
    pub(crate) identity: String,
    /// What identifies it.
    pub(crate) id: ClusterId,
    /// The host and port of the proxy through which it is reached, if any.
    pub(crate) proxy: Option<String>,
    request_timeout: Duration,
    /// When the credential of a plug-in expires.
    expires: Option<Timestamp>,
    /// Whether the server no longer accepts these credentials.
    refused: AtomicBool,
    /// Whether the server has granted a request.
    answered: AtomicBool,
}

/// A failed request.
#[derive(Debug)]
pub(crate) struct Failure {
    action: &'static str,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Kube(kube::Error),
    Silence(Duration),
}

impl Failure {
    /// Returns the status code of the server's answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match &self.cause {
            Cause::Kube(error) => error::code(error),
            Cause::Silence(_) => None,
        }
    }

    /// Returns the server's answer, if it refused the request.
    pub(crate) fn refusal(&self) -> Option<&kube::core::Status> {
        match &self.cause {
            Cause::Kube(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }

    /// Returns whether it is certain that the request changed nothing.
    pub(crate) fn had_no_effect(&self) -> bool {
        matches!(&self.cause, Cause::Kube(error) if error::refused(error))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure.cause {
            Cause::Kube(error) => failed(failure.action, &error),
            Cause::Silence(after) => timed_out(failure.action, after),
        }
    }
}

impl Cluster {
    /// Returns whether its credentials are still valid, as far as is known.
    fn is_usable(&self) -> bool {
        let expired = self.expires.is_some_and(|at| at <= Timestamp::now() + BEFORE_EXPIRY);
        !expired && !self.refused.load(Ordering::Relaxed)
    }

    /// Adds to `error` which server it is about, and through which proxy that is reached.
    pub(crate) fn locate(&self, error: Error) -> Error {
        let error = error.with("server", &self.server);
        match &self.proxy {
            Some(proxy) => error.with("proxy", proxy),
            None => error,
        }
    }

    /// Waits for `request`, at most for the configured time.
    pub(crate) async fn ask<T>(
        &self,
        action: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> std::result::Result<T, Failure> {
        let cause = match timeout(self.request_timeout, request).await {
            Ok(Ok(answer)) => {
                self.answered.store(true, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(error)) => Cause::Kube(error),
            Err(_) => Cause::Silence(self.request_timeout),
        };
        let failure = Failure { action, cause };
        if failure.code() == Some(401) {
            self.refused.store(true, Ordering::Relaxed);
        }
        Err(failure)
    }
}

/// Opens the connection to a cluster and caches it.
pub(crate) struct Connection {
    config: KubernetesConfig,
    current: Mutex<Option<Arc<Cluster>>>,
    /// The context whose server has answered. The current context of the kubeconfig may change, as it is
    /// that of all programs, while the jobs of this process stay where they are.
    usual: parking_lot::Mutex<Option<String>>,
    clock: ServerClock,
    requests: RequestCounter,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Connection {
    /// Creates a connection that `config` describes. Reads nothing yet.
    pub(crate) fn new(config: KubernetesConfig, requests: RequestCounter) -> Self {
        let (current, usual) = (Mutex::new(None), parking_lot::Mutex::new(None));
        Self { config, current, usual, clock: ServerClock::default(), requests }
    }

    /// Returns the API server's time.
    pub(crate) fn server_time(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the cluster. Reads the configuration again if it has not been read, if it was
    /// [forgotten](Self::forget), or if its credentials were refused or expire, as they may
    /// have been renewed.
    ///
    /// # Errors
    /// `Unavailable` if there is no configuration, or if it cannot be read or is invalid.
    pub(crate) async fn cluster(&self) -> Result<Arc<Cluster>> {
        let mut current = self.current.lock().await;
        if let Some(cluster) = current.as_ref().filter(|it| it.is_usable()) {
            return Ok(cluster.clone());
        }
        self.leave(current.as_deref());
        let limit = self.config.request_timeout.get();
        // Seldom needed, and large: it is no part of the future of each request.
        let cluster = match timeout(limit, Box::pin(self.open())).await {
            Ok(opened) => Arc::new(opened?),
            Err(_) => return Err(timed_out("failed to set up a client", limit)),
        };
        *current = Some(cluster.clone());
        Ok(cluster)
    }

    /// Returns the cluster, for requests about an attempt in `expected`. `None` is wherever the
    /// configuration leads.
    ///
    /// # Errors
    /// `Unavailable` if the kubeconfig names another cluster now; as [`cluster`](Self::cluster).
    pub(crate) async fn cluster_of(&self, expected: Option<&ClusterId>) -> Result<Arc<Cluster>> {
        let cluster = self.cluster().await?;
        let Some(expected) = expected.filter(|it| !it.is_same(&cluster.id)) else {
            return Ok(cluster);
        };
        // The kubeconfig may name the attempt's cluster again.
        let now = self.load(None).await?.cluster;
        if !expected.is_same(&now) {
            return Err(expected.unreachable_from(&now));
        }
        self.forget_only(&cluster).await;
        *self.usual.lock() = now.context().map(str::to_owned);
        let cluster = self.cluster().await?;
        match expected.is_same(&cluster.id) {
            true => Ok(cluster),
            false => Err(expected.unreachable_from(&cluster.id)),
        }
    }

    /// Checks that the configuration names the cluster of `expected`. Sends no request, and starts no
    /// credential plug-in.
    ///
    /// # Errors
    /// `Unavailable` if the kubeconfig names another cluster now.
    pub(crate) async fn reach(&self, expected: &ClusterId) -> Result<()> {
        let is_home = |it: &Arc<Cluster>| it.is_usable() && expected.is_same(&it.id);
        if self.opened().is_some_and(|it| is_home(&it)) {
            return Ok(());
        }
        match self.load(None).await {
            Ok(named) if !expected.is_same(&named.cluster) => {
                Err(expected.unreachable_from(&named.cluster))
            }
            // What fails without a kubeconfig says so.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns where an attempt would be that is launched now. Sends no request, and starts no
    /// credential plug-in.
    ///
    /// # Errors
    /// `Unavailable` as for [`cluster`](Self::cluster).
    pub(crate) async fn target(&self) -> Result<Target> {
        let opened = self.opened().filter(|it| it.is_usable());
        let (cluster, namespace) = match opened {
            Some(cluster) => (cluster.id.clone(), cluster.namespace.clone()),
            None => {
                let named = self.load(self.usual()).await?;
                (named.cluster, named.config.default_namespace)
            }
        };
        let namespace = self.config.namespace.clone().unwrap_or(namespace);
        Ok(Target { namespace, cluster })
    }

    /// Reads the configuration. If it names no context, that is `usual`, or else the current one.
    async fn load(&self, usual: Option<String>) -> Result<Named> {
        let (given, limit) = (self.config.clone(), self.config.request_timeout.get());
        let loading = blocking(move || kubeconfig::load(&given, usual.as_deref()));
        let late = |_| Err(timed_out("failed to read the kubeconfig", limit));
        timeout(limit, loading).await.unwrap_or_else(late)
    }

    /// Returns the cluster if the configuration has been read.
    pub(crate) fn opened(&self) -> Option<Arc<Cluster>> {
        self.current.try_lock().ok()?.clone()
    }

    /// Reads the configuration and opens the connection that it describes.
    async fn open(&self) -> Result<Cluster> {
        let mut named = self.load(self.usual()).await?;
        let mut expires = None;
        if let Some(plugin) = credential_plugin::of(&named.config.auth_info) {
            // Shorter than a probe, which otherwise ends first and does not know the cause.
            let limit = self.config.connect_timeout.get() * 9 / 10;
            let credential = credential_plugin::ask(plugin, limit).await?;
            expires = credential.expires().ok().flatten();
            credential.give(&mut named.config.auth_info);
        }
        let (config, clock, requests) =
            (self.config.clone(), self.clock.clone(), self.requests.clone());
        let mut cluster = blocking(move || build(&config, &clock, &requests, named)).await?;
        cluster.expires = expires;
        Ok(cluster)
    }

    /// Makes the next use read the configuration again, as it may have been corrected.
    pub(crate) async fn forget(&self) {
        let left = self.current.lock().await.take();
        self.leave(left.as_deref());
    }

    /// Records where the next connection leads, after the one to `left`.
    fn leave(&self, left: Option<&Cluster>) {
        if let Some(left) = left.filter(|it| it.answered.load(Ordering::Relaxed)) {
            *self.usual.lock() = left.id.context().map(str::to_owned);
        }
    }

    fn usual(&self) -> Option<String> {
        self.usual.lock().clone()
    }

    /// Like [`forget`](Self::forget), unless another task has replaced `cluster` meanwhile.
    pub(crate) async fn forget_only(&self, cluster: &Arc<Cluster>) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, cluster)) {
            *current = None;
            self.leave(Some(cluster));
        }
    }
}

/// Runs what reads files, which blocks the thread.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|panicked| {
        Err(Error::new(ErrorKind::Internal, "failed to set up a client").caused_by(panicked))
    })
}

fn build(
    config: &KubernetesConfig,
    clock: &ServerClock,
    requests: &RequestCounter,
    named: Named,
) -> Result<Cluster> {
    let Named { config: mut kube, identity, cluster: id } = named;
    kube.connect_timeout = Some(config.connect_timeout.get());
    kube.read_timeout = None;
    // A POST without an answer may have been carried out, so only the commit protocol may repeat
    // it.
    kube.default_retry = false;
    let mut watching = kube.clone();
    watching.read_timeout = Some(WATCH_SILENCE);
    watching.reset_reader_on_write = true;
    let server = target::normal(&kube.cluster_url);
    let namespace = kube.default_namespace.clone();
    let proxy = kube.proxy_url.as_ref().map(proxy::address);
    let client = |config: Config| -> Result<Client> {
        let builder = ClientBuilder::try_from(config)
            .map_err(|e| failed("failed to set up a client", &e).with("server", &server))?;
        let (clock, requests) = (clock.clone(), requests.clone());
        let heard = MapResultLayer::new(move |answer: std::result::Result<Response<_>, _>| {
            match &answer {
                Ok(answer) => {
                    requests.answered(answer.status().as_u16());
                    clock.heard(answer.headers());
                }
                Err(_) => requests.unanswered(),
            }
            answer
        });
        let bounded = layer_fn(Bounded);
        Ok(builder.with_layer(&bounded).with_layer(&heard).build())
    };
    Ok(Cluster {
        client: client(kube)?,
        watcher: client(watching)?,
        namespace,
        server,
        identity,
        id,
        proxy,
        request_timeout: config.request_timeout.get(),
        expires: None,
        refused: AtomicBool::new(false),
        answered: AtomicBool::new(false),
    })
}

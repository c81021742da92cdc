//! Builds the dispatcher, and starts and stops the service.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use longshore::config::Loader;
use longshore::dispatch::{DispatcherBuilder, MetricsObserver};
use longshore::{Config, Dispatcher};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::api::{Service, routes};
use crate::spare::spare;
use crate::tenants::Tenants;

/// How often ended jobs that are older than `job.retention` are removed.
const CLEAN_UP: Duration = Duration::from_secs(3600);
/// How long requests may take to end once the service stops.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Reads the configuration: `JOB_*` variables over the defaults.
pub fn config() -> Result<Config> {
    Ok(Loader::<Config>::new().environment(std::env::vars()).load()?.value)
}

/// Returns a builder with the configured runners, and the service's own.
pub fn builder(config: &Config) -> Result<DispatcherBuilder> {
    let cpus = std::thread::available_parallelism()?.get();
    let max_load = variable("SERVICE_MAX_LOAD", &cpus.to_string()).parse()?;
    // Two runners must not share a directory.
    let mut processes = config.job.process.clone();
    processes.state_directory = Some(longshore::config::state_directory(config)?.join("spare"));
    Ok(longshore::builder(config)?
        .runner(Arc::new(spare("spare".parse()?, processes, max_load)))
        .observer(Arc::new(MetricsObserver::new())))
}

/// Runs the service until SIGTERM or SIGINT.
pub async fn serve(dispatcher: Dispatcher) -> Result<()> {
    let stopping = CancellationToken::new();
    let tenants = Tenants::read(variable("SERVICE_TENANTS", "tenants.toml").as_ref())?;
    let service = Service {
        dispatcher: dispatcher.clone(),
        metrics: PrometheusBuilder::new().install_recorder()?,
        stopping: stopping.clone(),
    };
    // The jobs that an earlier process left unfinished. Dropping a `Job` does not stop following it.
    for (id, job) in dispatcher.attach_all().await? {
        if let Err(error) = job {
            tracing::error!(job = %id, %error, "a job cannot be followed");
        }
    }
    let cleaner = dispatcher.clone();
    tokio::spawn(async move {
        loop {
            if let Err(error) = cleaner.gc(None, false).await {
                tracing::warn!(%error, "failed to clean up");
            }
            sleep(CLEAN_UP).await;
        }
    });

    let listener = TcpListener::bind(variable("SERVICE_ADDRESS", "127.0.0.1:8080")).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let requests = axum::serve(listener, routes(service, tenants));
    let requests = requests.with_graceful_shutdown(stopping.clone().cancelled_owned());
    let requests = tokio::spawn(requests.into_future());
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! { _ = term.recv() => {}, _ = ctrl_c() => {} }
    tracing::info!("stopping");
    stopping.cancel();
    let _ = timeout(LAST_REQUESTS, requests).await;
    // The jobs that have started go on. The next process follows them, or one that already waits.
    dispatcher.abandon();
    dispatcher.shutdown().await;
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

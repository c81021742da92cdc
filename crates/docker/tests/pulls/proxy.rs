//! A socket in front of the engine's, which inspects requests.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use longshore_core::RunnerName;
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

/// Runs before a request is forwarded to the engine.
type Before = dyn Fn(&str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// A proxy; once dropped, the engine is unreachable.
pub(crate) struct Proxy {
    folder: tempfile::TempDir,
    serving: JoinHandle<()>,
}

impl Proxy {
    /// Forwards all requests to the engine of `DOCKER_HOST`, each after `before` has seen its first
    /// line.
    pub(crate) fn start<F>(
        before: impl Fn(&str) -> F + Send + Sync + 'static,
    ) -> std::io::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        let engine = PathBuf::from(engine.trim_start_matches("unix://"));
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("proxy.sock"))?;
        let before: Arc<Before> = Arc::new(move |line| Box::pin(before(line)));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(hand_on(client, engine.clone(), Arc::clone(&before)));
            }
        });
        Ok(Self { folder, serving })
    }

    pub(crate) fn runner(&self) -> DockerRunner {
        let mut config = DockerConfig::default();
        config.host = Some(format!("unix://{}", self.folder.path().join("proxy.sock").display()));
        DockerRunner::new(RunnerName::docker(), config)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // This also ends the connections.
        self.serving.abort();
    }
}

/// Serves one connection; the client opens one for each request.
async fn hand_on(mut client: UnixStream, engine: PathBuf, before: Arc<Before>) {
    let mut begin = vec![0; 4096];
    let Ok(read) = client.read(&mut begin).await else { return };
    let text = String::from_utf8_lossy(&begin[..read]).into_owned();
    before(text.lines().next().unwrap_or_default()).await;
    if let Ok(mut server) = UnixStream::connect(engine).await
        && server.write_all(&begin[..read]).await.is_ok()
    {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

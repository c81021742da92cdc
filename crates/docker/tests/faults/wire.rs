//! A socket in front of the engine's whose connections can be cut, or die silently.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use longshore_core::RunnerName;
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What happens to a request, by its first line; `None`: nothing.
type Faults = dyn Fn(&str) -> Option<Harm> + Send + Sync;

/// What happens to a request.
enum Harm {
    /// Its answer is cut after this many bytes.
    CutAfter(usize),
    /// It stays unanswered, and the engine never receives it.
    Hold,
    /// It takes effect, and this is the answer, once it is [released](Wire::release).
    Answer(&'static str),
}

/// What happens to connections.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// When the engine is to seem to have come up, if not at the true time.
    came_up: Option<Timestamp>,
    /// How often all connections have been cut.
    cut: u32,
    /// How often connections have been frozen, and the text in the requests of those that were.
    frozen: (u32, &'static str),
    /// Whether answers that are not the engine's are sent.
    released: bool,
}

/// A wire; once dropped, the engine is unreachable.
pub(crate) struct Wire {
    folder: tempfile::TempDir,
    state: Arc<watch::Sender<State>>,
    serving: JoinHandle<()>,
}

impl Wire {
    /// Forwards all requests to the engine of `DOCKER_HOST`.
    pub(crate) fn plain() -> io::Result<Self> {
        Self::with(|_| None)
    }

    /// Forwards all requests except those whose first line contains `what`. Those stay unanswered.
    pub(crate) fn holding(what: &'static str) -> io::Result<Self> {
        Self::with(move |line| line.contains(what).then_some(Harm::Hold))
    }

    /// Forwards all requests, and cuts some of the answers.
    pub(crate) fn cutting(
        cut: impl Fn(&str) -> Option<usize> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::with(move |line| cut(line).map(Harm::CutAfter))
    }

    /// Forwards all requests. Those whose first line contains `what` have another `answer`.
    pub(crate) fn answering(what: &'static str, answer: &'static str) -> io::Result<Self> {
        Self::with(move |line| line.contains(what).then_some(Harm::Answer(answer)))
    }

    /// Sends the answers that are not the engine's.
    pub(crate) fn release(&self) {
        self.state.send_modify(|state| state.released = true);
    }

    fn with(faults: impl Fn(&str) -> Option<Harm> + Send + Sync + 'static) -> io::Result<Self> {
        let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
        let engine = PathBuf::from(engine.trim_start_matches("unix://"));
        let folder = tempfile::tempdir()?;
        let listener = UnixListener::bind(folder.path().join("wire.sock"))?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let (shared, faults): (_, Arc<Faults>) = (state.clone(), Arc::new(faults));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let state = shared.subscribe();
                connections.spawn(hand_on(client, engine.clone(), state, faults.clone()));
            }
        });
        Ok(Self { folder, state, serving })
    }

    pub(crate) fn runner(&self) -> DockerRunner {
        let mut config = DockerConfig::default();
        config.host = Some(format!("unix://{}", self.folder.path().join("wire.sock").display()));
        DockerRunner::new(RunnerName::docker(), config)
    }

    /// Keeps the connections whose request contains `what` open, and forwards nothing more on them.
    pub(crate) fn freeze(&self, what: &'static str) {
        self.state.send_modify(|state| state.frozen = (state.frozen.0 + 1, what));
    }

    /// From now on the engine seems to have come up just now.
    pub(crate) fn seem_restarted(&self) {
        self.state.send_modify(|state| state.came_up = Some(Timestamp::now()));
    }

    /// Cuts every connection and moves the socket away.
    pub(crate) fn take_away(&self) -> io::Result<()> {
        std::fs::rename(self.folder.path().join("wire.sock"), self.folder.path().join("away"))?;
        self.state.send_modify(|state| state.cut += 1);
        Ok(())
    }

    /// Moves the socket back.
    pub(crate) fn put_back(&self) -> io::Result<()> {
        std::fs::rename(self.folder.path().join("away"), self.folder.path().join("wire.sock"))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // This also ends the connections.
        self.serving.abort();
    }
}

/// Serves one connection; the client opens one for each request.
async fn hand_on(
    mut client: UnixStream,
    engine: PathBuf,
    mut state: watch::Receiver<State>,
    faults: Arc<Faults>,
) {
    let first = *state.borrow_and_update();
    let mut begin = vec![0; 4096];
    let Ok(read) = client.read(&mut begin).await else { return };
    let text = String::from_utf8_lossy(&begin[..read]).into_owned();
    let line = text.lines().next().unwrap_or_default();
    let harm = faults(line);
    if matches!(harm, Some(Harm::Hold)) {
        let _ = state.wait_for(|now| now.cut != first.cut).await;
        return;
    }
    let Ok(mut server) = UnixStream::connect(engine).await else { return };
    if server.write_all(&begin[..read]).await.is_err() {
        return;
    }
    if let Some(came_up) = first.came_up.filter(|_| line.contains("/networks/bridge")) {
        let _ = with_age(&mut server, &mut client, came_up).await;
    }
    if let Some(Harm::CutAfter(after)) = harm {
        let mut some = server.take(after as u64);
        let _ = tokio::io::copy(&mut some, &mut client).await;
        return;
    }
    if let Some(Harm::Answer(answer)) = harm {
        // The engine has answered once this returns.
        let _ = server.read(&mut begin).await;
        let _ = state.wait_for(|now| now.released).await;
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let freezes = |now: &State| now.frozen.0 != first.frozen.0 && line.contains(now.frozen.1);
    let change = state.wait_for(|now| now.cut != first.cut || freezes(now));
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = change => {}
    }
    // A frozen connection stays open until it is cut.
    let _ = state.wait_for(|now| now.cut != first.cut).await;
}

/// Forwards the beginning of an answer, with another time of creation in it.
async fn with_age(
    server: &mut UnixStream,
    client: &mut UnixStream,
    came_up: Timestamp,
) -> io::Result<()> {
    const KEY: &str = "\"Created\":\"";
    let mut answer = String::new();
    loop {
        let mut some = vec![0; 4096];
        let read = server.read(&mut some).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(&String::from_utf8_lossy(&some[..read]));
        let Some((before, rest)) = answer.split_once(KEY) else { continue };
        let Some((old, after)) = rest.split_once('"') else { continue };
        // As long as the old time, because the answer's length is already sent.
        let digits = old.len() - "2026-11-24T01:10:59.Z".len();
        let made = format!("{before}{KEY}{came_up:.digits$}\"{after}");
        return client.write_all(made.as_bytes()).await;
    }
}

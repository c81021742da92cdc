//! Attaches to the terminal of a container that runs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use longshore_core::{
    AttachOutput, AttachSpec, Attachment, Error, ErrorKind, JobStdin, LogChunk, LogPosition,
    LogStream, Result, TerminalSize, TerminalSizes,
};
use tokio::io::{AsyncRead, AsyncWrite, SimplexStream, WriteHalf};
use tokio::sync::watch;
use tokio_util::io::ReaderStream;

use crate::backend::Backend;
use crate::error::Message;
use crate::location::Location;
use crate::logs::logs;
use crate::probe::ensure_stdin;
use crate::stdin::{has_terminal, running_container};

const FAILED: &str = "failed to attach to the Pod";

/// How much of each stream is buffered.
const BUFFER_BYTES: usize = 64 << 10;

/// Attaches to the terminal of an attempt that runs.
pub(crate) async fn attach(
    backend: Arc<Backend>,
    location: Location,
    spec: AttachSpec,
) -> Result<Attachment> {
    let not_running = || Error::new(ErrorKind::NotFound, "the job does not run");
    let cluster = backend.cluster_of(&location).await?;
    let pods = cluster.pods_of(&location).await?;
    let running = |pod| running_container(pod).map(|(name, container)| (pod, name, container));
    let (pod, name, container) = pods.iter().find_map(running).ok_or_else(not_running)?;
    if !has_terminal(pod, &container) {
        let message = "Kubernetes has no position in the output of a job without a terminal";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let reads = spec.output != AttachOutput::None;
    let params = AttachParams {
        // The API wants at least one stream.
        stdin: spec.stdin || !reads,
        stdout: reads,
        stderr: false,
        tty: true,
        container: Some(container),
        max_stdin_buf_size: Some(BUFFER_BYTES),
        max_stdout_buf_size: Some(BUFFER_BYTES),
        ..AttachParams::default()
    };
    let api = cluster.pods(&location);
    let mut process = match cluster.ask(FAILED, api.attach(&name, &params)).await {
        Ok(process) => process,
        // The answer to a connection that the server refuses says only that it does.
        Err(failure) => {
            ensure_stdin(&cluster, cluster.namespace(&location)).await?;
            let pods = cluster.pods_of(&location).await?;
            return Err(match pods.iter().any(|pod| running_container(pod).is_some()) {
                true => failure.into(),
                false => not_running(),
            });
        }
    };
    let Some(sizes) = process.terminal_size().map(sizes) else { return Err(not_running()) };
    let writer = process.stdin();
    let shown = process.stdout();
    let status = process.take_status();
    let connection = Arc::new(Connection(process));
    let stdin = writer.filter(|_| spec.stdin).map(|writer| {
        Box::new(Keyboard { writer, _connection: Some(Arc::clone(&connection)) }) as JobStdin
    });
    let kept = Arc::clone(&connection);
    let output = shown.map(|shown| {
        let before = (spec.output == AttachOutput::Unlogged).then_some((backend, location));
        output(connection, shown, status, before).boxed()
    });
    // The sizes too are sent on the connection.
    let held = TerminalSizes::new(move |size| {
        let _ = &kept;
        sizes.set(size);
    });
    Ok(Attachment::new(output).with_terminal(stdin, held))
}

/// An attached connection, which is closed once nothing needs it.
struct Connection(AttachedProcess);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns what the terminal shows, to the end of the job, after the log from `before`.
fn output(
    connection: Arc<Connection>,
    shown: impl AsyncRead + Send + 'static,
    status: Option<impl Future<Output = Option<Status>> + Send>,
    before: Option<(Arc<Backend>, Location)>,
) -> impl Stream<Item = Result<LogChunk>> {
    async_stream::try_stream! {
        let _connection = connection;
        let mut pieces = std::pin::pin!(ReaderStream::with_capacity(shown, BUFFER_BYTES));
        let mut position = LogPosition::START;
        let mut log = match before {
            Some((backend, location)) => logged(backend, location).await?,
            None => Vec::new(),
        };
        // By now, what was written before the end of the log has arrived.
        let mut first = Some(tokio::time::timeout(std::time::Duration::ZERO, pieces.next()).await);
        loop {
            let piece = match first.take() {
                Some(Ok(piece)) => piece,
                Some(Err(_)) => Some(Ok(Bytes::new())),
                None => pieces.next().await,
            };
            let Some(piece) = piece else { break };
            let piece = piece.map_err(|error| failed(error.to_string()))?;
            let bytes = after_log(&mut log, piece);
            if !bytes.is_empty() {
                let chunk = LogChunk::data(LogStream::Stdout, position.stdout, bytes);
                position.advance(&chunk);
                yield chunk;
            }
        }
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let ended = status.as_ref().is_some_and(|it| it.status.as_deref() == Some("Success"));
        if !ended {
            let why = status.and_then(|status| status.message);
            let why = why.unwrap_or_else(|| "the API server has closed the connection".to_owned());
            Err(failed(why))?;
        }
    }
}

/// Returns what the log has until now, as the terminal has shown it: the container runtime removes the
/// carriage returns at the ends of lines.
async fn logged(backend: Arc<Backend>, location: Location) -> Result<Vec<u8>> {
    let mut log = Vec::new();
    let mut chunks = std::pin::pin!(logs(backend, location, LogPosition::START, false));
    while let Some(chunk) = chunks.next().await {
        if let LogChunk::Data { bytes, .. } = chunk? {
            for byte in bytes {
                if byte == b'\n' && log.last() != Some(&b'\r') {
                    log.push(b'\r');
                }
                log.push(byte);
            }
        }
    }
    Ok(log)
}

/// Returns `log`, which is empty from then on, with what follows it in `shown`: a terminal may show
/// again what is at the end of the log.
fn after_log(log: &mut Vec<u8>, shown: Bytes) -> Bytes {
    let mut all = std::mem::take(log);
    if all.is_empty() {
        return shown;
    }
    let longest = all.len().min(shown.len());
    let common = (0..=longest).rev().find(|length| {
        all.len().checked_sub(*length).is_some_and(|at| all.get(at..) == shown.get(..*length))
    });
    all.extend_from_slice(shown.get(common.unwrap_or_default()..).unwrap_or_default());
    all.into()
}

fn failed(reason: String) -> Error {
    Error::new(ErrorKind::Unavailable, "failed to follow the job's terminal")
        .caused_by(Message(reason))
}

/// Returns what changes the size of a terminal by `sender`.
pub(crate) fn sizes(mut sender: mpsc::Sender<kube::api::TerminalSize>) -> TerminalSizes {
    let (newest, mut wanted) = watch::channel::<Option<TerminalSize>>(None);
    tokio::spawn(async move {
        while wanted.changed().await.is_ok() {
            let Some(TerminalSize { width, height, .. }) = *wanted.borrow_and_update() else {
                continue;
            };
            if sender.send(kube::api::TerminalSize { width, height }).await.is_err() {
                return;
            }
        }
    });
    TerminalSizes::new(move |size| {
        newest.send_replace(Some(size));
    })
}

/// The input of a terminal. A kubelet ends the output too once it gets end of file, so that none is
/// sent.
pub(crate) struct Keyboard {
    writer: WriteHalf<SimplexStream>,
    _connection: Option<Arc<Connection>>,
}

impl Keyboard {
    /// The input of a terminal whose connection something else keeps.
    pub(crate) const fn new(writer: WriteHalf<SimplexStream>) -> Self {
        Self { writer, _connection: None }
    }
}

impl AsyncWrite for Keyboard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_shows_again_of_the_log_is_shown_once() {
        for (log, shown, expected) in [
            ("", "new", "new"),
            ("a\r\nb\r\n", "", "a\r\nb\r\n"),
            ("a\r\nb\r\n", "b\r\nc", "a\r\nb\r\nc"),
            ("a\r\nb\r\n", "$ ", "a\r\nb\r\n$ "),
            ("a\r\n", "a\r\nb", "a\r\nb"),
        ] {
            let mut log = log.as_bytes().to_vec();
            let all = after_log(&mut log, Bytes::copy_from_slice(shown.as_bytes()));
            assert_eq!(all, expected, "{shown:?}");
            assert!(log.is_empty());
        }
    }
}

//! Attaches to a container that runs: to its output from now on, and to its terminal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use longshore_core::{
    AttachOutput, AttachSpec, Attachment, Backoff, Error, ErrorKind, JobStdin, LogChunk,
    LogPosition, LogStream, Result, TerminalSize, TerminalSizes,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::io::ReaderStream;

use crate::backend::Backend;
use crate::body;
use crate::client::NO_DETACH_KEYS;
use crate::fault::Fault;
use crate::http::Call;
use crate::location::Location;
use crate::logs::ends_now;
use crate::stdin::Attached;

const FAILED: &str = "failed to attach to the job";

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// The first and the longest pause between two tries to set the size of a terminal, and how many there
/// are: it may not exist yet when its size is first set.
const RESIZE: (Duration, Duration, u32) =
    (Duration::from_millis(10), Duration::from_millis(500), 8);

/// Attaches to an attempt that runs.
pub(crate) async fn attach(
    backend: Arc<Backend>,
    location: Location,
    spec: AttachSpec,
) -> Result<Attachment> {
    let failed = |fault: Fault| backend.not_running_or(fault, FAILED, &location);
    let id = backend.running(&location, FAILED).await?;
    let sizes = sizes(&backend, format!("/containers/{id}/resize"));
    let reads = spec.output == AttachOutput::FromNow;
    let types = spec.stdin && location.tty;
    let mut query = vec![("stream", "true"), ("detachKeys", NO_DETACH_KEYS)];
    if reads {
        query.extend([("stdout", "true"), ("stderr", "true")]);
    }
    if types {
        query.push(("stdin", "true"));
    }
    if !reads && !types {
        let attached = Attachment::new(None);
        return Ok(if location.tty { attached.with_terminal(None, sizes) } else { attached });
    }
    let connection = backend.engine.attach_to(&id, &query).await.map_err(failed)?;
    let (reader, writer) = tokio::io::split(connection);
    let tty = location.tty;
    let stdin = types.then(|| Box::new(Keyboard(Attached(writer))) as JobStdin);
    let output = reads.then(|| output(backend, location, reader).boxed());
    let attached = Attachment::new(output);
    Ok(if tty { attached.with_terminal(stdin, sizes) } else { attached })
}

/// The output that arrives on `connection`, to the end of the job.
fn output(
    backend: Arc<Backend>,
    location: Location,
    connection: impl AsyncRead + Send + 'static,
) -> impl Stream<Item = Result<LogChunk>> {
    async_stream::try_stream! {
        let snapshot = backend.informer.subscribe(&location.attempt);
        let pieces = ReaderStream::with_capacity(connection, PIECE);
        let mut records = match location.tty {
            true => body::shown(pieces).boxed(),
            false => body::records(pieces).boxed(),
        };
        let mut position = LogPosition::START;
        while let Some(record) = records.next().await {
            let (stream, bytes): (LogStream, _) = record.map_err(|cause| {
                backend.error(backend.engine.fault(cause), "failed to read the output", &location)
            })?;
            if bytes.is_empty() {
                continue;
            }
            let chunk = LogChunk::data(stream, position.of(stream), bytes);
            position.advance(&chunk);
            yield chunk;
        }
        if !ends_now(&backend, &location, &snapshot).await {
            let message = "the connection to the Docker engine was closed";
            Err(Error::new(ErrorKind::Unavailable, message))?;
        }
    }
}

/// The size of a terminal as the engine takes it: its rows and columns.
pub(crate) fn console_size(size: TerminalSize) -> Vec<usize> {
    vec![size.height.into(), size.width.into()]
}

/// What changes the size of the terminal whose resource is `target`.
pub(crate) fn sizes(backend: &Arc<Backend>, target: String) -> TerminalSizes {
    let engine = Arc::clone(&backend.engine);
    let (sender, mut wanted) = watch::channel::<Option<TerminalSize>>(None);
    tokio::spawn(async move {
        while wanted.changed().await.is_ok() {
            let Some(size) = *wanted.borrow_and_update() else { continue };
            let (height, width) = (size.height.to_string(), size.width.to_string());
            let (first, longest, tries) = RESIZE;
            let mut backoff = Backoff::new(first, longest);
            for _ in 0..tries {
                let query = [("h", height.as_str()), ("w", width.as_str())];
                match engine.order(Call::post(&target).query(&query)).await {
                    Ok(_) => break,
                    Err(fault) => tracing::debug!(?fault, "failed to set the size of a terminal"),
                }
                sleep(backoff.next_pause()).await;
                if wanted.has_changed().unwrap_or(false) {
                    break;
                }
            }
        }
    });
    TerminalSizes::new(move |size| {
        sender.send_replace(Some(size));
    })
}

/// The input of a terminal. The engine ends the output too if its half of the connection is closed, so
/// that it is only closed with the other half.
pub(crate) struct Keyboard<T>(pub(crate) Attached<T>);

impl<T: AsyncWrite + Unpin> AsyncWrite for Keyboard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

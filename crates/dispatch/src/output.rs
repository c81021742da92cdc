//! Passes a job's output on to its reader.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::{Backoff, ErrorKind, LogChunk, LogPosition, LogStream, Result, TimedChunk};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::attempt_client::AttemptClient;

/// How long after the job's end to wait for each next piece of its output.
const DRAIN: Duration = Duration::from_secs(30);

/// A piece of output, with its time or without.
pub(crate) trait Piece: Send + Sized + 'static {
    /// Reads the output of an attempt to its end.
    fn follow(client: &AttemptClient, since: LogPosition) -> BoxStream<'static, Result<Self>>;

    fn chunk(&self) -> &LogChunk;

    fn gap(gap: LogChunk) -> Self;
}

impl Piece for LogChunk {
    fn follow(client: &AttemptClient, since: LogPosition) -> BoxStream<'static, Result<Self>> {
        client.runner.logs(&client.handle, since, true)
    }

    fn chunk(&self) -> &LogChunk {
        self
    }

    fn gap(gap: LogChunk) -> Self {
        gap
    }
}

impl Piece for TimedChunk {
    fn follow(client: &AttemptClient, since: LogPosition) -> BoxStream<'static, Result<Self>> {
        client.runner.timed_logs(&client.handle, since, true)
    }

    fn chunk(&self) -> &LogChunk {
        &self.chunk
    }

    fn gap(gap: LogChunk) -> Self {
        Self::new(None, gap)
    }
}

/// Passes the output of an attempt on, from `since` to its end. Returns when all output was taken,
/// when the reader has left, or when no more output arrives although the job has `ended`. In the
/// last case, the output ends with a gap.
pub(crate) async fn forward_output<P: Piece>(
    client: &AttemptClient,
    separate_streams: bool,
    reader: mpsc::Sender<P>,
    since: LogPosition,
    ended: CancellationToken,
) {
    let forwarder = Forwarder { client, reader, ended };
    let mut position = since;
    match forwarder.run(&mut position).await {
        Flow::Over => {}
        Flow::Missing => forwarder.mark_missing(position, separate_streams).await,
    }
}

struct Forwarder<'a, P> {
    client: &'a AttemptClient,
    reader: mpsc::Sender<P>,
    ended: CancellationToken,
}

/// Why the forwarder stopped.
enum Flow {
    /// All output was passed on, or the reader has left.
    Over,
    /// The rest of the output no longer arrives.
    Missing,
}

/// What the forwarder has read so far.
struct Progress<'a> {
    position: &'a mut LogPosition,
    backoff: &'a mut Backoff,
    /// Since when no output has arrived, counted from the job's end.
    quiet_since: &'a mut Option<Instant>,
}

impl Progress<'_> {
    fn received(&mut self, chunk: &LogChunk) {
        self.position.advance(chunk);
        self.backoff.reset();
        *self.quiet_since = None;
    }
}

impl<P: Piece> Forwarder<'_, P> {
    async fn run(&self, position: &mut LogPosition) -> Flow {
        let mut backoff = self.client.backoff();
        let mut quiet_since = None;
        loop {
            let mut progress =
                Progress { position, backoff: &mut backoff, quiet_since: &mut quiet_since };
            if let Some(flow) = self.run_once(&mut progress).await {
                return flow;
            }
            tokio::select! {
                biased;
                () = self.reader.closed() => return Flow::Over,
                () = self.drained(&mut quiet_since) => return Flow::Missing,
                () = sleep(backoff.next_pause()) => {}
            }
        }
    }

    /// Reads one of the runner's streams to its end. Returns `None` if it broke off.
    async fn run_once(&self, progress: &mut Progress<'_>) -> Option<Flow> {
        let mut chunks = P::follow(self.client, *progress.position);
        let mut broken = false;
        loop {
            let next = tokio::select! {
                biased;
                () = self.reader.closed() => return Some(Flow::Over),
                next = chunks.next() => next,
                () = self.drained(progress.quiet_since) => return Some(Flow::Missing),
            };
            match next {
                Some(Ok(chunk)) => {
                    broken = false;
                    progress.received(chunk.chunk());
                    if self.reader.send(chunk).await.is_err() {
                        return Some(Flow::Over);
                    }
                }
                Some(Err(error)) => {
                    self.client.trouble(&error);
                    // Output that is gone does not come back.
                    if error.kind() == ErrorKind::NotFound && self.ended.is_cancelled() {
                        return Some(Flow::Missing);
                    }
                    broken = true;
                }
                None if broken => return None,
                None => return Some(Flow::Over),
            }
        }
    }

    /// Returns when the job has ended and no output has arrived for `DRAIN` since. The time that
    /// the reader takes does not count.
    async fn drained(&self, quiet_since: &mut Option<Instant>) {
        self.ended.cancelled().await;
        let since = *quiet_since.get_or_insert_with(Instant::now);
        sleep_until(since + DRAIN).await;
    }

    async fn mark_missing(&self, position: LogPosition, separate_streams: bool) {
        let streams: &[LogStream] = if separate_streams {
            &[LogStream::Stdout, LogStream::Stderr]
        } else {
            &[LogStream::Stdout]
        };
        for stream in streams {
            let gap = LogChunk::gap(*stream, position.of(*stream), None);
            // A reader that has left misses nothing.
            let _ = self.reader.send(P::gap(gap)).await;
        }
    }
}

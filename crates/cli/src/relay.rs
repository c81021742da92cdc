//! Passes a job's output on to the command's own stdout and stderr, byte by byte.

use std::io;

use futures::{Stream, StreamExt};
use longshore::job::{Canceller, LogChunk, LogStream};
use tokio::io::{AsyncWrite, AsyncWriteExt, Stderr, Stdout};

use crate::output;
use crate::progress::ProgressLine;

/// How many pieces of output, each of some kilobytes at most, are combined in one write.
const CHUNKS_AT_ONCE: usize = 64;

/// What happens once stdout has no reader any more.
#[derive(Clone, Debug)]
pub enum Unread {
    /// The job is cancelled, as in `longshore run yes | head -1`, and the rest of its output is
    /// dropped. The flag says whether to print nothing about it.
    Cancel(Canceller, bool),
    /// Reading stops: nothing is left to do.
    Stop,
}

/// The command's own output streams.
pub struct Relay {
    stdout: Sink<Stdout>,
    stderr: Sink<Stderr>,
}

impl Relay {
    /// Creates a relay to this command's stdout and stderr.
    pub fn new() -> Self {
        let stdout = Sink::new(tokio::io::stdout(), "stdout");
        let stderr = Sink::new(tokio::io::stderr(), "stderr");
        Self { stdout, stderr }
    }

    /// Passes `chunks` on until they end or the first error occurs. Returns what could not be
    /// written, which has been reported on stderr. A reader that has gone away does not count.
    pub async fn pass_on<E>(
        mut self,
        chunks: impl Stream<Item = Result<LogChunk, E>>,
        progress: &ProgressLine,
        unread: Unread,
    ) -> Result<Vec<String>, E> {
        // Output that arrived meanwhile is combined in one write: a backend may deliver each line
        // separately.
        let mut unread = Some(unread);
        let mut ready = std::pin::pin!(chunks.ready_chunks(CHUNKS_AT_ONCE));
        while let Some(chunks) = ready.next().await {
            progress.clear();
            let mut taken = Ok(());
            for chunk in chunks {
                match chunk {
                    Ok(chunk) => self.take(chunk).await,
                    Err(error) => {
                        taken = Err(error);
                        break;
                    }
                }
            }
            self.flush().await;
            taken?;
            if !self.stdout.has_lost_its_reader() {
                continue;
            }
            match unread.take() {
                Some(Unread::Stop) => break,
                Some(Unread::Cancel(canceller, quiet)) => {
                    if !quiet {
                        output::say("stdout has no reader any more: cancelling the job");
                    }
                    canceller.cancel();
                }
                None => {}
            }
        }
        Ok(self.stdout.failure.into_iter().chain(self.stderr.failure).collect())
    }

    /// Buffers `chunk` for the next [`flush`](Self::flush). The order of the two streams is kept.
    async fn take(&mut self, chunk: LogChunk) {
        match chunk {
            LogChunk::Data { stream: LogStream::Stdout, bytes, .. } => {
                self.stderr.flush().await;
                self.stdout.push(&bytes);
            }
            LogChunk::Data { stream: LogStream::Stderr, bytes, .. } => {
                self.stdout.flush().await;
                self.stderr.push(&bytes);
            }
            LogChunk::Gap { missing, .. } => {
                self.flush().await;
                let bytes = missing.map_or_else(String::new, |n| format!(" of {n} bytes"));
                output::warn(&format!("the backend lost a part{bytes} of the job's output here"));
            }
            _ => {}
        }
    }

    /// Writes the buffered output.
    async fn flush(&mut self) {
        self.stdout.flush().await;
        self.stderr.flush().await;
    }
}

/// One of the command's own output streams.
struct Sink<W> {
    writer: Option<W>,
    pending: Vec<u8>,
    name: &'static str,
    /// Why output was dropped that somebody wanted to read.
    failure: Option<String>,
}

impl<W: AsyncWrite + Unpin> Sink<W> {
    const fn new(writer: W, name: &'static str) -> Self {
        Self { writer: Some(writer), pending: Vec::new(), name, failure: None }
    }

    /// Buffers `bytes` for the next [`flush`](Self::flush).
    fn push(&mut self, bytes: &[u8]) {
        if self.writer.is_some() {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Whether the reader has gone.
    const fn has_lost_its_reader(&self) -> bool {
        self.writer.is_none() && self.failure.is_none()
    }

    /// Writes the buffered output. After a failure, further output is dropped.
    async fn flush(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|_| !self.pending.is_empty()) else {
            return;
        };
        let written = match writer.write_all(&self.pending).await {
            Ok(()) => writer.flush().await,
            failed => failed,
        };
        self.pending.clear();
        if let Err(error) = written {
            self.writer = None;
            if error.kind() != io::ErrorKind::BrokenPipe {
                let failure = format!("failed to write to {}: {error}", self.name);
                output::complain(&format!("{failure}; the job's further output is dropped"));
                self.failure = Some(failure);
            }
        }
    }
}

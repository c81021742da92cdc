//! Passes a job's output on to the command's own stdout and stderr, byte by byte.

use std::io;

use futures::{Stream, StreamExt};
use longshore::job::{Canceller, LogChunk, LogStream};
use tokio::task::spawn_blocking;

use crate::output;
use crate::progress::ProgressLine;
use crate::streams::Output;

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
    stdout: Sink,
    stderr: Sink,
}

impl Relay {
    /// Creates a relay to this command's stdout and stderr.
    pub fn new() -> Self {
        Self { stdout: Sink::new(Output::Stdout), stderr: Sink::new(Output::Stderr) }
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
struct Sink {
    stream: Output,
    pending: Vec<u8>,
    /// Whether output can be written.
    open: bool,
    /// Why output was dropped that somebody wanted to read.
    failure: Option<String>,
}

impl Sink {
    const fn new(stream: Output) -> Self {
        Self { stream, pending: Vec::new(), open: true, failure: None }
    }

    /// Buffers `bytes` for the next [`flush`](Self::flush).
    fn push(&mut self, bytes: &[u8]) {
        if self.open {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Whether the reader has gone.
    const fn has_lost_its_reader(&self) -> bool {
        !self.open && self.failure.is_none()
    }

    /// Writes the buffered output. After a failure, further output is dropped.
    async fn flush(&mut self) {
        if !self.open || self.pending.is_empty() {
            return;
        }
        let (stream, mut bytes) = (self.stream, std::mem::take(&mut self.pending));
        // A write to a pipe may block.
        let writing = spawn_blocking(move || {
            let written = stream.write_all(&bytes);
            bytes.clear();
            (written, bytes)
        });
        let written = match writing.await {
            Ok((written, buffer)) => {
                self.pending = buffer;
                written
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            self.open = false;
            if error.kind() != io::ErrorKind::BrokenPipe {
                let failure = format!("failed to write to {}: {error}", stream.name());
                output::complain(&format!("{failure}; the job's further output is dropped"));
                self.failure = Some(failure);
            }
        }
    }
}

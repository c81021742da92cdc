//! Reads a job's output and checks its form as it arrives.

use std::time::Duration;

use futures::{Stream, StreamExt};
use longshore_core::{LogChunk, LogPosition, LogStream};

use crate::Failure;
use crate::failure::{Checked, check};
use crate::wait::within;

/// The part of a job's output that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    pub(crate) fn take(&mut self, stream: LogStream, bytes: &[u8]) {
        match stream {
            LogStream::Stdout => self.stdout.extend_from_slice(bytes),
            LogStream::Stderr => self.stderr.extend_from_slice(bytes),
        }
    }

    /// Returns the standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Reads a stream of output piece by piece. Each piece must begin where the previous one ended and
/// must not be empty. A gap is a failure, except in [`next_or_gap`](Self::next_or_gap), and at the end
/// if the backend `hides_last_newlines`.
pub(crate) struct Reader<S> {
    chunks: S,
    position: LogPosition,
    separate: bool,
    hides_last_newlines: bool,
    patience: Duration,
}

impl<S> Reader<S>
where
    S: Stream<Item = longshore_core::Result<LogChunk>> + Unpin,
{
    pub(crate) const fn new(
        chunks: S,
        since: LogPosition,
        separate: bool,
        hides_last_newlines: bool,
        patience: Duration,
    ) -> Self {
        Self { chunks, position: since, separate, hides_last_newlines, patience }
    }

    /// Returns where the next piece must begin.
    pub(crate) const fn position(&self) -> LogPosition {
        self.position
    }

    /// Returns the next piece, or `None` at the end of the stream. A gap is a failure.
    pub(crate) async fn next(&mut self) -> Checked<Option<(LogStream, bytes::Bytes)>> {
        match self.next_or_gap().await? {
            Some(LogChunk::Data { stream, bytes, .. }) => Ok(Some((stream, bytes))),
            Some(LogChunk::Gap { missing: None, .. }) if self.hides_last_newlines => {
                match self.next_or_gap().await? {
                    None | Some(LogChunk::Gap { missing: None, .. }) => Ok(None),
                    Some(more) => Err(Failure::new(format!("a gap before {more:?}"))),
                }
            }
            Some(gap) => Err(Failure::new(format!("output is missing: {gap:?}"))),
            None => Ok(None),
        }
    }

    /// Returns the next piece or gap, or `None` at the end of the stream.
    pub(crate) async fn next_or_gap(&mut self) -> Checked<Option<LogChunk>> {
        let what = format!("more output, or its end, after {:?}", self.position);
        let Some(item) = within(self.patience, &what, self.chunks.next()).await? else {
            return Ok(None);
        };
        let chunk = item.map_err(|e| Failure::from(e).while_doing("failed to read the output"))?;
        let (stream, offset) = match &chunk {
            LogChunk::Data { stream, offset, bytes } => {
                check(!bytes.is_empty(), || "an empty piece of output".to_owned())?;
                (*stream, *offset)
            }
            LogChunk::Gap { stream, offset, .. } => (*stream, *offset),
            other => return Err(Failure::new(format!("an unknown piece of output: {other:?}"))),
        };
        check(self.separate || stream == LogStream::Stdout, || {
            "a piece of stderr from a runner without separate streams".to_owned()
        })?;
        check(offset == self.position.of(stream), || {
            format!("a piece of {stream:?} at {offset}, expected at {}", self.position.of(stream))
        })?;
        self.position.advance(&chunk);
        Ok(Some(chunk))
    }

    /// Reads to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Checked<Output> {
        let mut output = Output::default();
        while let Some((stream, bytes)) = self.next().await? {
            output.take(stream, &bytes);
        }
        Ok(output)
    }
}

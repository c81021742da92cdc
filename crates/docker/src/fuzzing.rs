//! The readers of what an engine sends, for the fuzz targets (`fuzz`). Not part of the interface:
//! they may change at any time.
//!
//! They are not behind a feature, because the workspace would then compile this crate twice.

use std::future::ready;

use bytes::Bytes;
use futures::executor::block_on;
use futures::{StreamExt, stream};
use longshore_core::{ErrorKind, LogChunk, LogPosition, LogStream};

use crate::body;
use crate::fault::Cause;
use crate::image_fault::PullFault;
use crate::records::{Reader, Times};
use crate::refusal::{self, Step};

/// Reads the records of a log from an answer's body, whose pieces have `length` bytes, up to the first
/// failure.
#[must_use]
pub fn read_records(body: &[u8], length: usize) -> Vec<(LogStream, Bytes)> {
    let pieces =
        body.chunks(length.max(1)).map(|piece| Ok::<_, Cause>(Bytes::copy_from_slice(piece)));
    let records = body::records(stream::iter(pieces));
    block_on(records.take_while(|it| ready(it.is_ok())).filter_map(|it| ready(it.ok())).collect())
}

/// Reads a job's output from the records of several connections, one after the other.
#[must_use]
pub fn read_output(
    connections: impl IntoIterator<Item = Vec<(LogStream, Bytes)>>,
) -> Vec<LogChunk> {
    let mut reader = Reader::new(LogPosition::START, Times::Kept);
    let mut read = Vec::new();
    for records in connections {
        let (chunks, _) = reader.take_all(records.into_iter().map(Ok).collect());
        read.extend(chunks.into_iter().map(|timed| timed.chunk));
        reader.reconnect();
    }
    read
}

/// Classifies the engine's message about a failed pull.
#[must_use]
pub fn classify_pull(status: Option<u16>, message: &str) -> ErrorKind {
    PullFault::said(status, message).error("busybox:1").kind()
}

/// Classifies the engine's refusal to create a container, and to start one.
#[must_use]
pub fn classify_refusal(status: u16, message: &str) -> [ErrorKind; 2] {
    [Step::Create, Step::Start].map(|step| refusal::kind(step, status, message))
}

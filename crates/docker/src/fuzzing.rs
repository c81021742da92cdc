//! The readers of what an engine sends, for the fuzz targets (`fuzz`). Not part of the interface:
//! they may change at any time.
//!
//! They are not behind a feature, because the workspace would then compile this crate twice.

use bollard::container::LogOutput;
use longshore_core::{ErrorKind, LogChunk, LogPosition};

use crate::image_fault::PullFault;
use crate::logs::record;
use crate::records::Reader;
use crate::refusal::{self, Step};

/// Reads a job's output from the frames of several connections, one after the other.
#[must_use]
pub fn read_output(connections: impl IntoIterator<Item = Vec<LogOutput>>) -> Vec<LogChunk> {
    let mut reader = Reader::new(LogPosition::START);
    let mut read = Vec::new();
    for frames in connections {
        let (chunks, _) = reader.take_all(frames.into_iter().map(record).collect());
        read.extend(chunks);
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

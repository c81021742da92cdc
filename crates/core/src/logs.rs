//! A job's output.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use bytes::Bytes;
use jiff::Timestamp;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An output stream. A runner without the capability `separate_streams` returns both as `Stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum LogStream {
    /// Standard output, or both streams if they are merged.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a job's output.
///
/// The pieces of one stream arrive in order. The bytes are those that the job wrote; a piece may
/// begin and end anywhere. In JSON and other formats for people, they are in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum LogChunk {
    /// Output.
    Data {
        /// The stream.
        stream: LogStream,
        /// The number of bytes of the stream before these, including gaps of known length.
        offset: u64,
        /// The bytes; never empty.
        #[serde(with = "crate::base64")]
        bytes: Bytes,
    },
    /// Output that is no longer available, for example because the backend rotated it away.
    Gap {
        /// The stream.
        stream: LogStream,
        /// Where the gap begins.
        offset: u64,
        /// The number of missing bytes, if known.
        missing: Option<u64>,
    },
}

impl LogChunk {
    /// Creates a piece of output.
    #[must_use]
    pub const fn data(stream: LogStream, offset: u64, bytes: Bytes) -> Self {
        Self::Data { stream, offset, bytes }
    }

    /// Creates a gap, the mark of missing output.
    #[must_use]
    pub const fn gap(stream: LogStream, offset: u64, missing: Option<u64>) -> Self {
        Self::Gap { stream, offset, missing }
    }
}

/// A piece of a job's output with the time at which its backend received it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimedChunk {
    /// The time of the piece, by the backend's clock. A line has the time of its first piece. `None`
    /// for a gap, and where the time is not known.
    pub at: Option<Timestamp>,
    /// The piece.
    pub chunk: LogChunk,
}

impl TimedChunk {
    /// Creates a piece of output that arrived at `at`.
    #[must_use]
    pub const fn new(at: Option<Timestamp>, chunk: LogChunk) -> Self {
        Self { at, chunk }
    }
}

/// How much of each stream a reader already has, in bytes from the stream's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The bytes of standard output, or of both streams if they are merged.
    pub stdout: u64,
    /// The bytes of standard error.
    pub stderr: u64,
}

impl LogPosition {
    /// The beginning of both streams.
    pub const START: Self = Self { stdout: 0, stderr: 0 };

    /// Returns how much of `stream` the reader has.
    #[must_use]
    pub const fn of(&self, stream: LogStream) -> u64 {
        match stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
        }
    }

    /// Advances past `chunk`, which the reader now has.
    pub fn advance(&mut self, chunk: &LogChunk) {
        let (stream, end) = match chunk {
            LogChunk::Data { stream, offset, bytes } => {
                (stream, offset.saturating_add(bytes.len() as u64))
            }
            LogChunk::Gap { stream, offset, missing } => {
                (stream, offset.saturating_add(missing.unwrap_or(0)))
            }
        };
        match stream {
            LogStream::Stdout => self.stdout = end,
            LogStream::Stderr => self.stderr = end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_is_not_text_is_written_in_base64_and_read_again() {
        let chunk = LogChunk::data(LogStream::Stdout, 7, Bytes::from_static(b"\xff\0\n"));
        let text = serde_json::to_string(&chunk).unwrap();
        assert_eq!(text, r#"{"data":{"stream":"stdout","offset":7,"bytes":"/wAK"}}"#);
        assert_eq!(serde_json::from_str::<LogChunk>(&text).unwrap(), chunk);
    }

    #[test]
    fn a_position_moves_past_data_and_gaps_of_its_stream() {
        let mut position = LogPosition::START;
        position.advance(&LogChunk::data(LogStream::Stdout, 0, Bytes::from_static(b"abc")));
        position.advance(&LogChunk::gap(LogStream::Stdout, 3, Some(10)));
        position.advance(&LogChunk::gap(LogStream::Stderr, 0, None));
        assert_eq!((position.stdout, position.stderr), (13, 0));
    }
}

//! A job's output.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which output stream. A runner without the capability `separate_streams` gives both as `Stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogStream {
    /// Standard output, or both where they are merged.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a job's output. Pieces of one stream come in order; the bytes are the job's own,
/// cut anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogChunk {
    /// Output.
    Data {
        /// The stream.
        stream: LogStream,
        /// How many bytes of the stream came before these, gaps included where their length is
        /// known.
        offset: u64,
        /// The bytes; never empty.
        bytes: Bytes,
    },
    /// Output that cannot be had any more, such as what the backend has rotated away.
    Gap {
        /// The stream.
        stream: LogStream,
        /// Where the gap begins.
        offset: u64,
        /// How many bytes are missing, if that can be known.
        missing: Option<u64>,
    },
}

impl LogChunk {
    /// A piece of output.
    #[must_use]
    pub const fn data(stream: LogStream, offset: u64, bytes: Bytes) -> Self {
        Self::Data { stream, offset, bytes }
    }

    /// A mark of missing output.
    #[must_use]
    pub const fn gap(stream: LogStream, offset: u64, missing: Option<u64>) -> Self {
        Self::Gap { stream, offset, missing }
    }
}

/// How much of each stream a reader already has, in bytes from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Of standard output, or of both where they are merged.
    pub stdout: u64,
    /// Of standard error.
    pub stderr: u64,
}

impl LogPosition {
    /// From the beginning.
    pub const START: Self = Self { stdout: 0, stderr: 0 };

    /// How much of `stream` the reader has.
    #[must_use]
    pub const fn of(&self, stream: LogStream) -> u64 {
        match stream {
            LogStream::Stdout => self.stdout,
            LogStream::Stderr => self.stderr,
        }
    }

    /// Moves on past `chunk`, which the reader now has.
    pub fn advance(&mut self, chunk: &LogChunk) {
        let (stream, end) = match chunk {
            LogChunk::Data { stream, offset, bytes } => (stream, offset + bytes.len() as u64),
            LogChunk::Gap { stream, offset, missing } => (stream, offset + missing.unwrap_or(0)),
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
    fn a_position_moves_past_data_and_gaps_of_its_stream() {
        let mut position = LogPosition::START;
        position.advance(&LogChunk::data(LogStream::Stdout, 0, Bytes::from_static(b"abc")));
        position.advance(&LogChunk::gap(LogStream::Stdout, 3, Some(10)));
        position.advance(&LogChunk::gap(LogStream::Stderr, 0, None));
        assert_eq!((position.stdout, position.stderr), (13, 0));
    }
}

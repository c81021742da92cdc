//! `logs --tail`: the last lines of a job's output.

use std::collections::VecDeque;

use bytes::BytesMut;
use longshore::job::{LogChunk, LogStream};

/// The last lines of each stream of a job's output. A runner keeps the streams apart, so the order of
/// their lines is not known afterwards.
#[derive(Debug)]
pub struct Tail {
    most: usize,
    stdout: VecDeque<BytesMut>,
    stderr: VecDeque<BytesMut>,
}

impl Tail {
    /// Creates a tail of at most `most` lines of each stream.
    pub const fn new(most: usize) -> Self {
        Self { most, stdout: VecDeque::new(), stderr: VecDeque::new() }
    }

    /// Adds a piece of output. A gap is dropped: the reader knows that the beginning is missing.
    pub fn push(&mut self, chunk: &LogChunk) {
        let LogChunk::Data { stream, bytes, .. } = chunk else { return };
        let lines = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match lines.back_mut().filter(|line| !line.ends_with(b"\n")) {
                Some(line) => line.extend_from_slice(part),
                None => lines.push_back(BytesMut::from(part)),
            }
            if lines.len() > self.most.max(1) {
                lines.pop_front();
            }
        }
    }

    /// Returns the lines.
    pub fn finish(mut self) -> Vec<LogChunk> {
        self.stdout.truncate(self.most);
        self.stderr.truncate(self.most);
        // The offsets are of no use to a reader that only prints.
        let chunk = |stream| move |line: BytesMut| LogChunk::data(stream, 0, line.freeze());
        let stdout = self.stdout.into_iter().map(chunk(LogStream::Stdout));
        let stderr = self.stderr.into_iter().map(chunk(LogStream::Stderr));
        stdout.chain(stderr).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn tail(most: usize, chunks: &[(LogStream, &'static str)]) -> String {
        let mut tail = Tail::new(most);
        for (stream, text) in chunks {
            tail.push(&LogChunk::data(*stream, 0, Bytes::from(*text)));
        }
        let text = |chunk: LogChunk| match chunk {
            LogChunk::Data { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => String::new(),
        };
        tail.finish().into_iter().map(text).collect()
    }

    #[test]
    fn the_last_lines_are_kept_wherever_the_pieces_end() {
        use LogStream::{Stderr, Stdout};
        let chunks = [(Stdout, "1\n2"), (Stderr, "e\n"), (Stdout, "2\n3\n"), (Stdout, "4")];
        assert_eq!(tail(1, &chunks), "4e\n");
        assert_eq!(tail(2, &chunks), "3\n4e\n");
        assert_eq!(tail(99, &chunks), "1\n22\n3\n4e\n");
        assert_eq!(tail(0, &chunks), "");
    }
}

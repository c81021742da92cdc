//! `logs --tail`: the last lines of a job's output.

use std::collections::VecDeque;

use bytes::BytesMut;
use jiff::Timestamp;
use longshore::job::{LogChunk, LogStream};

/// The last lines of a job's output.
#[derive(Debug)]
pub struct Tail {
    most: usize,
    stdout: VecDeque<Line>,
    stderr: VecDeque<Line>,
}

#[derive(Debug)]
struct Line {
    at: Option<Timestamp>,
    stream: LogStream,
    bytes: BytesMut,
}

impl Tail {
    /// Creates a tail of at most `most` lines.
    pub const fn new(most: usize) -> Self {
        Self { most, stdout: VecDeque::new(), stderr: VecDeque::new() }
    }

    /// Adds a piece of output, in which lines of the time `at` begin. A gap is dropped: the reader knows
    /// that the beginning is missing.
    pub fn push(&mut self, at: Option<Timestamp>, chunk: &LogChunk) {
        let LogChunk::Data { stream, bytes, .. } = chunk else { return };
        let lines = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match lines.back_mut().filter(|line| !line.bytes.ends_with(b"\n")) {
                Some(line) => line.bytes.extend_from_slice(part),
                None => lines.push_back(Line { at, stream: *stream, bytes: part.into() }),
            }
            if lines.len() > self.most.max(1) {
                lines.pop_front();
            }
        }
    }

    /// Returns the lines: the last of both streams, in the order of their times. If a time is not known,
    /// neither is the order of the streams, and the lines are the last of each stream.
    pub fn finish(self) -> Vec<LogChunk> {
        let mut lines: Vec<Line> = self.stdout.into_iter().chain(self.stderr).collect();
        let mut excess = 0;
        if lines.iter().all(|line| line.at.is_some()) {
            lines.sort_by_key(|line| line.at);
            excess = lines.len().saturating_sub(self.most);
        } else if self.most == 0 {
            excess = lines.len();
        }
        // The offsets are of no use to a reader that only prints.
        let chunk = |line: Line| LogChunk::data(line.stream, 0, line.bytes.freeze());
        lines.into_iter().skip(excess).map(chunk).collect()
    }
}

#[cfg(test)]
mod tests {
    use LogStream::{Stderr, Stdout};
    use bytes::Bytes;

    use super::*;

    type Piece = (Option<i64>, LogStream, &'static str);

    fn tail(most: usize, chunks: &[Piece]) -> String {
        let mut tail = Tail::new(most);
        for (at, stream, text) in chunks {
            let at = at.map(|second| Timestamp::from_second(second).unwrap());
            tail.push(at, &LogChunk::data(*stream, 0, Bytes::from(*text)));
        }
        let text = |chunk: LogChunk| match chunk {
            LogChunk::Data { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => String::new(),
        };
        tail.finish().into_iter().map(text).collect()
    }

    #[test]
    fn the_last_lines_are_kept_wherever_the_pieces_end() {
        let chunks = [
            (None, Stdout, "1\n2"),
            (None, Stderr, "e\n"),
            (None, Stdout, "2\n3\n"),
            (None, Stdout, "4"),
        ];
        assert_eq!(tail(1, &chunks), "4e\n");
        assert_eq!(tail(2, &chunks), "3\n4e\n");
        assert_eq!(tail(99, &chunks), "1\n22\n3\n4e\n");
        assert_eq!(tail(0, &chunks), "");
    }

    /// `--tail 1` printed two lines of a job that had written to both streams, and one on Kubernetes.
    #[test]
    fn the_last_lines_are_those_of_both_streams_if_their_times_are_known() {
        let chunks = [
            (Some(1), Stdout, "1\n"),
            (Some(4), Stdout, "4a"),
            (Some(5), Stdout, "4b\n"),
            (Some(2), Stderr, "2\n"),
            (Some(3), Stderr, "3\n"),
        ];
        assert_eq!(tail(1, &chunks), "4a4b\n");
        assert_eq!(tail(3, &chunks), "2\n3\n4a4b\n");
        assert_eq!(tail(9, &chunks), "1\n2\n3\n4a4b\n");
        assert_eq!(tail(0, &chunks), "");
    }
}

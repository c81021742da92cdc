//! `logs --timestamps`: the time before each line of a job's output.

use bytes::BytesMut;
use longshore::job::{LogChunk, LogStream, TimedChunk};

/// Writes times before lines. A line may arrive in several pieces.
#[derive(Debug, Default)]
pub struct Stamp {
    /// Whether a line of stdout has begun, and not ended.
    stdout_begun: bool,
    /// The same of stderr.
    stderr_begun: bool,
}

impl Stamp {
    /// Returns the piece with the time before each line that begins in it, in RFC 3339 with
    /// nanoseconds, as `docker logs` writes it.
    pub fn add(&mut self, timed: &TimedChunk) -> LogChunk {
        let (LogChunk::Data { stream, offset, bytes }, Some(at)) = (&timed.chunk, timed.at) else {
            return timed.chunk.clone();
        };
        let begun = match stream {
            LogStream::Stdout => &mut self.stdout_begun,
            LogStream::Stderr => &mut self.stderr_begun,
        };
        let stamp = format!("{at:.9} ");
        let mut stamped = BytesMut::with_capacity(bytes.len().saturating_add(stamp.len()));
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !*begun {
                stamped.extend_from_slice(stamp.as_bytes());
            }
            stamped.extend_from_slice(line);
            *begun = !line.ends_with(b"\n");
        }
        // The offsets are of no use to a reader that only prints.
        LogChunk::data(*stream, *offset, stamped.freeze())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn each_line_has_one_time_in_however_many_pieces_it_comes() {
        let mut stamp = Stamp::default();
        let mut add = |second, stream, text: &'static str| {
            let at = format!("2026-01-01T00:00:0{second}Z").parse().unwrap();
            let chunk = LogChunk::data(stream, 0, Bytes::from(text));
            match stamp.add(&TimedChunk::new(Some(at), chunk)) {
                LogChunk::Data { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let time = |second| format!("2026-01-01T00:00:0{second}.000000000Z ");
        assert_eq!(add(1, LogStream::Stdout, "a\nb"), format!("{0}a\n{0}b", time(1)));
        assert_eq!(add(2, LogStream::Stderr, "e\n"), format!("{}e\n", time(2)));
        assert_eq!(add(3, LogStream::Stdout, "b\n\n"), format!("b\n{}\n", time(3)));
    }
}

//! When a job wrote its output: a file of times beside each output file (`times.stdout`,
//! `times.stdout.START`).
//!
//! It has an entry of 16 bytes for each piece that the supervisor has copied: where the piece begins
//! in the stream, and the time in nanoseconds, both little-endian. Pieces of one millisecond share an
//! entry, so that a job that writes much costs little. An entry is written before its piece.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, LogChunk, LogStream, Result, TimedChunk};

use crate::location::Location;
use crate::store::missing_is_none;

/// The size of an entry.
pub(crate) const ENTRY_BYTES: u64 = 16;

/// How many entries are read at once.
const ENTRIES_AT_ONCE: u64 = 4096;

/// An entry: from this offset in the stream on, the output is of this time.
type Entry = (u64, Timestamp);

pub(crate) fn encode((offset, at): Entry) -> io::Result<[u8; 16]> {
    let nanos = i64::try_from(at.as_nanosecond()).map_err(io::Error::other)?;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..].copy_from_slice(&nanos.to_le_bytes());
    Ok(bytes)
}

fn decode(bytes: &[u8; 16]) -> Option<Entry> {
    let (offset, nanos) = bytes.split_first_chunk::<8>()?;
    let nanos = i64::from_le_bytes(nanos.try_into().ok()?);
    let at = Timestamp::from_nanosecond(nanos.into()).ok()?;
    Some((u64::from_le_bytes(*offset), at))
}

/// The times of one output stream.
pub(crate) struct StreamTimes {
    location: Location,
    stream: LogStream,
    open: Option<OpenTimes>,
}

/// The times of one output file, read up to some point.
struct OpenTimes {
    file: File,
    /// The stream's bytes before the output file.
    start: u64,
    /// How many bytes of this file were read.
    read: u64,
    /// The entry of the last piece.
    current: Option<Entry>,
    /// Entries that were read, the next one last.
    ahead: Vec<Entry>,
}

impl StreamTimes {
    pub(crate) const fn new(location: Location, stream: LogStream) -> Self {
        Self { location, stream, open: None }
    }

    /// Splits `chunk`, of the output file that begins at `start`, by the times of its pieces. Output
    /// whose times were removed in the meantime, together with the output file, is a gap.
    pub(crate) fn split(&mut self, start: u64, chunk: LogChunk) -> Result<Vec<TimedChunk>> {
        let LogChunk::Data { stream, offset, bytes } = &chunk else {
            return Ok(vec![TimedChunk::new(None, chunk)]);
        };
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Internal, "failed to read the times of the job's output")
                .caused_by(error)
        };
        if self.open.as_ref().is_none_or(|open| open.start != start) {
            let path = self.location.times_from(self.stream, start);
            self.open = missing_is_none(File::open(path)).map_err(failed)?.map(|file| OpenTimes {
                file,
                start,
                read: 0,
                current: None,
                ahead: Vec::new(),
            });
        }
        let Some(open) = &mut self.open else {
            if !self.location.output_from(self.stream, start).exists() {
                let gap = LogChunk::gap(*stream, *offset, Some(bytes.len() as u64));
                return Ok(vec![TimedChunk::new(None, gap)]);
            }
            // An older version has kept this output.
            return Ok(vec![TimedChunk::new(None, chunk)]);
        };
        let mut parts = Vec::new();
        let (mut begin, end) = (*offset, offset.saturating_add(bytes.len() as u64));
        while begin < end {
            let (at, next) = open.at(begin).map_err(failed)?;
            let next = next.unwrap_or(end).min(end);
            let index = |at: u64| usize::try_from(at.saturating_sub(*offset)).unwrap_or(usize::MAX);
            let part = bytes.slice(index(begin)..index(next));
            parts.push(TimedChunk::new(at, LogChunk::data(*stream, begin, part)));
            begin = next;
        }
        Ok(parts)
    }
}

impl OpenTimes {
    /// Returns the time of the byte at `offset`, and where the next time begins. The offsets of
    /// several calls do not decrease.
    fn at(&mut self, offset: u64) -> io::Result<(Option<Timestamp>, Option<u64>)> {
        loop {
            if self.ahead.is_empty() {
                self.read_ahead()?;
            }
            match self.ahead.last() {
                Some(entry) if entry.0 <= offset => self.current = self.ahead.pop(),
                next => return Ok((self.current.map(|(_, at)| at), next.map(|(begin, _)| *begin))),
            }
        }
    }

    fn read_ahead(&mut self) -> io::Result<()> {
        // Not on the stack, of which each page would be touched whenever the output is looked at.
        let mut bytes = vec![0; (ENTRIES_AT_ONCE * ENTRY_BYTES) as usize];
        let count = self.file.read_at(&mut bytes, self.read)?;
        // A part of an entry is read again once it is whole.
        let (entries, _) = bytes[..count].as_chunks::<16>();
        self.read += entries.len() as u64 * ENTRY_BYTES;
        self.ahead.extend(entries.iter().rev().filter_map(decode));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;

    use super::*;
    use crate::store::create;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn split(times: &mut StreamTimes, offset: u64, text: &'static str) -> Vec<(i64, String)> {
        let chunk = LogChunk::data(LogStream::Stdout, offset, Bytes::from(text));
        let parts = times.split(0, chunk).unwrap();
        let part = |part: TimedChunk| match part.chunk {
            LogChunk::Data { bytes, .. } => {
                (part.at.unwrap().as_second(), String::from_utf8(bytes.to_vec()).unwrap())
            }
            other => panic!("{other:?}"),
        };
        parts.into_iter().map(part).collect()
    }

    #[test]
    fn each_piece_has_its_own_time_wherever_a_reader_begins() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::at(folder.path().to_owned());
        let mut file = create(&location.times_from(LogStream::Stdout, 0)).unwrap();
        for entry in [(0, second(1)), (3, second(2)), (5, second(9))] {
            file.write_all(&encode(entry).unwrap()).unwrap();
        }
        let mut times = StreamTimes::new(location.clone(), LogStream::Stdout);
        let expected = [(1, "abc".to_owned()), (2, "de".to_owned()), (9, "f".to_owned())];
        assert_eq!(split(&mut times, 0, "abcdef"), expected);
        assert_eq!(split(&mut times, 6, "gh"), [(9, "gh".to_owned())]);
        // The next entry is not whole yet.
        let entry = encode((8, second(10))).unwrap();
        file.write_all(&entry[..7]).unwrap();
        assert_eq!(split(&mut times, 8, ""), []);
        file.write_all(&entry[7..]).unwrap();
        assert_eq!(split(&mut times, 8, "i"), [(10, "i".to_owned())]);
        let mut times = StreamTimes::new(location, LogStream::Stdout);
        assert_eq!(split(&mut times, 4, "ef"), [(2, "e".to_owned()), (9, "f".to_owned())]);
    }

    #[test]
    fn output_of_an_older_version_has_no_times_and_removed_output_is_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::at(folder.path().to_owned());
        let output = location.output_from(LogStream::Stdout, 0);
        create(&output).unwrap();
        let mut times = StreamTimes::new(location, LogStream::Stdout);
        let chunk = LogChunk::data(LogStream::Stdout, 0, Bytes::from("abc"));
        assert_eq!(times.split(0, chunk.clone()).unwrap(), [TimedChunk::new(None, chunk.clone())]);
        std::fs::remove_file(output).unwrap();
        let gap = LogChunk::gap(LogStream::Stdout, 0, Some(3));
        assert_eq!(times.split(0, chunk).unwrap(), [TimedChunk::new(None, gap)]);
    }
}

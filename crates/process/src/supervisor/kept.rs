//! The bound on the kept output of a job. The model is Docker's `max-size` with `max-file`: each
//! stream is a sequence of files, and the oldest file is removed if all of them exceed the bound.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::LogStream;
use rustix::process::{Resource, getrlimit};

use crate::location::Location;
use crate::store::create;
use crate::times::{ENTRY_BYTES, encode};

/// The least bound in bytes. A lower one counts as this.
const LEAST: u64 = 64 << 10;

/// How long all output counts as being of the same time.
const RESOLUTION: Duration = Duration::from_millis(1);

/// The files of a job's output that are not written any more.
#[derive(Debug)]
pub(super) struct Kept {
    location: Location,
    /// The bound in bytes for both streams together. `None`: no bound.
    max: Option<u64>,
    /// The size at which a file is complete.
    file_size: u64,
    complete: VecDeque<Complete>,
    /// The bytes in all files.
    total: u64,
}

impl Kept {
    pub(super) fn new(location: Location, max: Option<u64>) -> Self {
        let max = max.map(|max| max.max(LEAST));
        // Eight files, of which each stream writes to one. No larger than this process may write.
        let file_size = max.map_or(u64::MAX, |max| max / 8);
        let file_size = file_size.min(getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX));
        Self { location, max, file_size, complete: VecDeque::new(), total: 0 }
    }
}

/// An output file that is not written any more, and its times.
#[derive(Debug)]
struct Complete {
    stream: LogStream,
    start: u64,
    /// The bytes in both files.
    size: u64,
}

/// The files of one stream.
#[derive(Debug)]
pub(super) struct StreamFiles {
    stream: LogStream,
    file: File,
    /// The stream's bytes before this file.
    start: u64,
    /// The bytes in this file.
    length: u64,
    /// The file with the times of this one, once there is output.
    times: Option<File>,
    /// The bytes in the file with the times.
    times_length: u64,
    /// The last time in it.
    last: Option<Timestamp>,
}

impl StreamFiles {
    /// Continues the stream in its first, empty file.
    pub(super) const fn new(stream: LogStream, file: File) -> Self {
        Self { stream, file, start: 0, length: 0, times: None, times_length: 0, last: None }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes some of `bytes`, which arrived at `at`, after the oldest output was removed if that is
    /// necessary.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        at: Timestamp,
        kept: &mut Kept,
    ) -> io::Result<usize> {
        if self.size() >= kept.file_size {
            self.begin_next(kept)?;
        }
        self.note(at, kept)?;
        let room = kept.file_size.saturating_sub(self.size());
        let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
        let bytes = &bytes[..bytes.len().min(room)];
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        kept.total += count as u64;
        while kept.max.is_some_and(|max| kept.total > max)
            && let Some(Complete { stream, start, size }) = kept.complete.pop_front()
        {
            // A reader that has the files open can still read them. If they are gone already, so is
            // their size.
            let _ = std::fs::remove_file(kept.location.output_from(stream, start));
            let _ = std::fs::remove_file(kept.location.times_from(stream, start));
            kept.total -= size;
        }
        Ok(count)
    }

    const fn size(&self) -> u64 {
        self.length + self.times_length
    }

    /// Records that what follows is of the time `at`.
    fn note(&mut self, at: Timestamp, kept: &mut Kept) -> io::Result<()> {
        if self.last.is_some_and(|last| at.duration_since(last).unsigned_abs() < RESOLUTION) {
            return Ok(());
        }
        let entry = encode((self.start + self.length, at))?;
        let file = match &mut self.times {
            Some(file) => file,
            none => none.insert(create(&kept.location.times_from(self.stream, self.start))?),
        };
        file.write_all(&entry)?;
        self.last = Some(at);
        self.times_length += ENTRY_BYTES;
        kept.total += ENTRY_BYTES;
        Ok(())
    }

    /// Completes the file, and begins the next one.
    fn begin_next(&mut self, kept: &mut Kept) -> io::Result<()> {
        let next = self.start + self.length;
        let file = create(&kept.location.output_from(self.stream, next))?;
        let (stream, start, size) = (self.stream, self.start, self.size());
        kept.complete.push_back(Complete { stream, start, size });
        *self = Self { start: next, ..Self::new(stream, file) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_output_of_both_streams_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::at(folder.path().to_owned());
        let mut kept = Kept::new(location.clone(), Some(1));
        let mut streams = [LogStream::Stdout, LogStream::Stderr].map(|stream| {
            StreamFiles::new(stream, create(&location.output_from(stream, 0)).unwrap())
        });
        // Each file has one time.
        let file = LEAST / 8 - ENTRY_BYTES;
        let mut write = |stream: usize, bytes: u64| {
            let mut bytes = vec![0; usize::try_from(bytes).unwrap()];
            while !bytes.is_empty() {
                let count =
                    streams[stream].write(&bytes, Timestamp::UNIX_EPOCH, &mut kept).unwrap();
                bytes.drain(..count);
            }
            let sizes = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().metadata().unwrap().len());
            let total: u64 = sizes.sum();
            assert!(total <= LEAST, "{total}");
        };
        write(1, 3 * file);
        write(0, 20 * file);
        let exists = |stream, start| location.output_from(stream, start).exists();
        // The files of stderr were older, except the one that it still writes to.
        assert!(!exists(LogStream::Stderr, 0) && !exists(LogStream::Stderr, file));
        assert!(exists(LogStream::Stderr, 2 * file));
        assert!(!exists(LogStream::Stdout, 12 * file) && exists(LogStream::Stdout, 13 * file));
    }

    #[test]
    fn the_times_of_output_that_comes_byte_by_byte_count_towards_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::at(folder.path().to_owned());
        let mut kept = Kept::new(location.clone(), Some(1));
        let file = create(&location.output_from(LogStream::Stdout, 0)).unwrap();
        let mut stream = StreamFiles::new(LogStream::Stdout, file);
        let mut at = Timestamp::UNIX_EPOCH;
        for _ in 0..10_000 {
            assert_eq!(stream.write(b"x", at, &mut kept).unwrap(), 1);
            at += RESOLUTION;
        }
        let sizes: Vec<u64> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        let total: u64 = sizes.iter().sum();
        assert!(total > LEAST / 2 && total <= LEAST, "{sizes:?}");
    }
}

//! The bound on the kept output of a job. The model is Docker's `max-size` with `max-file`: each
//! stream is a sequence of files, and the oldest file is removed if all of them exceed the bound.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use longshore_core::LogStream;
use rustix::process::{Resource, getrlimit};

use crate::location::Location;
use crate::store::create;

/// The least bound in bytes. A lower one counts as this.
const LEAST: u64 = 64 << 10;

/// The files of a job's output that are not written any more.
#[derive(Debug)]
pub(super) struct Kept {
    location: Location,
    /// The bound in bytes for both streams together. `None`: no bound.
    max: Option<u64>,
    /// The size at which a file is complete.
    file_size: u64,
    complete: VecDeque<(PathBuf, u64)>,
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

/// The files of one stream.
#[derive(Debug)]
pub(super) struct StreamFiles {
    stream: LogStream,
    file: File,
    /// The stream's bytes before this file.
    start: u64,
    /// The bytes in this file.
    length: u64,
}

impl StreamFiles {
    /// Continues the stream in its first, empty file.
    pub(super) const fn new(stream: LogStream, file: File) -> Self {
        Self { stream, file, start: 0, length: 0 }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Writes some of `bytes`, after the oldest output was removed if that is necessary.
    pub(super) fn write(&mut self, bytes: &[u8], kept: &mut Kept) -> io::Result<usize> {
        if self.length >= kept.file_size {
            self.begin_next(kept)?;
        }
        let room = kept.file_size.saturating_sub(self.length);
        let bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let count = io::Write::write(&mut self.file, bytes)?;
        self.length += count as u64;
        kept.total += count as u64;
        while kept.max.is_some_and(|max| kept.total > max)
            && let Some((path, length)) = kept.complete.pop_front()
        {
            // A reader that has the file open can still read it. If it is gone already, so is its
            // length.
            let _ = std::fs::remove_file(path);
            kept.total -= length;
        }
        Ok(count)
    }

    /// Completes the file, and begins the next one.
    fn begin_next(&mut self, kept: &mut Kept) -> io::Result<()> {
        let next = self.start + self.length;
        let file = create(&kept.location.output_from(self.stream, next))?;
        kept.complete.push_back((kept.location.output_from(self.stream, self.start), self.length));
        (self.file, self.start, self.length) = (file, next, 0);
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
        let file = LEAST / 8;
        let mut write = |stream: usize, bytes: u64| {
            let mut bytes = vec![0; usize::try_from(bytes).unwrap()];
            while !bytes.is_empty() {
                let count = streams[stream].write(&bytes, &mut kept).unwrap();
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
}

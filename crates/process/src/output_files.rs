//! The files of one output stream of an attempt. There is more than one if the job has written more
//! than fits in one, and the first ones are gone if all of it exceeds the bound.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, LogChunk, LogStream, Result};

use crate::location::Location;
use crate::store::missing_is_none;

/// The largest piece that is passed on at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// The files of one stream. One of them is open, once it has content: a job that writes to one stream
/// costs one descriptor. An open file stays readable even if it is removed meanwhile.
pub(crate) struct OutputFiles {
    location: Location,
    stream: LogStream,
    open: Option<Open>,
}

#[derive(Clone)]
struct Open {
    file: Arc<File>,
    /// The stream's bytes before this file.
    start: u64,
}

/// Where the output from an offset on is.
enum Found {
    /// In this file, up to this length.
    File(Open, u64),
    /// From this offset on: what is before it was removed.
    Later(u64),
    /// It is not written yet, or its files are gone.
    Nowhere,
}

impl OutputFiles {
    pub(crate) const fn new(location: Location, stream: LogStream) -> Self {
        Self { location, stream, open: None }
    }

    /// Returns where the file begins in which the last piece was.
    pub(crate) fn start(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.start)
    }

    /// Returns the piece of the stream at `offset`, or the gap there, or `None` if there is no more
    /// yet.
    pub(crate) async fn next(&mut self, offset: u64) -> Result<Option<LogChunk>> {
        let stream = self.stream;
        match self.find(offset).map_err(|error| failed(stream, error))? {
            Found::Nowhere => Ok(None),
            Found::Later(later) => Ok(Some(LogChunk::gap(stream, offset, Some(later - offset)))),
            Found::File(Open { file, start }, length) => {
                let at = offset - start;
                let length = (length - at).min(CHUNK_BYTES);
                let bytes = tokio::task::spawn_blocking(move || read_at(&file, at, length)).await;
                let bytes = bytes
                    .unwrap_or_else(|error| Err(io::Error::other(error)))
                    .map_err(|error| failed(stream, error))?;
                Ok((!bytes.is_empty()).then(|| LogChunk::data(stream, offset, bytes)))
            }
        }
    }

    fn find(&mut self, offset: u64) -> io::Result<Found> {
        loop {
            let Some(open) = self.open.clone().filter(|open| open.start <= offset) else {
                return self.find_first(offset);
            };
            // Looked for before the length is read: once the next file exists, this one is complete.
            let next = self.location.output_from(self.stream, offset);
            let has_next = offset > open.start && next.exists();
            let found = open.file.metadata()?;
            if found.len() > offset - open.start {
                return Ok(Found::File(open, found.len()));
            }
            if has_next {
                self.open = self.open_at(offset)?;
            } else if found.nlink() == 0 {
                // This file was removed, so it was complete, and the next one may be gone too.
                self.open = None;
            } else {
                return Ok(Found::Nowhere);
            }
        }
    }

    /// Finds the file with `offset`, while none is open.
    fn find_first(&mut self, offset: u64) -> io::Result<Found> {
        // Most jobs write nothing to one of the streams. A second file exists only once the first one
        // has content.
        let first = self.location.output_from(self.stream, 0);
        if offset == 0
            && missing_is_none(std::fs::metadata(first))?.is_some_and(|first| first.len() == 0)
        {
            return Ok(Found::Nowhere);
        }
        loop {
            let Some(starts) = missing_is_none(self.location.output_starts(self.stream))? else {
                return Ok(Found::Nowhere);
            };
            let Some(start) = starts.iter().copied().filter(|start| *start <= offset).max() else {
                return Ok(starts.into_iter().min().map_or(Found::Nowhere, Found::Later));
            };
            let path = self.location.output_from(self.stream, start);
            let Some(length) = missing_is_none(std::fs::metadata(path).map(|it| it.len()))? else {
                // It was removed since.
                continue;
            };
            if length <= offset - start {
                // The oldest file that is left ends before `offset`, or nothing is written yet.
                return Ok(starts
                    .into_iter()
                    .filter(|later| *later > offset)
                    .min()
                    .map_or(Found::Nowhere, Found::Later));
            }
            if let Some(open) = self.open_at(start)? {
                self.open = Some(open.clone());
                return Ok(Found::File(open, length));
            }
        }
    }

    /// Opens the file that begins at `start`, unless it was removed.
    fn open_at(&self, start: u64) -> io::Result<Option<Open>> {
        let file = missing_is_none(File::open(self.location.output_from(self.stream, start)))?;
        Ok(file.map(|file| Open { file: Arc::new(file), start }))
    }
}

fn read_at(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let count = file.read_at(&mut buffer, offset)?;
    buffer.truncate(count);
    Ok(buffer.into())
}

fn failed(stream: LogStream, error: io::Error) -> Error {
    let name = match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    Error::new(ErrorKind::Internal, format!("failed to read the job's {name}")).caused_by(error)
}

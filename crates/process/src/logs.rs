//! Reads the output of an attempt from its files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_stream::stream;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{Error, ErrorKind, LogChunk, LogPosition, LogStream, Result};

use crate::follow::{AttemptState, Follower};
use crate::location::Location;
use crate::record::End;
use crate::store::missing_is_none;
use crate::watch::{Kind, Watcher};

/// The largest piece that is passed on at once.
const CHUNK_BYTES: u64 = 256 << 10;

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

/// Returns the output of the attempt at `location` from `since` on, to its end if `follow`.
pub(crate) fn logs(
    location: Location,
    watcher: Watcher,
    since: LogPosition,
    follow: bool,
) -> BoxStream<'static, Result<LogChunk>> {
    stream! {
        let mut position = since;
        let mut follower = Follower::new(location.clone(), watcher, Kind::Everything);
        let mut files = Files::default();
        loop {
            // The record is read first: no more output follows after the recorded end.
            let state = match follower.state().await {
                Ok(state) => state,
                Err(error) => {
                    yield Err(error);
                    if !follow {
                        return;
                    }
                    follower.pause().await;
                    continue;
                }
            };
            if let Err(error) = files.open(&location) {
                yield Err(error);
                return;
            }
            let mut more = true;
            while more {
                more = false;
                // In turn, so that neither stream delays the other.
                for stream in STREAMS {
                    match files.next(stream, position.of(stream)).await {
                        Ok(None) => {}
                        Ok(Some(chunk)) => {
                            more = true;
                            position.advance(&chunk);
                            yield Ok(chunk);
                        }
                        Err(error) => {
                            yield Err(error);
                            return;
                        }
                    }
                }
            }
            if let AttemptState::Running(_) = state && follow {
                if let Err(error) = follower.changed().await {
                    yield Err(error);
                    follower.pause().await;
                }
                continue;
            }
            for gap in gaps(&state, position) {
                yield Ok(gap);
            }
            return;
        }
    }
    .boxed()
}

/// Returns the gaps after the last byte that could be read.
fn gaps(state: &AttemptState, position: LogPosition) -> Vec<LogChunk> {
    let missing = |stream: LogStream| match state {
        AttemptState::Running(_) | AttemptState::Refused(_) | AttemptState::Fenced => None,
        // The amount of lost output is unknown.
        AttemptState::Gone => Some(None),
        AttemptState::Ended(_, end) => Some(lost(end, stream)).filter(|n| *n > 0).map(Some),
    };
    let gap = |stream| Some(LogChunk::gap(stream, position.of(stream), missing(stream)?));
    STREAMS.into_iter().filter_map(gap).collect()
}

const fn lost(end: &End, stream: LogStream) -> u64 {
    match stream {
        LogStream::Stdout => end.lost_stdout,
        LogStream::Stderr => end.lost_stderr,
    }
}

/// The files of both streams, opened once they have content: a job that writes to one stream costs
/// one descriptor. An open file stays readable even if the attempt is removed meanwhile.
#[derive(Default)]
struct Files {
    stdout: Option<Arc<File>>,
    stderr: Option<Arc<File>>,
}

impl Files {
    fn open(&mut self, location: &Location) -> Result<()> {
        for stream in STREAMS {
            let file = self.of(stream);
            if file.is_none() {
                let opened = missing_is_none(open_if_written(&location.output(stream)));
                *file = opened.map_err(|error| failed(stream, error))?.flatten().map(Arc::new);
            }
        }
        Ok(())
    }

    const fn of(&mut self, stream: LogStream) -> &mut Option<Arc<File>> {
        match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        }
    }

    /// Returns the piece of `stream` at `offset`, or `None` if there is no more yet.
    async fn next(&mut self, stream: LogStream, offset: u64) -> Result<Option<LogChunk>> {
        let Some(file) = self.of(stream).clone() else { return Ok(None) };
        let length = file.metadata().map_err(|error| failed(stream, error))?.len();
        if length <= offset {
            return Ok(None);
        }
        let length = (length - offset).min(CHUNK_BYTES);
        let bytes = tokio::task::spawn_blocking(move || read_at(&file, offset, length)).await;
        let bytes = bytes
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| failed(stream, error))?;
        Ok((!bytes.is_empty()).then(|| LogChunk::data(stream, offset, bytes)))
    }
}

/// Opens the file at `path`, unless it is empty.
fn open_if_written(path: &Path) -> io::Result<Option<File>> {
    (std::fs::metadata(path)?.len() > 0).then(|| File::open(path)).transpose()
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

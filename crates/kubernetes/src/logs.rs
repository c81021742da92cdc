//! A job's output, read from the kubelet's log of its container.

use std::sync::Arc;

use async_stream::stream;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use longshore_core::{LogChunk, LogPosition, LogStream, Result, TimedChunk};
use tokio::time::sleep;

use crate::backend::Backend;
use crate::client::retry_backoff;
use crate::cursor::{Cursor, Taken};
use crate::location::Location;
use crate::log_reader::{Located, LogReader, Mode, ROTATES, Read, Source, StreamEnd};

/// Returns the output of the attempt at `location` from `since` on.
pub(crate) fn logs(
    backend: Arc<Backend>,
    location: Location,
    since: LogPosition,
    follow: bool,
) -> impl Stream<Item = Result<LogChunk>> + Send {
    let untimed = |item: Result<TimedChunk>| item.map(|timed| timed.chunk);
    read(backend, location, since, follow, false).map(untimed)
}

/// Returns the output of the attempt at `location` from `since` on, with its times.
pub(crate) fn timed_logs(
    backend: Arc<Backend>,
    location: Location,
    since: LogPosition,
    follow: bool,
) -> impl Stream<Item = Result<TimedChunk>> + Send {
    read(backend, location, since, follow, true)
}

fn read(
    backend: Arc<Backend>,
    location: Location,
    since: LogPosition,
    follow: bool,
    keep_times: bool,
) -> impl Stream<Item = Result<TimedChunk>> + Send {
    stream! {
        let mut cursor = Cursor::new(since.stdout);
        let mut reader = LogReader::new(backend, location, keep_times);
        let mut rotated = false;
        let mut backoff = retry_backoff();
        let mut mode = if follow { Mode::Follow } else { Mode::Once };
        loop {
            let source = match reader.source(mode).await {
                Ok(source) => source,
                Err(error) => {
                    yield Err(error);
                    if mode == Mode::Once && !follow {
                        return;
                    }
                    sleep(backoff.next_pause()).await;
                    continue;
                }
            };
            let pod = match source {
                Source::Pod(pod) => pod,
                Source::Nothing => return,
                Source::Gone => {
                    if let Some(gap) = gap(&mut cursor) {
                        yield Ok(gap);
                    }
                    return;
                }
            };
            let mut stream = match reader.open(&pod, mode).await {
                Ok(stream) => stream,
                // A kubelet that has just started also answers that there is no such Pod.
                Err(failure) if failure.code() == Some(404) && reader.is_gone(&pod).await => {
                    if let Some(gap) = gap(&mut cursor) {
                        yield Ok(gap);
                    }
                    return;
                }
                Err(failure) => {
                    yield Err(failure.into());
                    if !follow {
                        return;
                    }
                    sleep(backoff.next_pause()).await;
                    continue;
                }
            };
            cursor.rewind();
            reader.opened.reopened();
            let drained = 'reading: loop {
                let read = match reader.read(&mut stream, mode).await {
                    Read::Bytes(read) => read,
                    Read::End => break Drained::Ended,
                    Read::Stuck => break Drained::Stuck,
                    Read::Broken => break Drained::No,
                };
                backoff.reset();
                // A line that was not read before, where there should be one that was.
                if reader.timestamps.later().is_some_and(|from| cursor.has(from)) {
                    rotated = true;
                    break 'reading Drained::No;
                }
                let leap = reader.leap.take();
                let cut = leap.unwrap_or(read);
                for part in [0..cut, cut..read] {
                    if part.start == cut
                        && leap.is_some()
                        && cursor.is_new()
                        && let Some(gap) = gap(&mut cursor)
                    {
                        yield Ok(gap);
                    }
                    let (start, end) = (part.start, part.end);
                    let piece = &reader.buffer[part];
                    match cursor.take(piece) {
                        Taken::Nothing => {}
                        Taken::Bytes { offset, from } => {
                            let new = piece.len() - from;
                            reader.took(new);
                            let mut offset = offset;
                            for (part, at) in reader.timestamps.times(start + from..end) {
                                let bytes = Bytes::copy_from_slice(&reader.buffer[part]);
                                let length = bytes.len() as u64;
                                let chunk = LogChunk::data(LogStream::Stdout, offset, bytes);
                                offset += length;
                                yield Ok(TimedChunk::new(at, chunk));
                            }
                        }
                        Taken::Rotated => {
                            rotated = true;
                            break 'reading Drained::No;
                        }
                    }
                }
            };
            drop(stream);
            rotated |= drained == Drained::Ended && cursor.is_short();
            if rotated {
                match reader.locate(&pod, &mut cursor).await {
                    Ok(Located::GoesOn | Located::Unproven) => {}
                    Ok(Located::Gap) => {
                        if let Some(gap) = gap(&mut cursor) {
                            yield Ok(gap);
                        }
                    }
                    Err(error) => {
                        yield Err(error.into());
                        if !follow {
                            return;
                        }
                    }
                }
                rotated = false;
                sleep(backoff.next_pause()).await;
                continue;
            }
            reader.opened.drained = drained != Drained::No;
            match (drained, mode) {
                (Drained::Ended, Mode::Once) => return,
                (Drained::Ended, Mode::Follow) => match reader.after_end().await {
                    StreamEnd::Complete if cursor.at() < ROTATES => return,
                    StreamEnd::Complete | StreamEnd::Doubtful => mode = Mode::Once,
                    StreamEnd::GoesOn => sleep(backoff.next_pause()).await,
                },
                (Drained::Stuck, _) => {}
                (Drained::No, _) => sleep(backoff.next_pause()).await,
            }
        }
    }
}

/// Returns a gap at the reader's position, unless it was reported already.
fn gap(cursor: &mut Cursor) -> Option<TimedChunk> {
    let have = cursor.have();
    let gap = LogChunk::gap(LogStream::Stdout, have, None);
    cursor.reports_gap().then(|| TimedChunk::new(None, gap))
}

/// Whether all bytes of the opened file have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Yes, and the stream has ended.
    Ended,
    /// Probably: nothing more comes.
    Stuck,
    /// Perhaps not.
    No,
}

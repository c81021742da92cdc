//! Reads the output of an attempt from its files.

use async_stream::stream;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use longshore_core::{LogChunk, LogPosition, LogStream, Result, TimedChunk};

use crate::follow::{AttemptState, Follower};
use crate::location::Location;
use crate::output_files::OutputFiles;
use crate::record::End;
use crate::times::StreamTimes;
use crate::watch::{Kind, Watcher};

const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];

/// Returns the output of the attempt at `location` from `since` on, to its end if `follow`.
pub(crate) fn logs(
    location: Location,
    watcher: Watcher,
    since: LogPosition,
    follow: bool,
) -> BoxStream<'static, Result<LogChunk>> {
    let untimed = |item: Result<TimedChunk>| item.map(|timed| timed.chunk);
    read(location, watcher, since, follow, false).map(untimed).boxed()
}

/// Returns the output of the attempt at `location` as [`logs`] does, with its times.
pub(crate) fn timed_logs(
    location: Location,
    watcher: Watcher,
    since: LogPosition,
    follow: bool,
) -> BoxStream<'static, Result<TimedChunk>> {
    read(location, watcher, since, follow, true).boxed()
}

fn read(
    location: Location,
    watcher: Watcher,
    since: LogPosition,
    follow: bool,
    with_times: bool,
) -> impl Stream<Item = Result<TimedChunk>> + Send {
    stream! {
        let mut position = since;
        let mut follower = Follower::new(location.clone(), watcher, Kind::Everything);
        let mut files = STREAMS.map(|stream| OutputFiles::new(location.clone(), stream));
        let mut times = STREAMS.map(|stream| StreamTimes::new(location.clone(), stream));
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
            let mut more = true;
            while more {
                more = false;
                // In turn, so that neither stream delays the other.
                let both = files.iter_mut().zip(&mut times).zip(STREAMS);
                for ((files, times), stream) in both {
                    match files.next(position.of(stream)).await {
                        Ok(None) => {}
                        Ok(Some(chunk)) => {
                            more = true;
                            position.advance(&chunk);
                            if !with_times {
                                yield Ok(TimedChunk::new(None, chunk));
                                continue;
                            }
                            match times.split(files.start(), chunk) {
                                Ok(parts) => for part in parts {
                                    yield Ok(part);
                                },
                                Err(error) => {
                                    yield Err(error);
                                    return;
                                }
                            }
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
                yield Ok(TimedChunk::new(None, gap));
            }
            return;
        }
    }
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

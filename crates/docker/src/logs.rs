//! A job's output, each byte once.
//!
//! Output that is attached comes first; see [`attached`](crate::attached). The rest is in the log.
//!
//! The reader requests the time of each record with its bytes. After a broken connection it
//! continues behind the last record it had, and detects by that record whether the log was rotated
//! in between.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{Backoff, LogChunk, LogPosition, LogStream, Result, TimedChunk};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::batch::next_batch;
use crate::body::{LogFormat, Record};
use crate::client::{Answer, Engine};
use crate::fault::Fault;
use crate::location::Location;
use crate::outcome::is_before;
use crate::records::{Reader, Times};
use crate::snapshot::Snapshot;

/// The first and the longest pause between two tries to continue reading.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long after the end of its output a job's own end may become visible.
const END_SHOWS: Duration = Duration::from_secs(2);
/// How long a followed log may be silent once the job has ended. After that the connection counts
/// as dead, and the log is read again.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The output of an attempt, from `since` on.
pub(crate) fn read(
    backend: Arc<Backend>,
    location: Location,
    since: LogPosition,
    follow: bool,
) -> BoxStream<'static, Result<LogChunk>> {
    let untimed = |item: Result<TimedChunk>| item.map(|timed| timed.chunk);
    read_as(backend, location, since, follow, Times::Dropped).map(untimed).boxed()
}

/// The output of an attempt, from `since` on, with its times.
pub(crate) fn read_timed(
    backend: Arc<Backend>,
    location: Location,
    since: LogPosition,
    follow: bool,
) -> BoxStream<'static, Result<TimedChunk>> {
    read_as(backend, location, since, follow, Times::Kept)
}

fn read_as(
    backend: Arc<Backend>,
    location: Location,
    since: LogPosition,
    follow: bool,
    times: Times,
) -> BoxStream<'static, Result<TimedChunk>> {
    let tty = location.tty;
    let chunks = async_stream::stream! {
        let snapshot = backend.informer.subscribe(&location.attempt);
        let mut reader = Reader::new(since, times);
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        // Whether a connection broke while the job ran.
        let mut broke = false;
        if follow && !snapshot.borrow().synced {
            // A container that runs may have ended before. If this fails, the log says more.
            let _ = backend.inspect(&location).await;
        }
        // What is attached has no times.
        let is_first = follow && since == LogPosition::START && times == Times::Dropped;
        let attached = is_first.then(|| backend.attachments.take(&location.attempt)).flatten();
        if let Some(mut attached) = attached {
            let is_whole = loop {
                let some = tokio::select! {
                    some = attached.next() => some,
                    () = silence(&backend, &location, &snapshot, false) => break false,
                };
                let Some(some) = some else {
                    // Now: while the engine is away, the job may be found to have ended.
                    broke = !is_over(&snapshot);
                    break attached.ended_whole().await;
                };
                for chunk in reader.take_attached(some) {
                    yield Ok(TimedChunk::new(None, chunk));
                }
            };
            if is_whole {
                return;
            }
            reader = reader.continued();
        }
        'reading: loop {
            // A read that begins after the job's end reads the whole log.
            let final_read = !follow || is_over(&snapshot);
            let since = reader.first_second().to_string();
            let range = [
                ("timestamps", "true"),
                ("follow", if final_read { "false" } else { "true" }),
                ("since", since.as_str()),
            ];
            let name = snapshot.borrow().id.clone().unwrap_or_else(|| location.name.clone());
            let format = if location.tty { LogFormat::TimedLines } else { LogFormat::Records };
            let records = backend.engine.logs(&name, &range, format).fuse();
            let mut records = std::pin::pin!(records);
            let mut broken = None;
            loop {
                let some = tokio::select! {
                    some = next_batch(records.as_mut(), size) => some,
                    () = silence(&backend, &location, &snapshot, final_read) => {
                        broken = Some(silent());
                        None
                    }
                };
                let Some(some) = some else { break };
                reader.end_at(snapshot.borrow().end_of_output());
                let (chunks, fault) = reader.take_all(some);
                for chunk in chunks {
                    backoff.reset();
                    yield Ok(chunk);
                }
                if reader.has_ended() {
                    break 'reading;
                }
                broken = broken.or(fault);
            }
            match broken {
                None if final_read => break,
                None if ends_now(&backend, &location, &snapshot).await => {
                    if !backend.engine.follows_lossily() {
                        break;
                    }
                    reader.reconnect();
                    continue;
                }
                None => {}
                Some(fault) if fault.is_not_found() => match gone(&backend, &location).await {
                    Ok(true) => {
                        for chunk in reader.gap() {
                            yield Ok(TimedChunk::new(None, chunk));
                        }
                        return;
                    }
                    Ok(false) => {}
                    Err(fault) => {
                        yield Err(backend.error(fault, "failed to look for the attempt", &location));
                    }
                },
                Some(fault) => {
                    yield Err(backend.error(fault, "failed to read the job's output", &location));
                }
            }
            broke |= !is_over(&snapshot);
            reader.reconnect();
            sleep(backoff.next_pause()).await;
        }
        if broke && ended_unread(&backend.engine, &snapshot).await {
            for chunk in reader.gap() {
                yield Ok(TimedChunk::new(None, chunk));
            }
            return;
        }
        for chunk in reader.differing_ends() {
            yield Ok(TimedChunk::new(None, chunk));
        }
        let open = reader.open_ends(backend.engine.loses_newlines());
        // The line of a job that still runs may continue.
        if !open.is_empty() && ends_now(&backend, &location, &snapshot).await {
            for chunk in open {
                yield Ok(TimedChunk::new(None, chunk));
            }
        }
    };
    // A terminal is one stream, of which output may be missing.
    let exists = move |item: &Result<TimedChunk>| {
        let is_stderr = |timed: &TimedChunk| {
            matches!(timed.chunk, LogChunk::Gap { stream: LogStream::Stderr, .. })
        };
        std::future::ready(!(tty && item.as_ref().is_ok_and(is_stderr)))
    };
    chunks.filter(exists).boxed()
}

/// The size of a record; a failure has none.
fn size(record: &Answer<Record>) -> usize {
    record.as_ref().map_or(0, |(_, bytes)| bytes.len())
}

/// Ends when the engine has been silent for too long. A running job may be silent for any time.
async fn silence(
    backend: &Backend,
    location: &Location,
    snapshot: &watch::Receiver<Snapshot>,
    final_read: bool,
) {
    if final_read {
        return sleep(backend.engine.config().request_timeout.get()).await;
    }
    let mut changes = snapshot.clone();
    loop {
        let known = changes.wait_for(|snapshot| snapshot.is_over() || !snapshot.synced).await;
        let over = known.map(|snapshot| snapshot.is_over());
        match over {
            Ok(true) => return sleep(LAST_WORDS).await,
            Ok(false) => {}
            // The informer has forgotten the attempt: no more changes arrive.
            Err(_) => return std::future::pending().await,
        }
        // A follower of the job's events inspects it, but there may be none.
        sleep(END_SHOWS).await;
        if !changes.borrow().synced && backend.inspect(location).await.is_err() {
            sleep(BACKOFF.1).await;
        }
    }
}

fn silent() -> Fault {
    Fault::Answered { status: 500, message: "the engine said nothing more".to_owned() }
}

fn is_over(snapshot: &watch::Receiver<Snapshot>) -> bool {
    snapshot.borrow().is_over()
}

/// Whether the job has ended: its followed log ends a little before its end becomes visible.
pub(crate) async fn ends_now(
    backend: &Backend,
    location: &Location,
    snapshot: &watch::Receiver<Snapshot>,
) -> bool {
    let mut changes = snapshot.clone();
    let over = timeout(END_SHOWS, changes.wait_for(Snapshot::is_over)).await.is_ok();
    // `inspect` records what it finds in the snapshot.
    over || (backend.inspect(location).await.is_ok() && is_over(snapshot))
}

/// Whether the job ended before its engine, which went down while it ran, was back. Output that it
/// wrote in between was in its pipes, and is lost with them.
async fn ended_unread(engine: &Engine, snapshot: &watch::Receiver<Snapshot>) -> bool {
    let Some(death) = snapshot.borrow().death.clone() else { return false };
    match engine.came_up().await {
        Ok(came_up) => came_up.is_some_and(|came_up| is_before(&death, came_up)),
        // An unnecessary gap is better than a missing one.
        Err(_) => true,
    }
}

/// Whether there is no container of the attempt.
async fn gone(backend: &Backend, location: &Location) -> Answer<bool> {
    Ok(backend.inspect(location).await?.is_none())
}

/// The last records of a container's log, without their times.
pub(crate) fn tail<'a>(
    engine: &'a Engine,
    name: &str,
    count: u32,
    tty: bool,
) -> BoxStream<'a, Answer<Record>> {
    let format = if tty { LogFormat::Shown } else { LogFormat::Records };
    engine.logs(name, &[("tail", &count.to_string())], format)
}

//! A job's output, each byte once.
//!
//! The reader requests the time of each record with its bytes. After a broken connection it
//! continues behind the last record it had, and detects by that record whether the log was rotated
//! in between.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use longshore_core::{LogChunk, LogPosition, LogStream, Result};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::client::{Answer, Engine};
use crate::fault::Fault;
use crate::gather::gather;
use crate::outcome::is_before;
use crate::place::Place;
use crate::sight::Sight;

/// The shortest and the longest time between two tries to continue reading.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long after the end of its output a job's own end may become visible.
const END_SHOWS: Duration = Duration::from_secs(2);
/// How long a followed log may be silent once the job has ended. After that the connection counts
/// as dead, and the log is read again.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A record of the log, which begins with its time.
type Record = (LogStream, Bytes);

/// What a reader has already received.
#[derive(Debug)]
struct Reader {
    /// How many bytes of each stream the engine has sent, whether skipped or passed on.
    had: LogPosition,
    /// What the caller already has.
    since: LogPosition,
    /// The time of the last record, and how many records had that time.
    last: Option<(String, u32)>,
    /// After a reconnection: how many records of that time are still to be skipped.
    resume: Option<u32>,
    /// Of stdout and of stderr: the time of a record that is the beginning of a line. All records
    /// of a line have the same.
    begun: [Option<String>; 2],
}

impl Reader {
    const fn new(since: LogPosition) -> Self {
        Self { had: LogPosition::START, since, last: None, resume: None, begun: [None, None] }
    }

    /// Prepares for a new connection.
    fn reconnect(&mut self) {
        self.resume = self.last.as_ref().map(|(_, records)| *records);
    }

    /// The second from which on the engine is asked for records.
    fn first_second(&self) -> i32 {
        let last = self.last.as_ref().and_then(|(at, _)| at.parse::<Timestamp>().ok());
        last.and_then(|at| i32::try_from(at.as_second()).ok()).unwrap_or(0)
    }

    /// Takes a record: returns its new part, after a gap if records before it are missing.
    fn take(&mut self, stream: LogStream, at: &str, bytes: Bytes) -> Vec<LogChunk> {
        let mut chunks = Vec::new();
        if let (Some(left), Some((last, _))) = (self.resume, &self.last) {
            if at == last && left > 0 {
                self.resume = Some(left - 1);
                return chunks;
            }
            if left > 0 && at < last.as_str() {
                return chunks;
            }
            self.resume = None;
            if left > 0 {
                chunks.extend(self.gap());
                self.begun = [None, None];
            }
        }
        match &mut self.last {
            Some((last, records)) if last == at => *records += 1,
            last => *last = Some((at.to_owned(), 1)),
        }
        if self.lacks_newline(stream, at, &bytes) {
            chunks.extend(self.new_bytes(stream, Bytes::from_static(b"\n")));
        }
        chunks.extend(self.new_bytes(stream, bytes));
        chunks
    }

    /// Whether the line before the record `bytes` of the time `at` has ended but was sent without
    /// its newline, as the driver of Docker 20.10 sends each line that it has cut into records.
    fn lacks_newline(&mut self, stream: LogStream, at: &str, bytes: &Bytes) -> bool {
        let begun = &mut self.begun[usize::from(stream == LogStream::Stderr)];
        let lacks = begun.as_ref().is_some_and(|begun| begun != at);
        let goes_on = bytes.last().is_some_and(|last| *last != b'\n');
        *begun = goes_on.then(|| at.to_owned());
        lacks
    }

    fn new_bytes(&mut self, stream: LogStream, mut bytes: Bytes) -> Option<LogChunk> {
        if bytes.is_empty() {
            // The `local` driver cuts lines into records of 16 KiB. If a line ends on that bound,
            // its newline is a record of its own, which the driver of Docker 20.10 sends empty. No
            // other record is empty.
            bytes = Bytes::from_static(b"\n");
        }
        let offset = self.had.of(stream);
        let whole = LogChunk::data(stream, offset, bytes.clone());
        self.had.advance(&whole);
        let known = self.since.of(stream).saturating_sub(offset);
        match usize::try_from(known) {
            Ok(0) if !bytes.is_empty() => Some(whole),
            Ok(known) if known < bytes.len() => {
                Some(LogChunk::data(stream, offset + known as u64, bytes.slice(known..)))
            }
            _ => None,
        }
    }

    /// Takes records, up to the first failure.
    fn take_all(&mut self, records: Vec<Answer<Record>>) -> (Vec<LogChunk>, Option<Fault>) {
        let mut chunks = Chunks::default();
        for record in records {
            let (stream, message) = match record {
                Ok(record) => record,
                Err(fault) => return (chunks.finish(), Some(fault)),
            };
            let Some((at, bytes)) = split(&message) else {
                return (chunks.finish(), Some(broken_off()));
            };
            for chunk in self.take(stream, at, bytes) {
                chunks.push(chunk);
            }
        }
        (chunks.finish(), None)
    }

    /// Marks that output is missing here; the amount and the stream are unknown.
    fn gap(&self) -> [LogChunk; 2] {
        [LogStream::Stdout, LogStream::Stderr]
            .map(|stream| LogChunk::gap(stream, self.had.of(stream), None))
    }
}

/// Chunks, with consecutive ones of one stream merged: a record is a line, and lines are short.
#[derive(Debug, Default)]
struct Chunks {
    whole: Vec<LogChunk>,
    open: Option<(LogStream, u64, BytesMut)>,
}

impl Chunks {
    fn push(&mut self, chunk: LogChunk) {
        let LogChunk::Data { stream, offset, bytes } = &chunk else {
            self.close();
            self.whole.push(chunk);
            return;
        };
        match &mut self.open {
            Some((same, _, open)) if same == stream => open.extend_from_slice(bytes),
            _ => {
                self.close();
                self.open = Some((*stream, *offset, BytesMut::from(&bytes[..])));
            }
        }
    }

    fn close(&mut self) {
        let open = self.open.take();
        self.whole
            .extend(open.map(|(stream, at, bytes)| LogChunk::data(stream, at, bytes.freeze())));
    }

    fn finish(mut self) -> Vec<LogChunk> {
        self.close();
        self.whole
    }
}

fn broken_off() -> Fault {
    Fault::Answered { status: 500, message: "the engine broke off the output".to_owned() }
}

/// Splits a record into its time and its bytes.
fn split(message: &Bytes) -> Option<(&str, Bytes)> {
    let space = message.iter().take(64).position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&message[..space]).ok()?;
    Some((at, message.slice(space + 1..)))
}

/// The output of an attempt, from `since` on.
pub(crate) fn read(
    backend: Arc<Backend>,
    place: Place,
    since: LogPosition,
    follow: bool,
) -> BoxStream<'static, Result<LogChunk>> {
    async_stream::stream! {
        let sight = backend.watcher.watch(&place.attempt);
        let mut reader = Reader::new(since);
        let mut backoff = BACKOFF.0;
        // Whether a connection broke while the job ran.
        let mut broke = false;
        loop {
            // A read that begins after the job's end reads the whole log.
            let final_read = !follow || is_over(&sight);
            let options = options(&reader, !final_read);
            let records = records(&backend.engine, &place.name, options).fuse();
            let mut records = std::pin::pin!(records);
            let mut broken = None;
            loop {
                let some = tokio::select! {
                    some = gather(records.as_mut(), size) => some,
                    () = silence(&backend, &place, &sight, final_read) => {
                        broken = Some(silent());
                        None
                    }
                };
                let Some(some) = some else { break };
                let (chunks, fault) = reader.take_all(some);
                for chunk in chunks {
                    backoff = BACKOFF.0;
                    yield Ok(chunk);
                }
                broken = broken.or(fault);
            }
            match broken {
                None if final_read => break,
                None if ends_now(&backend, &place, &sight).await => {
                    if !backend.engine.follows_lossily() {
                        break;
                    }
                    reader.reconnect();
                    continue;
                }
                None => {}
                Some(fault) if fault.is_not_found() => match gone(&backend, &place).await {
                    Ok(true) => {
                        for chunk in reader.gap() {
                            yield Ok(chunk);
                        }
                        return;
                    }
                    Ok(false) => {}
                    Err(fault) => {
                        yield Err(backend.error(fault, "failed to look for the attempt", &place));
                    }
                },
                Some(fault) => {
                    yield Err(backend.error(fault, "failed to read the job's output", &place));
                }
            }
            broke |= !is_over(&sight);
            reader.reconnect();
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
        if broke && ended_unread(&backend.engine, &sight).await {
            for chunk in reader.gap() {
                yield Ok(chunk);
            }
        }
    }
    .boxed()
}

/// The size of a record; a failure has none.
fn size(record: &Answer<Record>) -> usize {
    record.as_ref().map_or(0, |(_, bytes)| bytes.len())
}

fn options(reader: &Reader, follow: bool) -> LogsOptions {
    LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .follow(follow)
        .since(reader.first_second())
        .build()
}

/// Ends when the engine has been silent for too long. A running job may be silent for any time.
async fn silence(
    backend: &Backend,
    place: &Place,
    sight: &watch::Receiver<Sight>,
    final_read: bool,
) {
    if final_read {
        return sleep(backend.engine.config().request_timeout.get()).await;
    }
    let mut told = sight.clone();
    loop {
        let known = told.wait_for(|sight| sight.is_over() || !sight.trusted).await;
        let over = known.map(|sight| sight.is_over());
        match over {
            Ok(true) => return sleep(LAST_WORDS).await,
            Ok(false) => {}
            // The watcher has forgotten the attempt: no more news arrive.
            Err(_) => return std::future::pending().await,
        }
        // A follower of the job's events inspects it, but there may be none.
        sleep(END_SHOWS).await;
        if !told.borrow().trusted && backend.look(place).await.is_err() {
            sleep(BACKOFF.1).await;
        }
    }
}

fn silent() -> Fault {
    Fault::Answered { status: 500, message: "the engine said nothing more".to_owned() }
}

fn is_over(sight: &watch::Receiver<Sight>) -> bool {
    sight.borrow().is_over()
}

/// Whether the job has ended: its followed log ends a little before its end becomes visible.
async fn ends_now(backend: &Backend, place: &Place, sight: &watch::Receiver<Sight>) -> bool {
    let mut told = sight.clone();
    let over = timeout(END_SHOWS, told.wait_for(Sight::is_over)).await.is_ok();
    // `look` records what it finds in the sight.
    over || (backend.look(place).await.is_ok() && is_over(sight))
}

/// Whether the job ended before its engine, which went down while it ran, was back. Output that it
/// wrote in between was in its pipes, and is lost with them.
async fn ended_unread(engine: &Engine, sight: &watch::Receiver<Sight>) -> bool {
    let Some(death) = sight.borrow().death.clone() else { return false };
    match engine.came_up().await {
        Ok(came_up) => came_up.is_some_and(|came_up| is_before(&death, came_up)),
        // An unnecessary gap is better than a missing one.
        Err(_) => true,
    }
}

/// Whether there is no container of the attempt.
async fn gone(backend: &Backend, place: &Place) -> Answer<bool> {
    Ok(backend.look(place).await?.is_none())
}

/// The records of a container's log. A frame of neither stream is the engine's own report of a
/// failure, or the rest of a broken frame: the connection is unusable.
fn records(
    engine: &Engine,
    name: &str,
    options: LogsOptions,
) -> impl Stream<Item = Answer<Record>> {
    async_stream::stream! {
        let docker = match engine.docker().await {
            Ok(docker) => docker,
            Err(fault) => {
                yield Err(fault);
                return;
            }
        };
        let mut frames = std::pin::pin!(docker.logs(name, Some(options)));
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(LogOutput::StdOut { message }) => yield Ok((LogStream::Stdout, message)),
                Ok(LogOutput::StdErr { message }) => yield Ok((LogStream::Stderr, message)),
                Ok(LogOutput::StdIn { .. } | LogOutput::Console { .. }) => {
                    yield Err(broken_off());
                    return;
                }
                Err(cause) => {
                    yield Err(engine.fault(cause));
                    return;
                }
            }
        }
    }
}

/// The last records of a container's log, without their times.
pub(crate) fn tail(engine: &Engine, name: &str, count: u32) -> impl Stream<Item = Answer<Record>> {
    let options =
        LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&count.to_string()).build();
    records(engine, name, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunks: Vec<LogChunk>) -> Vec<(u64, String)> {
        let data = |chunk| match chunk {
            LogChunk::Data { offset, bytes, .. } => {
                (offset, String::from_utf8_lossy(&bytes).into_owned())
            }
            LogChunk::Gap { offset, .. } => (offset, "GAP".to_owned()),
            other => panic!("{other:?}"),
        };
        chunks.into_iter().map(data).collect()
    }

    fn out(reader: &mut Reader, at: &str, bytes: &'static str) -> Vec<(u64, String)> {
        text(reader.take(LogStream::Stdout, at, Bytes::from_static(bytes.as_bytes())))
    }

    #[test]
    fn a_reader_goes_on_behind_what_its_caller_has() {
        let mut reader = Reader::new(LogPosition { stdout: 4, stderr: 0 });
        assert_eq!(out(&mut reader, "1", "ab\n"), []);
        assert_eq!(out(&mut reader, "2", "de\n"), [(4, "e\n".to_owned())]);
        assert_eq!(out(&mut reader, "3", "gh\n"), [(6, "gh\n".to_owned())]);
    }

    #[test]
    fn a_broken_connection_neither_repeats_nor_loses_a_record() {
        let mut reader = Reader::new(LogPosition::START);
        for (at, bytes) in [("1", "a\n"), ("2", "b\n"), ("2", "c\n")] {
            assert_eq!(out(&mut reader, at, bytes).len(), 1);
        }
        reader.reconnect();
        for (at, bytes) in [("1", "a\n"), ("2", "b\n"), ("2", "c\n")] {
            assert_eq!(out(&mut reader, at, bytes), [], "had before");
        }
        assert_eq!(out(&mut reader, "2", "d"), [(6, "d".to_owned())], "the same instant, but new");
        assert_eq!(out(&mut reader, "3", "e"), [(7, "\n".to_owned()), (8, "e".to_owned())]);
    }

    #[test]
    fn what_was_rotated_away_while_the_connection_was_broken_is_a_gap() {
        let mut reader = Reader::new(LogPosition::START);
        out(&mut reader, "1", "a");
        reader.reconnect();
        let gap = |at| (at, "GAP".to_owned());
        assert_eq!(out(&mut reader, "3", "c"), [gap(1), gap(0), (1, "c".to_owned())]);
        assert_eq!(out(&mut reader, "3", "d"), [(2, "d".to_owned())]);
    }

    #[test]
    fn a_line_that_was_cut_into_records_keeps_its_newline() {
        let mut reader = Reader::new(LogPosition::START);
        out(&mut reader, "1", "xx");
        assert_eq!(out(&mut reader, "1", "yy"), [(2, "yy".to_owned())], "the same line");
        reader.reconnect();
        assert_eq!(out(&mut reader, "1", "xx"), []);
        assert_eq!(out(&mut reader, "1", "yy"), []);
        let next = [(4, "\n".to_owned()), (5, "next\n".to_owned())];
        assert_eq!(out(&mut reader, "2", "next\n"), next);
        assert_eq!(out(&mut reader, "3", "last\n"), [(10, "last\n".to_owned())]);
    }

    #[test]
    fn a_newline_that_the_driver_swallowed_is_told() {
        let mut reader = Reader::new(LogPosition::START);
        assert_eq!(out(&mut reader, "1", "xxx"), [(0, "xxx".to_owned())]);
        assert_eq!(out(&mut reader, "1", ""), [(3, "\n".to_owned())]);
        assert_eq!(out(&mut reader, "2", "next\n"), [(4, "next\n".to_owned())]);
    }

    #[test]
    fn records_that_come_together_are_one_chunk_a_stream() {
        let mut reader = Reader::new(LogPosition::START);
        let record = |stream, text: &'static str| Ok((stream, Bytes::from_static(text.as_bytes())));
        let (chunks, fault) = reader.take_all(vec![
            record(LogStream::Stdout, "1 a\n"),
            record(LogStream::Stdout, "2 b\n"),
            record(LogStream::Stderr, "3 e\n"),
            record(LogStream::Stdout, "rubbish"),
        ]);
        assert_eq!(text(chunks), [(0, "a\nb\n".to_owned()), (0, "e\n".to_owned())]);
        assert!(fault.is_some());
    }

    #[test]
    fn a_record_is_split_at_its_time() {
        let record = Bytes::from_static(b"2026-11-23T18:26:40.262648781Z a b\xff\n");
        let (at, bytes) = split(&record).unwrap();
        assert_eq!(at, "2026-11-23T18:26:40.262648781Z");
        assert_eq!(&bytes[..], b"a b\xff\n");
        assert_eq!(split(&Bytes::from_static(b"rubbish")), None);
    }
}

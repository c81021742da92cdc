//! The body of an answer, which is bounded: an engine, or what pretends to be one, may send without
//! end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use hyper::body::{Body as _, Incoming};
use longshore_core::LogStream;
use serde::de::DeserializeOwned;

use crate::fault::Cause;

/// The most bytes of one line of a stream, which is one event.
const LINE: usize = 4 << 20;
/// The most bytes of one record of output. Engines cut the lines of a log into records of 16 KiB, and
/// attached output into 32 KiB.
const RECORD: usize = 1 << 20;
/// The size at which the engine cuts a line of a log into records.
pub(crate) const CUT: usize = 16 * 1024;
/// The bytes before each record: its stream, three zeros and its length.
const HEADER: usize = 8;

/// A piece of output as the engine sends it. One of a log begins with its time, if that was asked for.
pub(crate) type Record = (LogStream, Bytes);

/// The form of a container's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Records,
    /// That of a terminal.
    Shown,
    /// That of a terminal, with the times.
    TimedLines,
}

/// The body of an answer, and the connection on which it arrives.
///
/// One task reads both, so that a small piece costs no switch between tasks. Dropping the body closes
/// the connection.
pub(crate) struct Body {
    incoming: Incoming,
    connection: Option<BoxFuture<'static, ()>>,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, connection: BoxFuture<'static, ()>) -> Self {
        Self { incoming, connection: Some(connection) }
    }

    /// The whole body, of at most `limit` bytes.
    pub(crate) async fn whole(mut self, limit: usize) -> Result<Bytes, Cause> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await {
            let piece = piece?;
            within("the answer", whole.len().saturating_add(piece.len()), limit)?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The beginning of the body, of at most `limit` bytes.
    pub(crate) async fn beginning(mut self, limit: usize) -> Result<Bytes, Cause> {
        let mut beginning = BytesMut::new();
        while beginning.len() < limit
            && let Some(piece) = self.next().await
        {
            beginning.extend_from_slice(&piece?);
        }
        beginning.truncate(limit);
        Ok(beginning.freeze())
    }

    /// The values of a body with one JSON value a line, up to the first failure.
    pub(crate) fn values<T: DeserializeOwned>(mut self) -> impl Stream<Item = Result<T, Cause>> {
        async_stream::try_stream! {
            let mut rest = BytesMut::new();
            loop {
                // What was searched before contains no newline.
                let searched = rest.len();
                let piece = self.next().await.transpose()?;
                let is_last = piece.is_none();
                rest.extend_from_slice(&piece.unwrap_or_default());
                let mut from = searched;
                while let Some(length) = newline(&rest, from) {
                    within("a line", length, LINE)?;
                    if let Some(value) = value(&rest.split_to(length.saturating_add(1)))? {
                        yield value;
                    }
                    from = 0;
                }
                within("a line", rest.len(), LINE)?;
                if is_last {
                    if let Some(value) = value(&rest)? {
                        yield value;
                    }
                    return;
                }
            }
        }
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Cause>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { incoming, connection } = self.get_mut();
        if let Poll::Ready(next) = poll_data(incoming, context) {
            return Poll::Ready(next);
        }
        if connection.as_mut().is_some_and(|it| it.as_mut().poll(context).is_ready()) {
            *connection = None;
        }
        // The connection may have read the next piece.
        poll_data(incoming, context)
    }
}

/// Polls for the next data; skips trailers.
fn poll_data(
    incoming: &mut Incoming,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Cause>>> {
    loop {
        match std::task::ready!(Pin::new(&mut *incoming).poll_frame(context)) {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Some(Err(cause)) => return Poll::Ready(Some(Err(cause.into()))),
            None => return Poll::Ready(None),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

fn within(what: &'static str, length: usize, limit: usize) -> Result<(), Cause> {
    if length > limit { Err(Cause::TooLong { what, limit }) } else { Ok(()) }
}

/// The position of the first newline at or after `from`.
fn newline(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.iter().skip(from).position(|byte| *byte == b'\n')?;
    from.checked_add(found)
}

/// The value in a line; `None` for an empty line.
fn value<T: DeserializeOwned>(line: &[u8]) -> Result<Option<T>, Cause> {
    let line = line.trim_ascii();
    if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(line)?)) }
}

/// Splits the pieces of a stream into records
/// (<https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach>).
/// A record of another stream than stdout and stderr is the engine's own report of a failure, or the
/// rest of a broken record: the connection is unusable.
pub(crate) fn records<E: Into<Cause>>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> impl Stream<Item = Result<Record, Cause>> {
    async_stream::try_stream! {
        let mut pieces = std::pin::pin!(pieces);
        let mut rest = BytesMut::new();
        loop {
            while let Some(record) = split(&mut rest)? {
                yield record;
            }
            match pieces.next().await.transpose().map_err(Into::into)? {
                Some(piece) => rest.extend_from_slice(&piece),
                None if rest.is_empty() => return,
                None => Err(Cause::BrokenOff)?,
            }
        }
    }
}

/// Returns the pieces of what a terminal shows as records: it is one stream without headers.
pub(crate) fn shown<E: Into<Cause>>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> impl Stream<Item = Result<Record, Cause>> {
    pieces.map(|piece| piece.map(|bytes| (LogStream::Stdout, bytes)).map_err(Into::into))
}

/// Splits the log of a terminal into records, each of which begins with its time: it has no headers.
pub(crate) fn timed_lines<E: Into<Cause>>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> impl Stream<Item = Result<Record, Cause>> {
    async_stream::try_stream! {
        let mut pieces = std::pin::pin!(pieces);
        let mut rest = BytesMut::new();
        loop {
            while let Some(length) = timed_line(&rest) {
                yield (LogStream::Stdout, rest.split_to(length).freeze());
            }
            within("a record of the output", rest.len(), RECORD)?;
            match pieces.next().await.transpose().map_err(Into::into)? {
                Some(piece) => rest.extend_from_slice(&piece),
                None => {
                    if !rest.is_empty() {
                        yield (LogStream::Stdout, rest.freeze());
                    }
                    return;
                }
            }
        }
    }
}

/// The length of the first record in `bytes`, with its time, if it is known to be there as a whole. It
/// ends with its line, or where the engine has cut that: the next record then has the same time.
fn timed_line(bytes: &[u8]) -> Option<usize> {
    let begin = bytes.iter().position(|byte| *byte == b' ')?.checked_add(1)?;
    let cut = begin.checked_add(CUT)?;
    match newline(bytes, begin) {
        Some(end) if end < cut => end.checked_add(1),
        found => {
            let next = bytes.get(cut..)?.get(..begin)?;
            if Some(next) == bytes.get(..begin) { Some(cut) } else { found?.checked_add(1) }
        }
    }
}

/// Takes the first record off `bytes`, if it is there as a whole.
fn split(bytes: &mut BytesMut) -> Result<Option<Record>, Cause> {
    let stream = match bytes.first() {
        None => return Ok(None),
        Some(1) => LogStream::Stdout,
        Some(2) => LogStream::Stderr,
        Some(_) => return Err(Cause::BrokenOff),
    };
    let Some([_, _, _, _, length @ ..]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    within("a record of the output", length, RECORD)?;
    let whole = HEADER.saturating_add(length);
    if bytes.len() < whole {
        bytes.reserve(whole.saturating_sub(bytes.len()));
        return Ok(None);
    }
    let mut record = bytes.split_to(whole);
    Ok(Some((stream, record.split_off(HEADER).freeze())))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use futures::stream::{iter, unfold};

    use super::*;

    async fn read(pieces: &[&'static [u8]]) -> Result<Vec<Record>, Cause> {
        let pieces = pieces.iter().map(|piece| Ok::<_, Cause>(Bytes::from_static(piece)));
        records(iter(pieces.collect::<Vec<_>>())).try_collect().await
    }

    #[tokio::test]
    async fn records_are_split_wherever_the_pieces_end() {
        const BYTES: &[u8] = b"\x01\0\0\0\0\0\0\x03ab\n\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x01e";
        let expected = vec![
            (LogStream::Stdout, Bytes::from_static(b"ab\n")),
            (LogStream::Stderr, Bytes::new()),
            (LogStream::Stderr, Bytes::from_static(b"e")),
        ];
        assert_eq!(read(&[BYTES]).await.unwrap(), expected);
        for cut in 0..BYTES.len() {
            assert_eq!(read(&[&BYTES[..cut], &BYTES[cut..]]).await.unwrap(), expected, "{cut}");
        }
        let broken = read(&[&BYTES[..BYTES.len() - 1]]).await;
        assert!(matches!(broken, Err(Cause::BrokenOff)), "{broken:?}");
    }

    #[tokio::test]
    async fn the_log_of_a_terminal_is_split_into_its_lines_and_where_the_engine_cut_them() {
        let long = "x".repeat(CUT);
        let at = |second: u8| format!("2026-01-01T00:00:0{second}.000000000Z ");
        let records = vec![
            format!("{}a\r\n", at(1)),
            format!("{}{long}", at(2)),
            format!("{}{}\n", at(2), "y".repeat(9)),
            format!("{}{long}\n", at(3)),
            format!("{}open", at(4)),
        ];
        let text = records.concat();
        let pieces =
            text.as_bytes().chunks(1000).map(|piece| Ok::<_, Cause>(piece.to_vec().into()));
        // Panics if it is polled again after its end.
        let pieces = unfold(pieces, async |mut pieces| pieces.next().map(|piece| (piece, pieces)));
        let read: Vec<Record> = timed_lines(pieces).try_collect().await.unwrap();
        let expected: Vec<Record> =
            records.into_iter().map(|it| (LogStream::Stdout, Bytes::from(it))).collect();
        assert_eq!(read, expected);
    }

    #[tokio::test]
    async fn a_record_that_is_no_output_breaks_the_connection_off() {
        for first in [0, 3, b'{'] {
            let bytes: &'static [u8] = vec![first, 0, 0, 0, 0, 0, 0, 1, b'x'].leak();
            let broken = read(&[bytes]).await;
            assert!(matches!(broken, Err(Cause::BrokenOff)), "{broken:?}");
        }
    }

    #[tokio::test]
    async fn an_endless_record_is_refused_by_its_length() {
        let endless = read(&[b"\x01\0\0\0\xff\xff\xff\xff"]).await.unwrap_err();
        assert!(endless.to_string().contains("more than 1048576 bytes"), "{endless}");
    }
}

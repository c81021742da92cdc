//! The lines of a job's output that are of certain times.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, LogChunk, LogStream, Result, TimedChunk};
use tokio::time::timeout;

/// How long after the end of a window to wait for each next piece of its output.
const LATE: Duration = Duration::from_secs(2);

/// The times of lines to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogWindow {
    /// The first time. `None`: from the beginning.
    pub since: Option<Timestamp>,
    /// The last time. `None`: to the end.
    pub until: Option<Timestamp>,
}

impl LogWindow {
    /// Whether the window ended some time ago.
    pub(crate) fn is_over(&self) -> bool {
        self.until.and_then(|until| until.checked_add(LATE).ok()).is_some_and(|end| end < now())
    }

    fn has(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at <= until)
    }

    /// Returns the lines of `chunks` that are in this window, and the gaps. With `follow`, ends some
    /// time after the window.
    pub(crate) fn filter(
        self,
        chunks: BoxStream<'static, Result<TimedChunk>>,
        follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        let reader = Reader {
            lines: [Lines::new(self), Lines::new(self)],
            last: self.until.filter(|_| follow),
            chunks,
            ready: VecDeque::new(),
        };
        stream::unfold(reader, |mut reader| async {
            let next = reader.next().await?;
            Some((next, reader))
        })
        .boxed()
    }
}

/// A reader of the lines in a window.
struct Reader {
    chunks: BoxStream<'static, Result<TimedChunk>>,
    lines: [Lines; 2],
    /// When to stop waiting for lines of the window.
    last: Option<Timestamp>,
    /// Lines that were read, and not yet returned.
    ready: VecDeque<TimedChunk>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<TimedChunk>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                self.last = self.last.map(|last| last.max(now()));
                return Some(Ok(part));
            }
            let next = match self.last {
                None => self.chunks.next().await,
                Some(last) => timeout(left(last), self.chunks.next()).await.ok()?,
            };
            let timed = match next? {
                Ok(timed) => timed,
                Err(error) => return Some(Err(error)),
            };
            let LogChunk::Data { stream, offset, bytes } = &timed.chunk else {
                return Some(Ok(timed));
            };
            let Some(at) = timed.at else {
                let message = "the times of this output are not known";
                // Nothing that comes after it is passed on.
                self.chunks = stream::empty().boxed();
                return Some(Err(Error::new(ErrorKind::Unsupported, message)));
            };
            let lines = &mut self.lines[usize::from(*stream == LogStream::Stderr)];
            self.ready.extend(lines.take(*stream, *offset, at, bytes));
        }
    }
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// Returns how long to wait for a piece, if `last` is the end of the window or the time of the last
/// piece in it.
fn left(last: Timestamp) -> Duration {
    Duration::try_from(last.duration_since(now())).unwrap_or_default().saturating_add(LATE)
}

/// The position of a reader in the lines of one stream.
#[derive(Debug)]
struct Lines {
    window: LogWindow,
    /// The time of the line that has begun, and not ended.
    begun: Option<Timestamp>,
}

impl Lines {
    const fn new(window: LogWindow) -> Self {
        Self { window, begun: None }
    }

    /// Returns the parts of `bytes`, which arrived at `at`, that are in the window. A line has the
    /// time at which it began.
    fn take(
        &mut self,
        stream: LogStream,
        offset: u64,
        at: Timestamp,
        bytes: &Bytes,
    ) -> Vec<TimedChunk> {
        let newline = |bytes: &Bytes| bytes.iter().position(|byte| *byte == b'\n');
        let mut rest = bytes.clone();
        let mut parts = Vec::new();
        if let Some(begun) = self.begun {
            let end = newline(&rest).map_or(rest.len(), |at| at.saturating_add(1));
            parts.push((offset, begun, rest.split_to(end)));
        }
        let after = offset.saturating_add(bytes.len() as u64).saturating_sub(rest.len() as u64);
        if !rest.is_empty() {
            parts.push((after, at, rest));
        }
        let last = parts.last().map(|(_, at, bytes)| (*at, bytes.last() == Some(&b'\n')));
        self.begun = last.filter(|(_, ended)| !ended).map(|(at, _)| at);
        let inside = parts.into_iter().filter(|(_, at, _)| self.window.has(*at));
        inside
            .map(|(offset, at, bytes)| {
                TimedChunk::new(Some(at), LogChunk::data(stream, offset, bytes))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn piece(at: i64, offset: u64, text: &'static str) -> Result<TimedChunk> {
        let chunk = LogChunk::data(LogStream::Stdout, offset, Bytes::from(text));
        Ok(TimedChunk::new(Some(second(at)), chunk))
    }

    fn window(since: Option<i64>, until: Option<i64>) -> LogWindow {
        LogWindow { since: since.map(second), until: until.map(second) }
    }

    async fn lines(
        window: LogWindow,
        pieces: Vec<Result<TimedChunk>>,
    ) -> Vec<std::result::Result<(i64, u64, String), ErrorKind>> {
        let read = window.filter(stream::iter(pieces).boxed(), false);
        let shown = |timed: TimedChunk| match timed.chunk {
            LogChunk::Data { offset, bytes, .. } => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                (timed.at.unwrap().as_second(), offset, text)
            }
            other => panic!("{other:?}"),
        };
        read.map(|item| item.map(shown).map_err(|error| error.kind())).collect().await
    }

    #[tokio::test]
    async fn a_line_has_the_time_at_which_it_began() {
        let pieces = || {
            vec![
                piece(1, 0, "a\nbe"),
                piece(2, 4, "gun\nc\n"),
                piece(3, 10, "d"),
                piece(4, 11, "\n"),
                piece(5, 12, "e\n"),
            ]
        };
        let some = |at, offset, text: &str| Ok((at, offset, text.to_owned()));
        let first = [some(1, 0, "a\nbe"), some(1, 4, "gun\n")];
        let later = [some(2, 8, "c\n"), some(3, 10, "d"), some(3, 11, "\n"), some(5, 12, "e\n")];
        assert_eq!(lines(window(None, Some(1)), pieces()).await, first);
        assert_eq!(lines(window(Some(2), None), pieces()).await, later);
        assert_eq!(lines(window(None, None), pieces()).await, [&first[..], &later].concat());
        assert_eq!(lines(window(Some(2), Some(4)), pieces()).await, later[..3]);
        assert_eq!(lines(window(Some(4), Some(4)), pieces()).await, []);
    }

    #[tokio::test]
    async fn output_without_a_time_is_refused_and_not_passed_on() {
        let unknown = LogChunk::data(LogStream::Stdout, 2, Bytes::from("b\n"));
        let pieces = vec![piece(1, 0, "a\n"), Ok(TimedChunk::new(None, unknown)), piece(3, 4, "c")];
        let read = lines(window(None, None), pieces).await;
        assert_eq!(read, [Ok((1, 0, "a\n".to_owned())), Err(ErrorKind::Unsupported)]);
    }

    #[tokio::test(start_paused = true)]
    async fn following_ends_with_the_window_though_the_job_goes_on() {
        let window = LogWindow { since: None, until: Some(now()) };
        let endless = stream::iter([piece(1, 0, "a\n")]).chain(stream::pending()).boxed();
        assert_eq!(window.filter(endless, true).count().await, 1);
    }
}

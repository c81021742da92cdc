//! From the records of a container's log to chunks of output. Pure.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use longshore_core::{LogChunk, LogPosition, LogStream, TimedChunk};

use crate::attached::Tail;
use crate::body::{CUT, Record};
use crate::client::Answer;
use crate::fault::{Fault, broken_off};

/// A chunk of this size is not copied to merge it with others.
const LARGE: usize = 4 * 1024;

/// Whether a reader passes on the times of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    Kept,
    /// Records of different times are merged.
    Dropped,
}

/// What a reader has already received.
#[derive(Debug)]
pub(crate) struct Reader {
    /// How many bytes of each stream the engine has sent, whether skipped or passed on.
    had: LogPosition,
    /// What the caller already has.
    since: LogPosition,
    times: Times,
    /// The time of the last record, and how many records had that time.
    last: Option<(String, u32)>,
    /// After a reconnection: how many records of that time are still to be skipped.
    resume: Option<u32>,
    /// Of stdout and of stderr: the time of a record that is the beginning of a line. All records
    /// of a line have the same.
    begun: [Option<String>; 2],
    /// Of stdout and of stderr: whether that record continues a line and is shorter than the cut.
    short: [bool; 2],
    /// Whether the engine has sent a cut line with its newline.
    exact: bool,
    /// Where the output ends, if that of a later run of the container follows.
    end: Option<Timestamp>,
    /// Whether a record behind that was seen.
    ended: bool,
    /// Of stdout and of stderr: the end of what was attached before the log was read.
    tails: [Tail; 2],
    /// Of stdout and of stderr: whether the log has other output there.
    differs: [bool; 2],
}

impl Reader {
    pub(crate) fn new(since: LogPosition, times: Times) -> Self {
        Self {
            had: LogPosition::START,
            since,
            times,
            last: None,
            resume: None,
            begun: [None, None],
            short: [false, false],
            exact: false,
            end: None,
            ended: false,
            tails: [Tail::default(), Tail::default()],
            differs: [false; 2],
        }
    }

    /// Takes attached records, each of which is new.
    pub(crate) fn take_attached(&mut self, records: Vec<Record>) -> Vec<LogChunk> {
        let mut chunks = Chunks::default();
        for (stream, bytes) in records.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.tails[of(stream)].push(&bytes);
            let chunk = LogChunk::data(stream, self.had.of(stream), bytes);
            self.had.advance(&chunk);
            chunks.push(None, chunk);
        }
        chunks.finish().into_iter().map(|timed| timed.chunk).collect()
    }

    /// A reader of the log that continues behind the attached records.
    pub(crate) fn continued(self) -> Self {
        Self { tails: self.tails, ..Self::new(self.had, self.times) }
    }

    /// Marks the streams of which the log has other output than was attached, if the log ended before
    /// the mark was due.
    pub(crate) fn differing_ends(&mut self) -> Vec<LogChunk> {
        let streams = [LogStream::Stdout, LogStream::Stderr];
        streams.into_iter().filter_map(|stream| self.difference(stream)).collect()
    }

    /// The mark that output is missing, once, if the log has other output than was attached.
    fn difference(&mut self, stream: LogStream) -> Option<LogChunk> {
        let differs = std::mem::take(&mut self.differs[of(stream)]);
        differs.then(|| LogChunk::gap(stream, self.since.of(stream), None))
    }

    /// Takes no record that is later than `end`: a later run of the container wrote it.
    pub(crate) const fn end_at(&mut self, end: Option<Timestamp>) {
        self.end = end;
    }

    /// Whether all output of the first run is read, though the log continues.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Prepares for a new connection.
    pub(crate) fn reconnect(&mut self) {
        self.resume = self.last.as_ref().map(|(_, records)| *records);
    }

    /// The second from which on the engine is asked for records.
    pub(crate) fn first_second(&self) -> i32 {
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
            self.add(stream, Bytes::from_static(b"\n"), &mut chunks);
        }
        self.add(stream, bytes, &mut chunks);
        chunks
    }

    /// Whether the line before the record `bytes` of the time `at` has ended but was sent without
    /// its newline, as the driver of Docker 20.10 sends each line that it has cut into records.
    fn lacks_newline(&mut self, stream: LogStream, at: &str, bytes: &Bytes) -> bool {
        let of_stream = of(stream);
        let begun = &mut self.begun[of_stream];
        let lacks = begun.as_ref().is_some_and(|begun| begun != at);
        let is_continued = begun.as_ref().is_some_and(|begun| begun == at);
        let goes_on = bytes.last().is_some_and(|last| *last != b'\n');
        *begun = goes_on.then(|| at.to_owned());
        self.short[of_stream] = is_continued && goes_on && bytes.len() < CUT;
        self.exact |= is_continued && bytes.last() == Some(&b'\n');
        lacks
    }

    /// Marks the streams whose last line may lack its newline: an engine that `loses` them sends the
    /// end of a line that it has cut without it, so the line looks the same with and without. (If the
    /// line ends on the bound of a record, the newline is a record of its own.)
    pub(crate) fn open_ends(&self, loses: bool) -> Vec<LogChunk> {
        let is_open = |stream: &LogStream| loses && !self.exact && self.short[of(*stream)];
        let mark = |stream| LogChunk::gap(stream, self.had.of(stream), None);
        [LogStream::Stdout, LogStream::Stderr].into_iter().filter(is_open).map(mark).collect()
    }

    fn add(&mut self, stream: LogStream, bytes: Bytes, chunks: &mut Vec<LogChunk>) {
        let (tail, since) = (&self.tails[of(stream)], self.since.of(stream));
        self.differs[of(stream)] |= !tail.agrees(since, self.had.of(stream), &bytes);
        let new = self.new_bytes(stream, bytes);
        if new.is_some() {
            chunks.extend(self.difference(stream));
        }
        chunks.extend(new);
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
    pub(crate) fn take_all(
        &mut self,
        records: Vec<Answer<Record>>,
    ) -> (Vec<TimedChunk>, Option<Fault>) {
        let mut chunks = Chunks::default();
        for record in records {
            let (stream, message) = match record {
                Ok(record) => record,
                Err(fault) => return (chunks.finish(), Some(fault)),
            };
            let Some((at, bytes)) = split(&message) else {
                return (chunks.finish(), Some(broken_off()));
            };
            let is_later = |end| at.parse::<Timestamp>().is_ok_and(|at| at > end);
            let time = match self.times {
                Times::Kept => at.parse::<Timestamp>().ok(),
                Times::Dropped => None,
            };
            if self.ended || self.end.is_some_and(is_later) {
                self.ended = true;
                return (chunks.finish(), None);
            }
            for chunk in self.take(stream, at, bytes) {
                chunks.push(time, chunk);
            }
        }
        (chunks.finish(), None)
    }

    /// Marks that output is missing here; the amount and the stream are unknown.
    pub(crate) fn gap(&self) -> [LogChunk; 2] {
        [LogStream::Stdout, LogStream::Stderr]
            .map(|stream| LogChunk::gap(stream, self.had.of(stream), None))
    }
}

/// The index of a stream.
fn of(stream: LogStream) -> usize {
    usize::from(stream == LogStream::Stderr)
}

/// Chunks, with consecutive ones of one stream and time merged: a record is a line, and lines are
/// short.
#[derive(Debug, Default)]
struct Chunks {
    whole: Vec<TimedChunk>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    at: Option<Timestamp>,
    stream: LogStream,
    offset: u64,
    bytes: BytesMut,
}

impl Chunks {
    fn push(&mut self, at: Option<Timestamp>, chunk: LogChunk) {
        let LogChunk::Data { stream, offset, bytes } = &chunk else {
            self.close();
            self.whole.push(TimedChunk::new(None, chunk));
            return;
        };
        match &mut self.open {
            _ if bytes.len() >= LARGE => {
                self.close();
                self.whole.push(TimedChunk::new(at, chunk));
            }
            Some(open) if open.stream == *stream && open.at == at => {
                open.bytes.extend_from_slice(bytes);
            }
            _ => {
                self.close();
                let (stream, offset, bytes) = (*stream, *offset, BytesMut::from(&bytes[..]));
                self.open = Some(Open { at, stream, offset, bytes });
            }
        }
    }

    fn close(&mut self) {
        if let Some(Open { at, stream, offset, bytes }) = self.open.take() {
            let chunk = LogChunk::data(stream, offset, bytes.freeze());
            self.whole.push(TimedChunk::new(at, chunk));
        }
    }

    fn finish(mut self) -> Vec<TimedChunk> {
        self.close();
        self.whole
    }
}

/// Splits a record into its time and its bytes.
fn split(message: &Bytes) -> Option<(&str, Bytes)> {
    let space = message.iter().take(64).position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&message[..space]).ok()?;
    Some((at, message.slice(space + 1..)))
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

    fn untimed(chunks: Vec<TimedChunk>) -> Vec<LogChunk> {
        chunks.into_iter().map(|timed| timed.chunk).collect()
    }

    fn out(reader: &mut Reader, at: &str, bytes: &'static str) -> Vec<(u64, String)> {
        text(reader.take(LogStream::Stdout, at, Bytes::from_static(bytes.as_bytes())))
    }

    #[test]
    fn a_reader_goes_on_behind_what_its_caller_has() {
        let mut reader = Reader::new(LogPosition { stdout: 4, stderr: 0 }, Times::Dropped);
        assert_eq!(out(&mut reader, "1", "ab\n"), []);
        assert_eq!(out(&mut reader, "2", "de\n"), [(4, "e\n".to_owned())]);
        assert_eq!(out(&mut reader, "3", "gh\n"), [(6, "gh\n".to_owned())]);
    }

    #[test]
    fn a_broken_connection_neither_repeats_nor_loses_a_record() {
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
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
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
        out(&mut reader, "1", "a");
        reader.reconnect();
        let gap = |at| (at, "GAP".to_owned());
        assert_eq!(out(&mut reader, "3", "c"), [gap(1), gap(0), (1, "c".to_owned())]);
        assert_eq!(out(&mut reader, "3", "d"), [(2, "d".to_owned())]);
    }

    #[test]
    fn a_line_that_was_cut_into_records_keeps_its_newline() {
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
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
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
        assert_eq!(out(&mut reader, "1", "xxx"), [(0, "xxx".to_owned())]);
        assert_eq!(out(&mut reader, "1", ""), [(3, "\n".to_owned())]);
        assert_eq!(out(&mut reader, "2", "next\n"), [(4, "next\n".to_owned())]);
    }

    #[test]
    fn a_last_newline_that_the_engine_may_have_lost_is_a_gap() {
        const FULL: &str = match std::str::from_utf8(&[b'a'; CUT]) {
            Ok(full) => full,
            Err(_) => "",
        };
        let ends = |records: &[(&'static str, &'static str)], loses| {
            let mut reader = Reader::new(LogPosition::START, Times::Dropped);
            records.iter().for_each(|(at, bytes)| drop(out(&mut reader, at, bytes)));
            text(reader.open_ends(loses))
        };
        let gap = |at: usize| vec![(at as u64, "GAP".to_owned())];
        // As Docker 20.10 sends lines of 16 KiB and 3 bytes, of 32 KiB, and one that is not cut.
        assert_eq!(ends(&[("1", FULL), ("1", "end")], true), gap(CUT + 3));
        assert_eq!(ends(&[("1", FULL), ("1", FULL)], true), [], "without a newline");
        assert_eq!(ends(&[("1", FULL), ("1", FULL), ("1", "")], true), [], "with one");
        assert_eq!(ends(&[("1", "end")], true), []);
        assert_eq!(ends(&[("1", FULL), ("1", "end"), ("2", "next\n")], true), []);
        // As Docker 29 does.
        assert_eq!(ends(&[("1", FULL), ("1", "end")], false), []);
        let kept = [("1", FULL), ("1", "end\n"), ("2", FULL), ("2", "end")];
        assert_eq!(ends(&kept, true), [], "it has kept one before");
    }

    #[test]
    fn what_was_attached_is_skipped_in_the_log() {
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
        let attached = reader.take_attached(vec![(LogStream::Stdout, Bytes::from_static(b"a\nb"))]);
        assert_eq!(text(attached), [(0, "a\nb".to_owned())]);
        let mut reader = reader.continued();
        assert_eq!(out(&mut reader, "1", "a\n"), []);
        assert_eq!(out(&mut reader, "2", "bc\n"), [(3, "c\n".to_owned())]);
        assert_eq!(text(reader.differing_ends()), []);
    }

    // An engine that is killed may have passed on output that is not in its log.
    #[test]
    fn attached_output_that_the_log_lacks_does_not_hide_later_output() {
        let attached = || {
            let mut reader = Reader::new(LogPosition::START, Times::Dropped);
            reader.take_attached(vec![(LogStream::Stdout, Bytes::from_static(b"a\nb\nc\n"))]);
            reader.continued()
        };
        let gap = (6, "GAP".to_owned());
        let mut reader = attached();
        assert_eq!(out(&mut reader, "1", "a\n"), []);
        assert_eq!(out(&mut reader, "5", "x\n"), []);
        assert_eq!(out(&mut reader, "6", "y\n"), []);
        assert_eq!(out(&mut reader, "7", "z\n"), [gap.clone(), (6, "z\n".to_owned())]);
        assert_eq!(text(reader.differing_ends()), [], "marked once");
        let mut reader = attached();
        assert_eq!(out(&mut reader, "5", "x\n"), []);
        assert_eq!(text(reader.differing_ends()), [gap], "the log ends before");
    }

    #[test]
    fn records_that_come_together_are_one_chunk_a_stream() {
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
        let record = |stream, text: &'static str| Ok((stream, Bytes::from_static(text.as_bytes())));
        let (chunks, fault) = reader.take_all(vec![
            record(LogStream::Stdout, "1 a\n"),
            record(LogStream::Stdout, "2 b\n"),
            record(LogStream::Stderr, "3 e\n"),
            record(LogStream::Stdout, "rubbish"),
        ]);
        assert_eq!(text(untimed(chunks)), [(0, "a\nb\n".to_owned()), (0, "e\n".to_owned())]);
        assert!(fault.is_some());
    }

    #[test]
    fn records_of_different_times_stay_apart_if_the_times_are_kept() {
        let mut reader = Reader::new(LogPosition::START, Times::Kept);
        let record =
            |text: &'static str| Ok((LogStream::Stdout, Bytes::from_static(text.as_bytes())));
        let (chunks, _) = reader.take_all(vec![
            record("2026-11-28T17:00:01.5Z a\n"),
            record("2026-11-28T17:00:01.5Z b\n"),
            record("2026-11-28T17:00:02Z c\n"),
        ]);
        let times: Vec<_> = chunks.iter().filter_map(|timed| timed.at).collect();
        let expected = ["2026-11-28T17:00:01.5Z", "2026-11-28T17:00:02Z"];
        assert_eq!(times, expected.map(|time| time.parse::<Timestamp>().unwrap()));
        assert_eq!(text(untimed(chunks)), [(0, "a\nb\n".to_owned()), (4, "c\n".to_owned())]);
    }

    #[test]
    fn the_output_of_a_restarted_container_is_not_the_jobs() {
        let mut reader = Reader::new(LogPosition::START, Times::Dropped);
        let record =
            |text: &'static str| Ok((LogStream::Stdout, Bytes::from_static(text.as_bytes())));
        let (first, second) = ("2026-11-28T17:00:01.5Z a\n", "2026-11-28T17:00:03Z b\n");
        reader.end_at(Some("2026-11-28T17:00:02Z".parse().unwrap()));
        let (chunks, fault) = reader.take_all(vec![record(first), record(second), record(first)]);
        assert_eq!(text(untimed(chunks)), [(0, "a\n".to_owned())]);
        assert!(reader.has_ended() && fault.is_none());
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

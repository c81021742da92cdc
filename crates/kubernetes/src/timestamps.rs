//! Removes the times from the lines of a log, and uses them to detect output that a stream has
//! skipped. Pure.

use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The kubelet writes a time as `2006-01-02T15:04:05.000000000Z07:00`. Anything longer is not a
/// time.
const LONGEST: usize = 40;
/// The minimum time that a log file is the current one, apart from delays on a busy node: the
/// kubelet's `containerLogMonitorInterval` is at least this long.
const ROTATION: Duration = Duration::from_secs(3);
/// How far the node's clock may be behind the API server's, as long as no line has shown more.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
/// How much later than its [`ServerClock`](crate::server_clock::ServerClock) the API server's time may
/// be.
const LATE: SignedDuration = SignedDuration::from_secs(1);
/// The kubelet does not rotate a file with fewer bytes than this.
const ROTATES: u64 = 256 * 1024;

/// Removes the times from one stream.
///
/// A kubelet that follows a file opens the next one when it has read the current one to its end. If
/// the next one has also been rotated by then, the kubelet skips it, and the stream does not show
/// that (`cri-client/pkg/logs`, `ReadLogs`). The times of the lines show it: they leap, while the
/// lines themselves arrive without a pause, because the stream was behind. If the job itself had
/// been silent, the stream would have been silent for as long.
///
/// A file can be skipped only after the stream was opened. So only the time since then counts: a stream
/// that is opened again during a pause of the job repeats what was before the pause.
#[derive(Debug)]
pub(crate) struct TimestampStripper {
    /// When the stream was opened, by the API server's clock.
    opened: Timestamp,
    begun: Instant,
    /// How far the node's clock is behind the API server's at most.
    behind: SignedDuration,
    /// The beginning of a time that has not arrived completely; `None` within a line.
    coming: Option<Vec<u8>>,
    last: Option<(Timestamp, Instant)>,
    bytes: u64,
    /// The latest time in the stream.
    latest: Option<Timestamp>,
    /// The latest time that was read from earlier streams.
    known: Option<Timestamp>,
    /// Where in the last output a later time than `known` came for the first time.
    later: Option<usize>,
    /// Where in the last output each time begins, if the times are kept.
    kept: Option<Vec<(usize, Option<Timestamp>)>>,
}

impl TimestampStripper {
    /// Creates the state for a stream that is opened at `begun`, which is `opened` by the API server's
    /// clock.
    pub(crate) const fn new(opened: Timestamp, begun: Instant) -> Self {
        let coming = Some(Vec::new());
        let (last, latest, known, later) = (None, None, None, None);
        let behind = SKEW;
        Self { opened, begun, behind, coming, last, bytes: 0, latest, known, later, kept: None }
    }

    /// Creates the state for the next stream from the same node.
    pub(crate) fn next(&self, opened: Timestamp, begun: Instant) -> Self {
        Self { behind: self.behind, ..Self::new(opened, begun) }
    }

    /// Reports by [`later`](Self::later) where the lines begin that are later than `known`.
    pub(crate) const fn after(mut self, known: Option<Timestamp>) -> Self {
        self.known = known;
        self
    }

    /// Returns the latest time in the stream so far.
    pub(crate) const fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// Returns the position in the last output of the first line that is later than everything that
    /// was read from earlier streams. `None` if that line is in no output or in an earlier one.
    pub(crate) const fn later(&self) -> Option<usize> {
        self.later
    }

    /// Keeps the times of the lines for [`times`](Self::times).
    pub(crate) fn keeping(mut self, wanted: bool) -> Self {
        self.kept = wanted.then(Vec::new);
        self
    }

    /// Splits the `range` of the last output by the times of the lines. Without kept times, returns
    /// all of it without a time.
    pub(crate) fn times(&self, range: Range<usize>) -> Vec<(Range<usize>, Option<Timestamp>)> {
        let Some(kept) = &self.kept else { return vec![(range, None)] };
        let ends = kept.iter().skip(1).map(|(begin, _)| *begin).chain([usize::MAX]);
        let parts = kept
            .iter()
            .zip(ends)
            .map(|((begin, at), end)| ((*begin).max(range.start)..end.min(range.end), *at));
        parts.filter(|(part, _)| !part.is_empty()).collect()
    }

    /// Begins a new output, which may continue a line.
    fn forget_times(&mut self) {
        let last = self.last.map(|(at, _)| at);
        if let Some(kept) = &mut self.kept {
            kept.clear();
            kept.push((0, last));
        }
    }

    fn keep_time(&mut self, begin: usize, at: Timestamp) {
        if let Some(kept) = &mut self.kept
            && kept.last().is_none_or(|(_, last)| *last != Some(at))
        {
            kept.push((begin, Some(at)));
        }
    }

    /// Appends `raw`, which arrived at `now`, to `out` without the times. Returns the position in
    /// `out` before which output is missing, if any is. The output may also be missing a little
    /// earlier: the file after the skipped one may begin within a line, and the rest of that line
    /// has no time.
    pub(crate) fn strip(&mut self, raw: &[u8], out: &mut Vec<u8>, now: Instant) -> Option<usize> {
        self.forget_times();
        self.later = None;
        self.bytes += raw.len() as u64;
        let mut leap = None;
        let mut rest = raw;
        while !rest.is_empty() {
            if let Some(mut coming) = self.coming.take() {
                let end = rest.iter().position(|byte| matches!(byte, b' ' | b'\n'));
                let length = end.unwrap_or(rest.len());
                coming.extend_from_slice(&rest[..length]);
                rest = &rest[length..];
                if end.is_none() && coming.len() <= LONGEST {
                    self.coming = Some(coming);
                    break;
                }
                match time(&coming).filter(|_| rest.first() == Some(&b' ')) {
                    Some(at) => {
                        rest = &rest[1..];
                        if self.leaps(at, now) {
                            leap = leap.or(Some(out.len()));
                        }
                        self.last = Some((at, now));
                        if self.known.is_some_and(|known| self.latest <= Some(known) && known < at)
                        {
                            self.later = Some(out.len());
                        }
                        self.latest = self.latest.max(Some(at));
                        // No line arrives before it is written.
                        let late = self.opened.duration_since(at)
                            + (now - self.begun).try_into().unwrap_or(SKEW);
                        self.behind = self.behind.min(late + LATE);
                        self.keep_time(out.len(), at);
                    }
                    // Not a line of the kubelet. Keep all of it.
                    None => out.extend_from_slice(&coming),
                }
            }
            let end = rest.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let (line, next) = rest.split_at(end.unwrap_or(rest.len()));
            out.extend_from_slice(line);
            rest = next;
            if end.is_some() {
                self.coming = Some(Vec::new());
            }
        }
        if let Some((_, arrived)) = &mut self.last {
            *arrived = now;
        }
        leap
    }

    /// Appends an incomplete time at the end of the stream, which is then no time, to `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.forget_times();
        self.later = None;
        out.extend(self.coming.take().unwrap_or_default());
    }

    fn leaps(&self, at: Timestamp, now: Instant) -> bool {
        let Some((last, arrived)) = self.last else { return false };
        let silent = now.duration_since(arrived);
        // The file that was current when the stream was opened has all lines from before.
        let since_opened = at.duration_since(self.opened) + self.behind;
        let leap = at.duration_since(last).min(since_opened);
        let leap = Duration::try_from(leap).unwrap_or_default();
        self.bytes > ROTATES && leap.saturating_sub(silent) >= ROTATION
    }
}

fn time(bytes: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST)?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: Timestamp = Timestamp::UNIX_EPOCH;

    fn new(opened: Timestamp) -> TimestampStripper {
        TimestampStripper::new(opened, Instant::now())
    }

    fn stamped(seconds: i64, line: &str) -> String {
        format!("{:.9} {line}", OPENED + SignedDuration::from_secs(seconds))
    }

    fn stripped(raw: &str, size: usize) -> (String, Option<usize>) {
        let (mut timestamps, mut out, now) = (new(OPENED), Vec::new(), Instant::now());
        let leaps: Vec<usize> = raw
            .as_bytes()
            .chunks(size)
            .filter_map(|piece| timestamps.strip(piece, &mut out, now))
            .collect();
        timestamps.finish(&mut out);
        assert!(leaps.len() < 2, "{leaps:?}");
        (String::from_utf8(out).unwrap(), leaps.first().copied())
    }

    #[test]
    fn times_are_taken_out_wherever_the_pieces_end() {
        let raw = [stamped(1, "one\n"), stamped(1, "\n"), stamped(2, "a time: "), stamped(3, "x")];
        let expected = format!("one\n\na time: {}", stamped(3, "x"));
        for size in [1, 2, 31, 32, 33, 1000] {
            assert_eq!(stripped(&raw.concat(), size), (expected.clone(), None));
        }
        let east = "2026-11-23T20:00:00.000000000+02:00 line\n";
        assert_eq!(stripped(east, 7).0, "line\n");
    }

    #[test]
    fn kept_times_are_those_of_the_lines_wherever_the_pieces_end() {
        let raw =
            [stamped(1, "one\n"), stamped(1, "1\n"), stamped(2, "two\n"), stamped(3, "x")].concat();
        for size in [1, 7, 31, 40, 1000] {
            let (mut timestamps, now) = (new(OPENED).keeping(true), Instant::now());
            let mut lines: Vec<(Option<i64>, String)> = Vec::new();
            for piece in raw.as_bytes().chunks(size) {
                let mut out = Vec::new();
                timestamps.strip(piece, &mut out, now);
                for (part, at) in timestamps.times(0..out.len()) {
                    let (at, text) = (at.map(Timestamp::as_second), &out[part]);
                    let text = std::str::from_utf8(text).unwrap();
                    match lines.last_mut().filter(|(last, _)| *last == at) {
                        Some((_, line)) => line.push_str(text),
                        None => lines.push((at, text.to_owned())),
                    }
                }
            }
            let expected = [(1, "one\n1\n"), (2, "two\n"), (3, "x")];
            assert_eq!(lines, expected.map(|(at, text)| (Some(at), text.to_owned())), "{size}");
        }
    }

    #[test]
    fn the_first_line_that_is_later_than_what_was_read_is_reported_once() {
        let raw = [stamped(1, "one\n"), stamped(3, "3\n"), stamped(2, "two\n"), stamped(4, "x\n")];
        let raw = raw.concat() + &stamped(5, "y");
        for (known, expected) in [
            (None, None),
            (Some(0), Some(0)),
            (Some(2), Some(4)),
            (Some(3), Some(10)),
            (Some(5), None),
        ] {
            for size in [1, 7, 31, 40, 1000] {
                let known = known.map(|known| OPENED + SignedDuration::from_secs(known));
                let (mut timestamps, now) = (new(OPENED).after(known), Instant::now());
                let (mut read, mut later) = (0, Vec::new());
                for piece in raw.as_bytes().chunks(size) {
                    let mut out = Vec::new();
                    timestamps.strip(piece, &mut out, now);
                    later.extend(timestamps.later().map(|at| read + at));
                    read += out.len();
                }
                assert_eq!(later, Vec::from_iter(expected), "{known:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_has_no_time_is_kept() {
        for raw in ["hello world\n", "\n", "short", &"x".repeat(100), "2026-11-23T20:00:00.0"] {
            for size in [1, 5, 1000] {
                assert_eq!(stripped(raw, size).0, raw);
            }
        }
    }

    /// Whether such a word was taken for a time depended on where the pieces ended.
    #[test]
    fn a_word_that_is_too_long_for_a_time_is_kept_in_any_pieces() {
        let line = "2026-11-22T18:26:40.2026-11:26:40.2026021 line\n";
        for size in [1, 40, 1000] {
            assert_eq!(stripped(line, size).0, line, "in pieces of {size}");
        }
    }

    #[test]
    fn a_leap_of_the_times_in_a_stream_that_was_not_silent_is_missing_output() {
        let much: String = (0..5000).map(|_| stamped(1, &format!("{:040}\n", 0))).collect();
        let (before, leap) = stripped(&(much.clone() + &stamped(11, "next\n")), 999);
        assert_eq!(leap, Some(5000 * 41));
        assert_eq!(before.len(), 5000 * 41 + 5);
        assert_eq!(stripped(&(much + &stamped(2, "next\n")), 999).1, None);
        let little = stamped(1, "x\n") + &stamped(11, "next\n");
        assert_eq!(stripped(&little, 999).1, None, "such a file is not rotated");
    }

    #[test]
    fn a_job_that_was_silent_has_left_nothing_out() {
        let much: String = (0..5000).map(|_| stamped(1, &format!("{:040}\n", 0))).collect();
        let (mut timestamps, mut out, now) = (new(OPENED), Vec::new(), Instant::now());
        timestamps.strip(much.as_bytes(), &mut out, now);
        let later = now + Duration::from_secs(10);
        assert_eq!(timestamps.strip(stamped(11, "x\n").as_bytes(), &mut out, later), None);
        // Nor is output missing that the job wrote before the first read.
        let mut timestamps = new(OPENED + SignedDuration::from_secs(60));
        timestamps.strip(much.as_bytes(), &mut out, now);
        assert_eq!(timestamps.strip(stamped(11, "x\n").as_bytes(), &mut out, now), None);
    }
    /// The pause before the stream was opened counted as well, and was taken for missing output.
    #[test]
    fn a_stream_that_is_opened_again_during_a_pause_has_left_nothing_out() {
        let much: String = (0..5000).map(|_| stamped(1, &format!("{:040}\n", 0))).collect();
        let (begun, mut out) = (Instant::now(), Vec::new());
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut first = TimestampStripper::new(OPENED, begun);
        first.strip(much.as_bytes(), &mut out, after(1));
        let opened = OPENED + SignedDuration::from_secs(100);
        let again = |next: &str, pause: u64| {
            let (mut timestamps, mut out) = (first.next(opened, after(100)), Vec::new());
            timestamps.strip(much.as_bytes(), &mut out, after(100));
            timestamps.strip(next.as_bytes(), &mut out, after(100 + pause))
        };
        assert_eq!(again(&stamped(101, "x\n"), 1), None);
        assert_eq!(again(&stamped(160, "x\n"), 60), None);
        // Written before the stream was opened, and read after that.
        assert_eq!(again(&stamped(98, "x\n"), 0), None);
        assert!(again(&stamped(160, "x\n"), 1).is_some(), "a file was skipped");
    }
}

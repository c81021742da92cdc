//! Tracks the position of a reader in a log, so that a log that is read again from its beginning
//! yields no byte twice and hides no gap. Pure.

/// How many of the last bytes are kept, to recognise them when the log is read again.
const TAIL: usize = 1024;

/// The position of a reader, both in the log as a whole and in the node's current file of it. The
/// two positions differ once the node has rotated the file.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// How many bytes of the log the reader has.
    have: u64,
    /// The position in the file that this corresponds to.
    at: u64,
    /// How many bytes of the file have been read in this pass.
    position: u64,
    tail: Vec<u8>,
    observed: Vec<u8>,
    /// Where the last gap was reported.
    gap: Option<u64>,
}

/// What to do with a piece of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The reader already has all of it.
    Nothing,
    /// The bytes of the piece from index `from` on are new; their position in the log is `offset`.
    Bytes {
        /// The position in the log.
        offset: u64,
        /// The index in the piece.
        from: usize,
    },
    /// The file is not the one that was read before: the node has rotated it.
    Rotated,
}

impl Cursor {
    /// Creates a cursor for a reader that has the first `have` bytes.
    pub(crate) const fn new(have: u64) -> Self {
        Self { have, at: have, position: 0, tail: Vec::new(), observed: Vec::new(), gap: None }
    }

    /// Returns how many bytes of the log the reader has.
    pub(crate) const fn have(&self) -> u64 {
        self.have
    }

    /// Returns how many bytes of the file the reader has.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// Returns the last bytes that were read.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Prepares for reading the file again from its beginning.
    pub(crate) fn rewind(&mut self) {
        self.position = 0;
        self.observed.clear();
    }

    /// Records that the reader has the file up to `at`.
    pub(crate) const fn relocate(&mut self, at: u64) {
        self.at = at;
    }

    /// Returns whether a gap is to be reported here: `false` if one was, and nothing was read since.
    pub(crate) fn reports_gap(&mut self) -> bool {
        self.gap.replace(self.have) != Some(self.have)
    }

    /// Returns whether the next bytes are new.
    pub(crate) const fn is_new(&self) -> bool {
        self.position >= self.at
    }

    /// Returns whether the file ended before the position that the reader had reached in it.
    pub(crate) const fn is_short(&self) -> bool {
        self.position < self.at
    }

    /// Returns whether the reader has the byte at index `from` of the next piece.
    pub(crate) const fn has(&self, from: usize) -> bool {
        self.position + (from as u64) < self.at
    }

    /// Processes the next `piece` of the file.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Taken {
        let end = self.position + piece.len() as u64;
        let known = usize::try_from(self.at.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let from = known.min(piece.len());
        if from > 0 {
            keep(&mut self.observed, &piece[..from]);
        }
        self.position = end;
        // All earlier bytes have been read again, so they must end with the bytes that were read
        // last. The file may begin in the middle of those.
        let common = self.tail.len().min(self.observed.len());
        let same = self.observed.ends_with(&self.tail[self.tail.len() - common..]);
        if from > 0 && end >= self.at && !same {
            return Taken::Rotated;
        }
        if from == piece.len() {
            return Taken::Nothing;
        }
        let offset = self.have;
        keep(&mut self.tail, &piece[from..]);
        self.have += (piece.len() - from) as u64;
        self.at = end;
        Taken::Bytes { offset, from }
    }
}

fn keep(tail: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
    let excess = (tail.len() + bytes.len()).saturating_sub(TAIL);
    tail.drain(..excess);
    tail.extend_from_slice(bytes);
}

/// Searches a file for the end of what was read before.
#[derive(Debug)]
pub(crate) struct Finder {
    wanted: Vec<u8>,
    /// The beginning of the file, shorter than what is wanted.
    head: Vec<u8>,
    window: Vec<u8>,
    read: u64,
    found: Option<u64>,
}

impl Finder {
    /// Creates a search for `tail`.
    pub(crate) fn new(tail: &[u8]) -> Self {
        let wanted = tail.to_vec();
        Self { wanted, head: Vec::new(), window: Vec::new(), read: 0, found: None }
    }

    /// Processes the next `piece` of the file.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        self.window.extend_from_slice(piece);
        self.read += piece.len() as u64;
        if self.wanted.is_empty() {
            self.window.clear();
            return;
        }
        let room = (self.wanted.len() - 1).saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..room.min(piece.len())]);
        let last = self.window.windows(self.wanted.len()).rposition(|part| part == self.wanted);
        if let Some(index) = last {
            let after = (self.window.len() - index - self.wanted.len()) as u64;
            self.found = Some(self.read - after);
        }
        let keep = self.wanted.len() - 1;
        self.window.drain(..self.window.len().saturating_sub(keep));
    }

    /// Returns the position in the file where the last occurrence of the tail ends, if there is
    /// one.
    pub(crate) const fn found(&self) -> Option<u64> {
        self.found
    }

    /// Returns the position in the file where the tail ends if it begins in the file before.
    pub(crate) fn found_end(&self) -> Option<u64> {
        let ends =
            (1..=self.head.len()).rev().find(|end| self.wanted.ends_with(&self.head[..*end]));
        ends.map(|end| end as u64)
    }

    /// Returns the length of the file.
    pub(crate) const fn length(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes that a reader gets from `log` in pieces of `size`.
    fn read(cursor: &mut Cursor, log: &[u8], size: usize) -> Option<Vec<u8>> {
        cursor.rewind();
        let mut got = Vec::new();
        for piece in log.chunks(size) {
            match cursor.take(piece) {
                Taken::Nothing => {}
                Taken::Bytes { offset, from } => {
                    assert_eq!(offset + (piece.len() - from) as u64, cursor.have());
                    got.extend_from_slice(&piece[from..]);
                }
                Taken::Rotated => return None,
            }
        }
        Some(got)
    }

    fn log(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn a_log_read_again_gives_only_what_is_new() {
        for size in [1, 7, 100, 5000] {
            let mut cursor = Cursor::new(0);
            let all = log(3000);
            assert_eq!(read(&mut cursor, &all[..1000], size).unwrap(), &all[..1000]);
            assert_eq!(read(&mut cursor, &all[..1000], size).unwrap(), b"");
            assert_eq!(read(&mut cursor, &all, size).unwrap(), &all[1000..]);
        }
    }

    #[test]
    fn another_process_goes_on_where_the_first_was() {
        let mut cursor = Cursor::new(500);
        assert_eq!(read(&mut cursor, &log(600), 64).unwrap(), &log(600)[500..]);
    }

    #[test]
    fn a_rotated_log_is_recognised() {
        let mut cursor = Cursor::new(0);
        let all = log(3000);
        read(&mut cursor, &all[..1000], 100);
        assert_eq!(read(&mut cursor, &all[900..], 100), None, "longer than what was read");
        let mut cursor = Cursor::new(0);
        read(&mut cursor, &all[..1000], 100);
        assert_eq!(read(&mut cursor, &all[900..1000], 100).unwrap(), b"");
        assert!(cursor.is_short());
    }

    #[test]
    fn a_rotated_log_is_gone_on_with_where_it_was() {
        for size in [1, 100, 5000] {
            let mut cursor = Cursor::new(0);
            let all: Vec<u8> = (0..9000_u32).flat_map(u32::to_be_bytes).collect();
            read(&mut cursor, &all[..20_000], 333);
            let file = &all[10_000..];
            assert_eq!(read(&mut cursor, file, size), None);
            let mut finder = Finder::new(cursor.tail());
            file.chunks(size).for_each(|piece| finder.take(piece));
            assert_eq!(finder.found(), Some(10_000));
            assert_eq!(finder.length(), file.len() as u64);
            cursor.relocate(10_000);
            assert_eq!(read(&mut cursor, file, size).unwrap(), &all[20_000..]);
            assert_eq!(cursor.have(), all.len() as u64);
        }
    }

    #[test]
    fn a_tail_that_begins_in_the_file_before_is_found_by_its_end() {
        for size in [1, 2, 100] {
            let mut finder = Finder::new(b"one\ntwo\nthree\n");
            b"three\nfour\n".chunks(size).for_each(|piece| finder.take(piece));
            assert_eq!((finder.found(), finder.found_end()), (None, Some(6)), "{size}");
        }
        let mut finder = Finder::new(b"one\ntwo\n");
        finder.take(b"three\nfour\n");
        assert_eq!((finder.found(), finder.found_end()), (None, None));
    }

    /// A file that was skipped, and the search for what follows it, reported two gaps.
    #[test]
    fn a_gap_is_reported_once_at_each_position() {
        let mut cursor = Cursor::new(0);
        assert!(cursor.reports_gap());
        assert!(!cursor.reports_gap());
        cursor.take(b"more");
        assert!(cursor.reports_gap());
        assert!(!cursor.reports_gap());
    }

    #[test]
    fn what_is_not_in_the_file_is_not_found() {
        let mut finder = Finder::new(b"abc");
        finder.take(b"ab");
        finder.take(b"bcab");
        assert_eq!(finder.found(), None);
        finder.take(b"c.");
        assert_eq!(finder.found(), Some(7));
        assert_eq!(Finder::new(b"").found(), None);
    }
}

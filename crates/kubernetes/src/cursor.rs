//! Where a reader of a log is, so that a log that is read again from its beginning gives no byte
//! twice and hides no gap. Pure.

/// How much of what was read last is kept, to recognise it when the log is read again.
const TAIL: usize = 1024;

/// Where a reader of a log is: in the log as a whole, and in the file that the node has of it now.
/// The two differ once the node has rotated the file.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// How many bytes of the log the reader has.
    have: u64,
    /// Up to where in the file that is.
    at: u64,
    /// How much of the file has been read in this pass.
    position: u64,
    tail: Vec<u8>,
    seen: Vec<u8>,
}

/// What to do with a piece of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The reader has all of it.
    Nothing,
    /// The piece's bytes from index `from` on are new, and stand at `offset` in the log.
    Bytes {
        /// Where in the log.
        offset: u64,
        /// Where in the piece.
        from: usize,
    },
    /// This is not the file that was read before: it has been rotated.
    Rotated,
}

impl Cursor {
    /// A reader that has the first `have` bytes.
    pub(crate) const fn new(have: u64) -> Self {
        Self { have, at: have, position: 0, tail: Vec::new(), seen: Vec::new() }
    }

    /// How many bytes of the log the reader has.
    pub(crate) const fn have(&self) -> u64 {
        self.have
    }

    /// How many bytes of the file the reader has.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// The last bytes that were read.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The file is read again from its beginning.
    pub(crate) fn rewind(&mut self) {
        self.position = 0;
        self.seen.clear();
    }

    /// The reader has the file up to `at`.
    pub(crate) const fn relocate(&mut self, at: u64) {
        self.at = at;
    }

    /// Whether what comes next is new.
    pub(crate) const fn is_new(&self) -> bool {
        self.position >= self.at
    }

    /// Whether the file ended before what the reader has of it.
    pub(crate) const fn is_short(&self) -> bool {
        self.position < self.at
    }

    /// Takes the next `piece` of the file.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Taken {
        let end = self.position + piece.len() as u64;
        let known = usize::try_from(self.at.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let from = known.min(piece.len());
        if from > 0 {
            keep(&mut self.seen, &piece[..from]);
        }
        self.position = end;
        // All that was there before has come again: its end must be what was read last. The file
        // may begin within that.
        let common = self.tail.len().min(self.seen.len());
        let same = self.seen.ends_with(&self.tail[self.tail.len() - common..]);
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

/// Looks in a file for the end of what was read before.
#[derive(Debug)]
pub(crate) struct Finder {
    wanted: Vec<u8>,
    window: Vec<u8>,
    read: u64,
    found: Option<u64>,
}

impl Finder {
    /// Looks for `tail`.
    pub(crate) fn new(tail: &[u8]) -> Self {
        Self { wanted: tail.to_vec(), window: Vec::new(), read: 0, found: None }
    }

    /// Takes the next `piece` of the file.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        self.window.extend_from_slice(piece);
        self.read += piece.len() as u64;
        if self.wanted.is_empty() {
            self.window.clear();
            return;
        }
        let last = self.window.windows(self.wanted.len()).rposition(|part| part == self.wanted);
        if let Some(index) = last {
            let after = (self.window.len() - index - self.wanted.len()) as u64;
            self.found = Some(self.read - after);
        }
        let keep = self.wanted.len() - 1;
        self.window.drain(..self.window.len().saturating_sub(keep));
    }

    /// Where in the file the tail ends, the last time that it comes; none if it does not.
    pub(crate) const fn found(&self) -> Option<u64> {
        self.found
    }

    /// How long the file is.
    pub(crate) const fn length(&self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader gets of `log` in pieces of `size`.
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

//! Where a reader of a log is, so that a log that is read again from its beginning gives no byte
//! twice and hides no gap. Pure.

/// How much of what was read last is kept, to recognise it when the log is read again.
const TAIL: usize = 256;

/// Where a reader of a log is.
#[derive(Debug)]
pub(crate) struct Cursor {
    have: u64,
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
    /// This is not the log that was read before: it has been rotated.
    Lost,
}

impl Cursor {
    /// A reader that has the first `have` bytes.
    pub(crate) const fn new(have: u64) -> Self {
        Self { have, position: 0, tail: Vec::new(), seen: Vec::new() }
    }

    /// How many bytes the reader has.
    pub(crate) const fn have(&self) -> u64 {
        self.have
    }

    /// The log is read anew: from its beginning, or only what is written from now on.
    pub(crate) fn rewind(&mut self, from_now: bool) {
        self.position = if from_now { self.have } else { 0 };
        self.seen.clear();
    }

    /// Whether the log ended before what the reader has.
    pub(crate) const fn is_short(&self) -> bool {
        self.position < self.have
    }

    /// Takes the next `piece` of the log.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Taken {
        let end = self.position + piece.len() as u64;
        let known = usize::try_from(self.have.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let from = known.min(piece.len());
        let repeated = self.position < self.have;
        if repeated {
            keep(&mut self.seen, &piece[..from]);
        }
        self.position = end;
        // The bytes before `have` are complete: they must be those that were read before.
        if repeated && end >= self.have && !self.tail.is_empty() && !self.seen.ends_with(&self.tail)
        {
            return Taken::Lost;
        }
        if from == piece.len() {
            return Taken::Nothing;
        }
        let offset = self.have;
        keep(&mut self.tail, &piece[from..]);
        self.have = end;
        Taken::Bytes { offset, from }
    }
}

fn keep(tail: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
    let excess = (tail.len() + bytes.len()).saturating_sub(TAIL);
    tail.drain(..excess);
    tail.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader gets of `log` in pieces of `size`.
    fn read(cursor: &mut Cursor, log: &[u8], size: usize) -> Option<Vec<u8>> {
        cursor.rewind(false);
        let mut got = Vec::new();
        for piece in log.chunks(size) {
            match cursor.take(piece) {
                Taken::Nothing => {}
                Taken::Bytes { offset, from } => {
                    assert_eq!(offset + (piece.len() - from) as u64, cursor.have());
                    got.extend_from_slice(&piece[from..]);
                }
                Taken::Lost => return None,
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
    fn from_now_on_everything_is_new() {
        let mut cursor = Cursor::new(1000);
        cursor.rewind(true);
        assert!(!cursor.is_short());
        assert_eq!(cursor.take(b"abc"), Taken::Bytes { offset: 1000, from: 0 });
    }
}

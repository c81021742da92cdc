//! Why a case failed.

use std::fmt::{self, Debug, Display};

/// Why a case or a fixture failed: what was expected and what was seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(String);

/// The result of a case or of one of its steps.
pub(crate) type Checked<T = ()> = Result<T, Failure>;

impl Failure {
    /// Returns a failure with `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// Puts the name of the failed step before the message.
    #[must_use]
    pub fn while_doing(self, what: impl Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `Failure` does not implement `std::error::Error`, so that `?` converts every error.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Fails with `message` unless `holds`.
pub(crate) fn check(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Failure(message())) }
}

/// Fails unless `seen` is what was `expected`.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, seen: &T, expected: &T) -> Checked {
    check(seen == expected, || format!("{what}: expected {expected:?}, seen {seen:?}"))
}

/// Fails unless both are the same bytes; the message shows where they differ.
pub(crate) fn same_bytes(what: &str, seen: &[u8], expected: &[u8]) -> Checked {
    if seen == expected {
        return Ok(());
    }
    let at = seen.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let near = |bytes: &[u8]| {
        let from = at.saturating_sub(16);
        bytes[from..bytes.len().min(at + 48)].escape_ascii().to_string()
    };
    Err(Failure(format!(
        "{what}: {} bytes seen, {} expected; they differ at byte {at}: seen `{}`, expected `{}`",
        seen.len(),
        expected.len(),
        near(seen),
        near(expected)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_differ_are_shown_where_they_part() {
        same_bytes("stdout", b"abc", b"abc").unwrap();
        let failure = same_bytes("stdout", b"abc\n", b"abc").unwrap_err().to_string();
        assert!(failure.contains("differ at byte 3"), "{failure}");
        assert!(failure.contains("seen `abc\\n`, expected `abc`"), "{failure}");
    }
}

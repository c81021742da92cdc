//! The keys that end a connection to a terminal, as docker takes them.

use std::fmt;
use std::str::FromStr;

/// A sequence of keys, which a terminal sends as one byte each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(key).collect::<Option<_>>().map(Self).ok_or_else(|| {
            "write it as letters or ctrl-LETTER, separated by commas, such as ctrl-p,ctrl-q; LETTER \
             is a to z, @, [, \\, ], ^ or _"
                .to_owned()
        })
    }
}

fn key(text: &str) -> Option<u8> {
    let single = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    };
    match text.strip_prefix("ctrl-") {
        // The same key sends the same byte with and without shift.
        Some(letter) => match single(letter)?.to_ascii_uppercase() {
            byte @ b'@'..=b'_' => Some(byte & 0x1f),
            _ => None,
        },
        None => single(text),
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match byte {
                0..=0x1f => {
                    let letter = char::from(byte | 0x40).to_ascii_lowercase();
                    write!(f, "{comma}ctrl-{letter}")?;
                }
                byte => write!(f, "{comma}{}", char::from(*byte))?,
            }
        }
        Ok(())
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub struct Watch {
    keys: Vec<u8>,
    /// How many of them were typed last, and are held back.
    seen: usize,
}

impl Watch {
    pub fn new(keys: &DetachKeys) -> Self {
        Self { keys: keys.0.clone(), seen: 0 }
    }

    /// Takes what was `typed`. Returns what the job gets of it, or `None` once the keys were typed:
    /// the job gets nothing of those.
    pub fn take(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.seen) == Some(byte) {
                self.seen = self.seen.saturating_add(1);
                if self.seen == self.keys.len() {
                    return None;
                }
                continue;
            }
            // As docker: what was held back is passed on, and this key may be the first one again.
            passed.extend(self.keys.iter().take(self.seen));
            self.seen = usize::from(self.keys.first() == Some(byte));
            if self.seen == 0 {
                passed.push(*byte);
            }
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_docker_writes_them() {
        for (text, bytes) in [
            ("ctrl-p,ctrl-q", &[16, 17][..]),
            ("ctrl-P", &[16]),
            ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", &[0, 27, 28, 29, 30, 31]),
            ("a,ctrl-a,A", &[97, 1, 65]),
        ] {
            assert_eq!(text.parse::<DetachKeys>().unwrap().0, bytes, "{text}");
        }
        assert_eq!(DetachKeys(vec![16, 17, 97]).to_string(), "ctrl-p,ctrl-q,a");
        for text in ["", "ctrl-", "ctrl-1", "ab", "ctrl-p,", "\u{e4}"] {
            assert!(text.parse::<DetachKeys>().unwrap_err().contains("ctrl-p,ctrl-q"), "{text}");
        }
    }

    #[test]
    fn what_is_typed_reaches_the_job_unless_it_is_the_keys() {
        let keys = "ctrl-p,ctrl-q".parse().unwrap();
        let take = |pieces: &[&[u8]]| {
            let mut watch = Watch::new(&keys);
            let taken = pieces.iter().map(|piece| watch.take(piece));
            taken.collect::<Option<Vec<_>>>().map(|taken| taken.concat())
        };
        assert_eq!(take(&[b"ab"]), Some(b"ab".to_vec()));
        assert_eq!(take(&[b"a\x10", b"b"]), Some(b"a\x10b".to_vec()));
        assert_eq!(take(&[b"\x10\x10x"]), Some(b"\x10\x10x".to_vec()));
        assert_eq!(take(&[b"\x11\x10"]), Some(b"\x11".to_vec()), "it is held back");
        for detached in [&[&b"\x10\x11"[..]][..], &[b"x\x10", b"\x11"], &[b"\x10\x10\x11"]] {
            assert_eq!(take(detached), None, "{detached:?}");
        }
    }
}

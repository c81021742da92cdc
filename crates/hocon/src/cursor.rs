//! A cursor over the characters of a file.

use crate::scalar::parse_number;
use crate::{Error, Location};

/// The characters that are not allowed in unquoted text.
const FORBIDDEN: &str = "$\"{}[]:=,+#`^?!@*&\\";

pub(crate) struct Cursor<'a> {
    rest: &'a str,
    line: usize,
    file: Location,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a str, file: Location) -> Self {
        Self { rest: text, line: 1, file }
    }

    pub(crate) fn here(&self) -> Location {
        self.file.line(self.line)
    }

    pub(crate) fn problem(&self, message: impl Into<String>) -> Error {
        Error::new(self.here(), format!("not valid HOCON: {}", message.into()))
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn looking_at(&self, text: &str) -> bool {
        self.rest.starts_with(text)
    }

    /// Returns whether the character after the next `skip` bytes, all ASCII, satisfies `test`.
    pub(crate) fn after(&self, skip: usize, test: impl Fn(char) -> bool) -> bool {
        self.rest.get(skip..).and_then(|r| r.chars().next()).is_some_and(test)
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(c)
    }

    /// Takes `text` if it is next. `text` must not contain a newline.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub(crate) fn take_while(&mut self, test: impl Fn(char) -> bool) -> &'a str {
        let whole = self.rest;
        while self.peek().is_some_and(&test) {
            self.next();
        }
        self.taken_since(whole)
    }

    /// Returns what was taken since `whole` was the rest.
    fn taken_since(&self, whole: &'a str) -> &'a str {
        whole.get(..whole.len().saturating_sub(self.rest.len())).unwrap_or_default()
    }

    /// Takes white space except newlines.
    pub(crate) fn spaces(&mut self) -> &'a str {
        self.take_while(|c| c != '\n' && is_space(c))
    }

    /// Takes white space and a comment, except newlines.
    pub(crate) fn spaces_and_comment(&mut self) {
        self.spaces();
        if self.looking_at("#") || self.looking_at("//") {
            self.take_while(|c| c != '\n');
        }
    }

    /// Takes white space, comments and newlines, and returns whether there was a newline.
    pub(crate) fn blank(&mut self) -> bool {
        let before = self.line;
        loop {
            self.spaces_and_comment();
            if !self.take_newline() {
                return self.line > before;
            }
        }
    }

    fn take_newline(&mut self) -> bool {
        self.peek() == Some('\n') && self.next().is_some()
    }

    /// Takes a run of unquoted text. Returns empty text if none starts here.
    pub(crate) fn unquoted(&mut self) -> Result<&'a str, Error> {
        let whole = self.rest;
        // Only a number may contain a `+`, as in 1e+5. Other unquoted text may not.
        if self.peek().is_some_and(|c| c.is_ascii_digit() || c == '-') {
            let run = self.take_while(|c| c.is_ascii_digit() || "+-.eE".contains(c));
            if run.contains('+') && parse_number(run).is_none() {
                return Err(self.reserved('+'));
            }
        }
        while let Some(c) = self.peek() {
            if FORBIDDEN.contains(c) || is_space(c) || self.looking_at("//") {
                break;
            }
            self.next();
        }
        Ok(self.taken_since(whole))
    }

    pub(crate) fn reserved(&self, c: char) -> Error {
        self.problem(format!("`{c}` is not allowed here outside quotes"))
    }

    /// Takes a quoted string, if one starts here.
    pub(crate) fn quoted(&mut self) -> Result<Option<String>, Error> {
        if self.take("\"\"\"") {
            return self.triple_quoted().map(Some);
        }
        if !self.take("\"") {
            return Ok(None);
        }
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(self.problem("a quoted string is not closed")),
                Some('\n') => {
                    let place = self.file.line(self.line.saturating_sub(1));
                    return Err(self
                        .problem("a quoted string is not closed on its line")
                        .at(place));
                }
                Some('"') => return Ok(Some(text)),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    /// Takes the rest of a triple-quoted string.
    ///
    /// It ends at the last of three or more quotes. Those before the last three belong to the text.
    fn triple_quoted(&mut self) -> Result<String, Error> {
        let start = self.here();
        let mut text = String::new();
        loop {
            if self.take("\"\"\"") {
                text.push_str(self.take_while(|c| c == '"'));
                return Ok(text);
            }
            match self.next() {
                Some(c) => text.push(c),
                None => return Err(self.problem("a triple-quoted string is not closed").at(start)),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let c = self.next();
        Ok(match c {
            Some('"' | '\\' | '/') => c.unwrap_or_default(),
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode_escape(),
            _ => return Err(self.problem("unknown escape in a quoted string")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, Error> {
        let first = self.code_unit()?;
        let second = if (0xd800..0xdc00).contains(&first) && self.take("\\u") {
            Some(self.code_unit()?)
        } else {
            None
        };
        let units = [Some(first), second];
        let decoded: Option<Vec<char>> =
            char::decode_utf16(units.into_iter().flatten()).map(Result::ok).collect();
        match decoded.as_deref() {
            Some([c]) => Ok(*c),
            _ => Err(self.problem("a \\u escape that is not a character")),
        }
    }

    fn code_unit(&mut self) -> Result<u16, Error> {
        let unit = self.rest.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        match unit.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            Some(unit) => {
                self.rest = self.rest.get(4..).unwrap_or_default();
                Ok(unit)
            }
            None => Err(self.problem("\\u needs four hexadecimal digits")),
        }
    }
}

/// Returns whether `c` is white space by HOCON.md, "Whitespace": Unicode's separators, including the
/// no-break ones, and ASCII's.
pub(crate) const fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}' | '\u{feff}')
}

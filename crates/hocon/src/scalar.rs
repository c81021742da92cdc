//! Simple values.

use serde_json::Number;

use crate::Value;

/// A value that is neither an object nor an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Quoted(String),
    /// Unquoted text. On its own it may be a number, a boolean or null.
    Unquoted(String),
}

impl Scalar {
    /// Returns the text for a string concatenation, with numbers as they were written.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Quoted(text) | Self::Unquoted(text) => text,
        }
    }

    pub(crate) fn into_value(self) -> Value {
        let text = match self {
            Self::Quoted(text) => return Value::String(text),
            Self::Unquoted(text) => text,
        };
        match text.as_str() {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match parse_number(&text) {
                Some(number) => Value::Number(number, text),
                None => Value::String(text),
            },
        }
    }
}

/// Parses `text` as a number by JSON's rules, as the reader does: `0755` and `1.` are not numbers.
#[must_use]
pub fn parse_number(text: &str) -> Option<Number> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if starts { serde_json::from_str(text).ok() } else { None }
}

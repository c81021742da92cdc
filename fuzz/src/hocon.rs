//! HOCON.

use longshore_hocon::{Error, parse};
use serde_json::Value;

/// The maximum depth at which the result is read again: the reader limits the nesting of braces.
const DEEPEST: usize = 60;

/// The maximum amount of text in the result.
const MOST_TEXT: usize = 64 << 20;

/// HOCON is read to a bounded result, errors name a line of the text, and the result as JSON is read
/// as JSON.
pub fn hocon(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let result = match read(text) {
        Ok(result) => result,
        Err(error) => {
            let line = error.location.line.unwrap_or(1);
            assert!(line >= 1 && line <= text.matches('\n').count() + 1, "{error}");
            return;
        }
    };
    assert!(amount(&result) <= MOST_TEXT);
    if depth(&result) <= DEEPEST {
        let json = result.to_string();
        assert_eq!(read(&json).ok(), serde_json::from_str(&json).ok(), "{json}");
    }
}

fn read(text: &str) -> Result<Value, Error> {
    // Some variables are set, to their own name.
    let environment = |name: &str| name.len().is_multiple_of(2).then(|| name.to_owned());
    Ok(parse(text, "a.conf")?.resolve(&environment)?.into_json())
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

fn amount(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(amount).sum(),
        Value::Object(fields) => fields.values().map(amount).sum(),
        _ => 0,
    }
}

//! Compares a tree with the schema: unknown keys and wrong types.

use crate::keys::elsewhere;
use crate::nearest::nearest;
use crate::node::{Node, Path, Value, dotted};
use crate::schema::{Part, expected};
use crate::{ConfigError, Problem};

/// Checks `node`, and returns its problems.
///
/// Removes each invalid value from `node`, so that the rest can still be read.
pub(crate) fn check(node: &mut Node, part: Part) -> Vec<Problem> {
    let mut checker = Checker { root: part, path: Vec::new(), problems: Vec::new() };
    checker.node(node, part);
    checker.problems
}

struct Checker {
    root: Part,
    path: Path,
    problems: Vec<Problem>,
}

impl Checker {
    /// Checks `node`, and returns whether it may stay.
    fn node(&mut self, node: &mut Node, part: Part) -> bool {
        if !part.allows(node.value.kind()) {
            self.report(node, |_| wrong_type(&node.value, part));
            return false;
        }
        match &mut node.value {
            Value::List(items) => {
                let Some(part) = part.items() else { return true };
                let mut good = true;
                for (i, item) in items.iter_mut().enumerate() {
                    self.path.push(i.to_string());
                    good &= self.node(item, part);
                    self.path.pop();
                }
                good
            }
            Value::Table(fields) => {
                fields.retain(|key, child| {
                    self.path.push(key.clone());
                    let good = match part.child(key) {
                        Some(part) => self.node(child, part),
                        None => {
                            self.report(child, |checker| checker.unknown(key, part));
                            false
                        }
                    };
                    self.path.pop();
                    good
                });
                true
            }
            _ => true,
        }
    }

    fn report(&mut self, node: &Node, message: impl FnOnce(&Self) -> String) {
        // Problems beyond the limit are not shown. A file can have very many.
        if self.problems.len() >= ConfigError::LIMIT {
            return;
        }
        let message = message(self);
        let key = dotted(&self.path);
        self.problems.push(Problem::new(message).at(node.origin.clone()).key(key));
    }

    fn unknown(&self, key: &str, part: Part) -> String {
        let above = self.path.split_last().map_or(&[][..], |(_, above)| above);
        let full = |key: &str| {
            let mut path = above.to_vec();
            path.push(key.to_owned());
            dotted(&path)
        };
        if let Some(near) = nearest(key, part.properties().map(|(key, _)| key)) {
            return format!("unknown key; did you mean {}?", full(near));
        }
        match elsewhere(key, self.root) {
            Some(other) => format!("unknown key; did you mean {other}?"),
            None if !part.is_table() => "unknown key".to_owned(),
            None => {
                let known: Vec<&str> = part.properties().map(|(key, _)| key).take(12).collect();
                format!("unknown key; known here: {}", known.join(", "))
            }
        }
    }
}

/// Returns the message for a value of the wrong type, without the value if it may be secret.
fn wrong_type(value: &Value, part: Part) -> String {
    let found = match value {
        Value::Bool(_) | Value::Number(..) | Value::Text(_) if part.is_silent() => {
            "a value (not shown: it may be secret)".to_owned()
        }
        _ => value.describe(),
    };
    format!("found {found}, expected {}", expected(part))
}

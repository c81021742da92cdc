//! Finds the key behind an error that names only a table.
//!
//! serde loses the key of a value inside a flattened part. This module recovers it: the key to blame
//! is the one whose removal changes the error or makes it disappear.

use figment::Error;
use figment::error::Kind;

use crate::node::{Node, Path, Value};

/// Returns the path that `error` is about: the error's own path, or one below it.
///
/// `read` reads layers and returns the error, if any.
pub(crate) fn blame(
    error: &Error,
    layers: &[Node],
    read: impl Fn(&[Node]) -> Option<Box<Error>>,
) -> Path {
    let mut search = Search { error, said: error.to_string(), layers: layers.to_vec(), read };
    let mut path = error.path.clone();
    while let Some(step) = search.step(&path) {
        path.push(step);
    }
    path
}

struct Search<'a, R> {
    error: &'a Error,
    said: String,
    /// The layers, with each list cut off after the element to blame.
    layers: Vec<Node>,
    read: R,
}

impl<R: Fn(&[Node]) -> Option<Box<Error>>> Search<'_, R> {
    /// Returns the key or index to blame in the value at `path`.
    fn step(&mut self, path: &[String]) -> Option<String> {
        let uppermost =
            self.layers.iter().rev().map(|layer| layer.nearest(path)).find(|(_, exact)| *exact);
        let length = match uppermost {
            Some((Node { value: Value::List(items), .. }, _)) => Some(items.len()),
            _ => None,
        };
        match length {
            Some(length) => self.element(path, length),
            None => self.key(path),
        }
    }

    fn key(&self, path: &[String]) -> Option<String> {
        let keys = keys_at(&self.layers, path);
        let found = keys.iter().map(|key| (key, self.without(path, key)));
        let found: Vec<_> = found.filter(|(_, left)| *left != Left::TheSame).collect();
        match found.iter().find(|(_, left)| *left == Left::Another) {
            Some((key, _)) => Some((*key).clone()),
            // Removing a required key always changes the error to that of a missing key. Such a key
            // is to blame only if no other key makes a difference.
            None => match &found[..] {
                [(key, _)] if !self.is_about_a_missing_key() => Some((*key).clone()),
                _ => None,
            },
        }
    }

    fn is_about_a_missing_key(&self) -> bool {
        matches!(self.error.kind, Kind::MissingField(_))
    }

    fn without(&self, path: &[String], key: &str) -> Left {
        let mut layers = self.layers.clone();
        for layer in layers.iter_mut() {
            layer.remove_key(path, key);
        }
        match (self.read)(&layers) {
            Some(other) if other.to_string() == self.said => Left::TheSame,
            Some(other) if is_missing(&other, key) => Left::OnlyThatItIsMissing,
            _ => Left::Another,
        }
    }

    /// Returns the first element with which the list has the error. A list is read from its start.
    fn element(&mut self, path: &[String], length: usize) -> Option<String> {
        for length in 1..=length {
            let mut layers = self.layers.clone();
            layers.iter_mut().for_each(|layer| layer.truncate(path, length));
            if (self.read)(&layers).is_some_and(|error| error.to_string() == self.said) {
                self.layers = layers;
                return Some(length.saturating_sub(1).to_string());
            }
        }
        None
    }
}

/// The error that is left after a key is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    TheSame,
    /// The error exists only because the key was removed.
    OnlyThatItIsMissing,
    Another,
}

/// Returns the keys that are set in the table at `path`.
fn keys_at(layers: &[Node], path: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = layers
        .iter()
        .filter_map(|layer| match layer.nearest(path) {
            (Node { value: Value::Table(fields), .. }, true) => Some(fields.keys().cloned()),
            _ => None,
        })
        .flatten()
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

fn is_missing(error: &Error, key: &str) -> bool {
    matches!(&error.kind, Kind::MissingField(field) if field == key)
}

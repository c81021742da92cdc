//! Finds the key behind an error that names only a table.
//!
//! serde loses the key of a value inside a flattened part. It can be had back: the key to blame is
//! the one without which the error is another one, or none.

use figment::Error;
use figment::error::Kind;

use crate::Origin;
use crate::node::{Node, Path, Value};

/// The path of what `error` is about: the error's own, or one below it. `read` reads layers.
pub(crate) fn blame(
    error: &Error,
    layers: &[Node],
    read: impl Fn(&[Node]) -> Option<Box<Error>>,
) -> Path {
    let mut path = error.path.clone();
    if matches!(error.kind, Kind::MissingField(_)) {
        return path;
    }
    while let Some(key) = keys_at(layers, &path).into_iter().find(|key| {
        let without = without(layers, &path, key);
        match read(&without) {
            None => true,
            Some(other) => !is_missing(&other, key) && other.to_string() != error.to_string(),
        }
    }) {
        path.push(key);
    }
    path
}

/// The keys that are set, not built in, in the table at `path`.
fn keys_at(layers: &[Node], path: &[String]) -> Vec<String> {
    let mut keys: Vec<String> = set(layers)
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

fn set(layers: &[Node]) -> impl Iterator<Item = &Node> {
    layers.iter().filter(|layer| layer.origin != Origin::Default)
}

fn without(layers: &[Node], path: &[String], key: &str) -> Vec<Node> {
    let mut path = path.to_vec();
    path.push(key.to_owned());
    let mut layers = layers.to_vec();
    for layer in layers.iter_mut().filter(|layer| layer.origin != Origin::Default) {
        layer.remove(&path);
    }
    layers
}

/// Whether `error` is there only because `key` was taken out.
fn is_missing(error: &Error, key: &str) -> bool {
    matches!(&error.kind, Kind::MissingField(field) if field == key)
}

//! The syntax tree of a file, before anything is resolved.

use std::collections::BTreeMap;

use crate::scalar::Scalar;
use crate::{Error, Location};

/// The fields of one pair of braces, with all values of each key in order.
#[derive(Debug, Default)]
pub(crate) struct Object {
    pub(crate) fields: BTreeMap<String, Vec<Entry>>,
    /// An include that cannot be followed. It is an error only if this object is evaluated.
    pub(crate) refused: Option<Error>,
}

/// One value of a field, or an element of an array.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The place of the field's key or of the element.
    pub(crate) at: Location,
    /// The entry's id, unique among all files read together.
    pub(crate) id: usize,
    pub(crate) pieces: Vec<Piece>,
}

/// A part of a value concatenation.
#[derive(Debug)]
pub(crate) enum Piece {
    /// White space between two other pieces. It matters only between simple values.
    Space(String),
    Scalar(Scalar),
    Substitution(Substitution),
    /// The previous value of the field, to which `+=` appends.
    Before,
    Array(Vec<Entry>),
    Object(Object),
}

/// `${path}` or `${?path}`.
#[derive(Debug)]
pub(crate) struct Substitution {
    pub(crate) at: Location,
    pub(crate) path: Vec<String>,
    /// The path at which the containing file is included. `path` is looked up below it first.
    pub(crate) prefix: Vec<String>,
    pub(crate) optional: bool,
}

impl Entry {
    /// Returns whether the value may refer to the field itself.
    ///
    /// An object or array with a substitution deeper down does not count (HOCON.md,
    /// "Self-Referential Substitutions").
    pub(crate) fn refers(&self) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Substitution(_) | Piece::Before))
    }
}

impl Object {
    /// Adds `entry` under `path`, with an object for each element except the last.
    pub(crate) fn insert(&mut self, path: &[String], entry: Entry, ids: &mut dyn FnMut() -> usize) {
        let Some((first, rest)) = path.split_first() else { return };
        let entry = if rest.is_empty() {
            entry
        } else {
            let at = entry.at.clone();
            let mut inner = Self::default();
            inner.insert(rest, entry, ids);
            Entry { at, id: ids(), pieces: vec![Piece::Object(inner)] }
        };
        self.fields.entry(first.clone()).or_default().push(entry);
    }

    /// Adds all fields of an included file.
    pub(crate) fn include(&mut self, other: Self) {
        for (key, mut entries) in other.fields {
            self.fields.entry(key).or_default().append(&mut entries);
        }
        self.refused = self.refused.take().or(other.refused);
    }
}

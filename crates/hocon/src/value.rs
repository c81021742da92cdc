//! Resolved values.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value as Json};

use crate::Location;

/// A resolved value with its place.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The place of the value's key, or of the element in an array. For a value that comes from a
    /// substitution, this is the key that the substitution is the value of. For the root, it is the
    /// file.
    pub location: Location,
}

/// A resolved value. No type has been converted: quoted text and text from the environment are
/// strings.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unquoted `null`.
    Null,
    /// An unquoted `true` or `false`.
    Bool(bool),
    /// A number and its spelling in the file, such as `1.10`.
    Number(Number, String),
    /// Quoted, unquoted or joined text.
    String(String),
    /// The elements, in order.
    Array(Vec<Node>),
    /// The fields by key. A key may contain any character.
    Object(BTreeMap<String, Node>),
}

impl Node {
    pub(crate) const fn new(value: Value, location: Location) -> Self {
        Self { value, location }
    }

    /// Returns the value below this one at `path`, one key for each object on the way.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| match &node.value {
            Value::Object(fields) => fields.get(*key),
            _ => None,
        })
    }

    /// Returns the value as JSON, without the places and without the spelling of numbers.
    #[must_use]
    pub fn into_json(self) -> Json {
        match self.value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(flag),
            Value::Number(number, _) => Json::Number(number),
            Value::String(text) => Json::String(text),
            Value::Array(items) => Json::Array(items.into_iter().map(Self::into_json).collect()),
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(key, node)| (key, node.into_json()));
                Json::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

//! The tree to which every format, the environment and the flags are converted.

use std::collections::BTreeMap;

use figment::value::{Empty, Num, Tag, Value as FigmentValue};
use serde_json::Number;

use crate::Origin;

/// A value and its origin: the place of its key, or of the element in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number and its spelling in the source, which a conversion to text keeps: `1.10`.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

/// Keys and, in lists, indices, starting at the root.
pub(crate) type Path = Vec<String>;

impl Node {
    pub(crate) const fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin }
    }

    pub(crate) fn empty_table(origin: Origin) -> Self {
        Self::new(Value::Table(BTreeMap::new()), origin)
    }

    /// Creates the tree of `json`, all of it with one origin.
    pub(crate) fn from_json(json: serde_json::Value, origin: &Origin) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(flag),
            Json::Number(number) => Value::number(number),
            Json::String(text) => Value::Text(text),
            Json::Array(items) => {
                Value::List(items.into_iter().map(|i| Self::from_json(i, origin)).collect())
            }
            Json::Object(fields) => Value::Table(
                fields.into_iter().map(|(k, v)| (k, Self::from_json(v, origin))).collect(),
            ),
        };
        Self::new(value, origin.clone())
    }

    /// Returns the node at `path`, or the nearest one above it, whose place is then the best known.
    ///
    /// The flag is true if the node is at `path` itself.
    pub(crate) fn nearest(&self, path: &[String]) -> (&Self, bool) {
        let mut node = self;
        for step in path {
            match node.child(step) {
                Some(child) => node = child,
                None => return (node, false),
            }
        }
        (node, true)
    }

    pub(crate) fn child(&self, step: &str) -> Option<&Self> {
        match &self.value {
            Value::Table(fields) => fields.get(step),
            Value::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        }
    }

    /// Puts `node` at `path`, and creates the tables on the way.
    pub(crate) fn insert(&mut self, path: &[String], node: Self) {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Self::empty_table(node.origin.clone());
        }
        if let Value::Table(fields) = &mut self.value {
            fields
                .entry(first.clone())
                .or_insert_with(|| Self::empty_table(node.origin.clone()))
                .insert(rest, node);
        }
    }

    /// Removes the node at `path`, and returns whether there was one. A list is removed as a whole.
    pub(crate) fn remove(&mut self, path: &[String]) -> bool {
        let Value::Table(fields) = &mut self.value else { return false };
        let Some((first, rest)) = path.split_first() else { return false };
        match fields.get_mut(first) {
            Some(child) if !rest.is_empty() && matches!(child.value, Value::Table(_)) => {
                child.remove(rest)
            }
            Some(_) => fields.remove(first).is_some(),
            None => false,
        }
    }

    fn at_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, step| match &mut node.value {
            Value::Table(fields) => fields.get_mut(step),
            Value::List(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Removes `key` from the table at `path`, which may be an element of a list.
    pub(crate) fn remove_key(&mut self, path: &[String], key: &str) {
        if let Some(Self { value: Value::Table(fields), .. }) = self.at_mut(path) {
            fields.remove(key);
        }
    }

    /// Keeps only the first `length` elements of the list at `path`.
    pub(crate) fn truncate(&mut self, path: &[String], length: usize) {
        if let Some(Self { value: Value::List(items), .. }) = self.at_mut(path) {
            items.truncate(length);
        }
    }

    pub(crate) fn to_figment(&self) -> FigmentValue {
        let tag = Tag::Default;
        match &self.value {
            Value::Null => FigmentValue::Empty(tag, Empty::None),
            Value::Bool(flag) => FigmentValue::Bool(tag, *flag),
            Value::Number(number, _) => FigmentValue::Num(tag, to_num(number)),
            Value::Text(text) => FigmentValue::String(tag, text.clone()),
            Value::List(items) => {
                FigmentValue::Array(tag, items.iter().map(Self::to_figment).collect())
            }
            Value::Table(fields) => FigmentValue::Dict(
                tag,
                fields.iter().map(|(k, v)| (k.clone(), v.to_figment())).collect(),
            ),
        }
    }
}

fn to_num(number: &Number) -> Num {
    if let Some(n) = number.as_u64() {
        Num::U64(n)
    } else if let Some(n) = number.as_i64() {
        Num::I64(n)
    } else {
        // Without serde_json's arbitrary precision, each number is one of the three.
        Num::F64(number.as_f64().unwrap_or_default())
    }
}

impl Value {
    pub(crate) fn number(number: impl Into<Number>) -> Self {
        let number = number.into();
        let text = number.to_string();
        Self::Number(number, text)
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(number, _) if number.is_f64() => Kind::Number,
            Self::Number(..) => Kind::Integer,
            Self::Text(_) => Kind::Text,
            Self::List(_) => Kind::List,
            Self::Table(_) => Kind::Table,
        }
    }

    /// Returns the text for the value in an error. Scalars are shown with their value.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing (null)".to_owned(),
            Self::Bool(flag) => format!("`{flag}`"),
            Self::Number(_, text) => format!("the number {text}"),
            Self::Text(text) => format!("the text `{}`", shorten(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

/// Shortens `text` to at most 60 characters on one line, for messages.
pub(crate) fn shorten(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= 60 {
        return line;
    }
    let head: String = line.chars().take(59).collect();
    format!("{head}…")
}

/// The kind of a value, as JSON schema distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Null,
    Bool,
    Integer,
    Number,
    Text,
    List,
    Table,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Null, Self::Bool, Self::Integer, Self::Number, Self::Text, Self::List, Self::Table];
}

/// Returns a path as people write it: `job.runners[1]`, `job.labels."a.b"`.
pub(crate) fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if !step.is_empty() && step.chars().all(|c| c.is_ascii_digit()) && !text.is_empty() {
            text.push_str(&format!("[{step}]"));
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        if !step.is_empty() && step.chars().all(plain) {
            text.push_str(step);
        } else {
            text.push_str(&format!("{step:?}"));
        }
    }
    text
}

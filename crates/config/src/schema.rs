//! Reads the keys of a type from its JSON schema.
//!
//! Supports what schemars generates for serde's types: `$ref`, `properties`,
//! `additionalProperties`, `items`, `anyOf`, `oneOf`, `allOf`, `type`, `enum`, `const`, `examples`, and
//! `writeOnly` for secrets. `x-no-echo` marks what errors must not repeat, with all below it,
//! because people write secrets there by mistake. `x-path` marks paths of this machine.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value as Json};

use crate::node::Kind;

/// The keywords that are read to load a configuration.
const KEYWORDS: [&str; 16] = [
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "examples",
    "items",
    "oneOf",
    "properties",
    "type",
    "writeOnly",
    "x-no-echo",
    "x-path",
    "x-secret",
];

/// A part of a schema, with the whole schema for references.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    root: &'a Json,
    here: &'a Json,
    /// Whether a part above is marked with `x-no-echo`.
    below_no_echo: bool,
}

/// Returns the schema of `T`.
pub(crate) fn schema_of<T: JsonSchema>() -> Json {
    Schema::to_value(schemars::schema_for!(T))
}

/// Returns `schema` without what only people read.
pub(crate) fn keys_only(schema: Json) -> Json {
    let inner = |(keyword, value): (String, Json)| {
        let value = match (keyword.as_str(), value) {
            ("properties" | "$defs", Json::Object(schemas)) => {
                schemas.into_iter().map(|(name, schema)| (name, keys_only(schema))).collect()
            }
            (_, value) => keys_only(value),
        };
        (keyword, value)
    };
    match schema {
        Json::Object(keywords) => {
            let read = keywords.into_iter().filter(|(keyword, _)| KEYWORDS.contains(&&**keyword));
            read.map(inner).collect()
        }
        Json::Array(schemas) => schemas.into_iter().map(keys_only).collect(),
        other => other,
    }
}

impl<'a> Part<'a> {
    pub(crate) const fn new(root: &'a Json) -> Self {
        Self { root, here: root, below_no_echo: false }
    }

    fn at(self, here: &'a Json) -> Self {
        Self { root: self.root, here, below_no_echo: self.below_no_echo || self.has("x-no-echo") }
    }

    fn has(self, mark: &str) -> bool {
        self.keyword(mark) == Some(&Json::Bool(true))
    }

    fn keyword(self, name: &str) -> Option<&'a Json> {
        self.here.get(name)
    }

    /// Returns this part and all parts that it consists of, through references, `anyOf` and similar
    /// keywords.
    ///
    /// A part of `allOf` counts as an alternative too, because it also has keys and types. The type
    /// itself checks the rest.
    pub(crate) fn alternatives(self) -> Vec<Self> {
        let mut found = Vec::new();
        self.collect(&mut found, 0);
        found
    }

    fn collect(self, found: &mut Vec<Self>, depth: usize) {
        // A schema can refer to itself endlessly.
        if depth > 16 {
            return;
        }
        let Some(keywords) = self.here.as_object() else { return found.push(self) };
        // One pass: these keywords are looked up for each part of a schema, time and again.
        let (mut target, mut lists, mut is_own) = (None, [None; 3], false);
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" => target = value.as_str().and_then(|reference| self.target(reference)),
                "anyOf" => lists[0] = value.as_array(),
                "oneOf" => lists[1] = value.as_array(),
                "allOf" => lists[2] = value.as_array(),
                "type" | "properties" | "enum" | "const" | "additionalProperties" => is_own = true,
                _ => {}
            }
        }
        let inner = target.into_iter().chain(lists.into_iter().flatten().flatten());
        let mut inner = inner.map(|part| self.at(part)).peekable();
        if is_own || inner.peek().is_none() {
            found.push(self);
        }
        for part in inner {
            part.collect(found, depth.saturating_add(1));
        }
    }

    /// Returns the part of the schema that `reference` names.
    fn target(self, reference: &str) -> Option<&'a Json> {
        let pointer = reference.trim_start_matches('#');
        match pointer.strip_prefix("/$defs/") {
            // By far the most frequent one, which needs no parsing.
            Some(name) if !name.contains(['/', '~']) => self.root.get("$defs")?.get(name),
            _ => self.root.pointer(pointer),
        }
    }

    /// Returns the kinds of value that are allowed, or `None` if any is.
    pub(crate) fn kinds(self) -> Option<BTreeSet<Kind>> {
        let mut kinds = BTreeSet::new();
        for part in self.alternatives() {
            kinds.extend(part.own_kinds()?);
        }
        Some(kinds)
    }

    fn own_kinds(self) -> Option<BTreeSet<Kind>> {
        let named: Vec<&str> = match self.keyword("type") {
            Some(Json::String(name)) => vec![name],
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
            _ => {
                let values = self.own_values();
                if !values.is_empty() {
                    return Some(values.into_iter().map(kind_of).collect());
                }
                let table = ["properties", "additionalProperties"];
                if !table.iter().any(|k| self.keyword(k).is_some()) {
                    return None;
                }
                vec!["object"]
            }
        };
        Some(named.into_iter().flat_map(kinds_named).copied().collect())
    }

    fn own_values(self) -> Vec<&'a Json> {
        let listed = self.keyword("enum").and_then(Json::as_array).into_iter().flatten();
        listed.chain(self.keyword("const")).collect()
    }

    /// Returns the allowed texts, if only certain texts are allowed.
    pub(crate) fn texts(self) -> Vec<&'a str> {
        let values = self.alternatives().into_iter().flat_map(Self::own_values);
        let mut texts: Vec<&str> = Vec::new();
        for text in values.filter_map(Json::as_str) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts
    }

    /// Returns the named keys of a table.
    pub(crate) fn properties(self) -> BTreeMap<&'a str, Self> {
        let mut properties = BTreeMap::new();
        for part in self.alternatives() {
            let own = part.keyword("properties").and_then(Json::as_object);
            for (key, schema) in own.into_iter().flat_map(Map::iter) {
                properties.entry(key.as_str()).or_insert_with(|| part.at(schema));
            }
        }
        properties
    }

    /// Returns the schema of the values in a map, or `None` if there are only named keys.
    pub(crate) fn others(self) -> Option<Self> {
        self.alternatives().into_iter().find_map(|part| {
            match part.keyword("additionalProperties") {
                Some(Json::Bool(false)) => None,
                Some(schema) => Some(part.at(schema)),
                // An object without further description may contain anything.
                None if part.keyword("properties").is_none() && part.is_bare_object() => {
                    Some(part.at(&Json::Bool(true)))
                }
                None => None,
            }
        })
    }

    fn is_bare_object(self) -> bool {
        self.own_kinds().is_none_or(|kinds| kinds.contains(&Kind::Table))
    }

    /// Returns the schema of the value at `key` or index `key`.
    pub(crate) fn child(self, key: &str) -> Option<Self> {
        self.properties().get(key).copied().or_else(|| self.others()).or_else(|| {
            let is_index = !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
            is_index.then(|| self.items()).flatten()
        })
    }

    /// Returns the schema of a list's elements.
    pub(crate) fn items(self) -> Option<Self> {
        let items = |part: Self| part.keyword("items").map(|items| part.at(items));
        self.alternatives().into_iter().find_map(items)
    }

    pub(crate) fn is_table(self) -> bool {
        !self.properties().is_empty()
    }

    /// Returns whether the value must never be shown.
    pub(crate) fn is_secret(self) -> bool {
        let marked = |part: Self| part.has("writeOnly") || part.has("x-secret");
        marked(self) || self.alternatives().into_iter().any(marked)
    }

    /// Returns whether the value is a path of this machine.
    pub(crate) fn is_path(self) -> bool {
        let marked = |part: Self| part.has("x-path");
        marked(self) || self.alternatives().into_iter().any(marked)
    }

    /// Returns whether errors must not repeat the value: it is marked, or is a list or a map of what
    /// is marked.
    pub(crate) fn is_silent(self) -> bool {
        let marked = |part: Self| part.below_no_echo || part.has("x-no-echo");
        let any_marked = |part: Self| marked(part) || part.alternatives().into_iter().any(marked);
        self.is_secret()
            || any_marked(self)
            || [self.items(), self.others()].into_iter().flatten().any(any_marked)
    }

    /// Returns a text that is allowed, if the schema has an example.
    fn example(self) -> Option<&'a str> {
        let first = |part: Self| part.keyword("examples")?.as_array()?.first()?.as_str();
        self.alternatives().into_iter().find_map(first)
    }

    pub(crate) fn description(self) -> Option<&'a str> {
        let text = |part: Self| part.keyword("description").and_then(Json::as_str);
        // A constant's description is only about that value.
        let inner = self.alternatives().into_iter().filter(|p| p.keyword("const").is_none());
        text(self).or_else(|| inner.into_iter().find_map(text))
    }
}

const fn kinds_named(name: &str) -> &'static [Kind] {
    match name.as_bytes() {
        b"null" => &[Kind::Null],
        b"boolean" => &[Kind::Bool],
        b"integer" => &[Kind::Integer],
        b"number" => &[Kind::Integer, Kind::Number],
        b"string" => &[Kind::Text],
        b"array" => &[Kind::List],
        _ => &[Kind::Table],
    }
}

const fn kind_of(value: &Json) -> Kind {
    match value {
        Json::Null => Kind::Null,
        Json::Bool(_) => Kind::Bool,
        Json::Number(_) => Kind::Integer,
        Json::String(_) => Kind::Text,
        Json::Array(_) => Kind::List,
        Json::Object(_) => Kind::Table,
    }
}

/// Describes what is expected: `true or false`, `a list`, `one of Always, Never`.
pub(crate) fn expected(part: Part<'_>) -> String {
    let kinds = part.kinds().unwrap_or_default();
    let texts = part.texts();
    let word = |kind: &Kind| match kind {
        Kind::Null => None,
        Kind::Bool => Some("true or false".to_owned()),
        Kind::Integer if kinds.contains(&Kind::Number) => None,
        Kind::Integer => Some("a whole number".to_owned()),
        Kind::Number => Some("a number".to_owned()),
        Kind::Text if texts.is_empty() => Some(match part.example() {
            Some(example) => format!("text such as {example}"),
            None => "text".to_owned(),
        }),
        Kind::Text => Some(format!("one of {}", texts.join(", "))),
        Kind::List => Some("a list".to_owned()),
        Kind::Table => Some("a table".to_owned()),
    };
    let words: Vec<String> = kinds.iter().filter_map(word).collect();
    words.join(" or ")
}

//! Reads the JSON schema of a type.
//!
//! Supports what schemars generates for serde's types: `$ref`, `properties`,
//! `additionalProperties`, `items`, `anyOf`, `oneOf`, `allOf`, `type`, `enum`, `const`, `examples`, and
//! `writeOnly` for secrets. `x-no-echo` marks what errors must not repeat, with all below it,
//! because people write secrets there by mistake. `x-path` marks paths of this machine.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};

use schemars::JsonSchema;
use serde_json::{Map, Value as Json};

use crate::node::Kind;
use crate::schema::{Schema, SchemaEntry, ValueKinds};

/// Returns the JSON schema of `T`.
pub(crate) fn json_schema_of<T: JsonSchema>() -> Json {
    schemars::Schema::to_value(schemars::schema_for!(T))
}

/// Returns the schema of `T`. It is made once, and kept to the end of the process.
pub(crate) fn schema_of<T: JsonSchema + 'static>() -> &'static Schema {
    static KNOWN: OnceLock<Mutex<HashMap<TypeId, &'static Schema>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.entry(TypeId::of::<T>()).or_insert_with(|| {
        let entries = entries(&json_schema_of::<T>());
        Box::leak(Box::new(Schema(entries.leak())))
    })
}

/// Returns the entries of the JSON schema `root`. The first one is of `root` itself.
fn entries(root: &Json) -> Vec<SchemaEntry> {
    let mut reader = Reader { entries: Vec::new(), places: HashMap::new() };
    reader.place(Part { root, here: root });
    reader.entries
}

/// The entries read so far.
struct Reader {
    entries: Vec<SchemaEntry>,
    /// The place of the entry of each part, by the part's address. A schema can contain itself.
    places: HashMap<*const Json, u16>,
}

impl Reader {
    /// Returns the place of the entry of `part`, and reads it if this is the first time.
    fn place(&mut self, part: Part<'_>) -> u16 {
        let part = part.resolved();
        let address = std::ptr::from_ref(part.here);
        if let Some(place) = self.places.get(&address) {
            return *place;
        }
        let place = u16::try_from(self.entries.len()).unwrap_or(u16::MAX);
        self.places.insert(address, place);
        self.entries.push(SchemaEntry::ANY);
        let entry = self.read(part);
        if let Some(reserved) = self.entries.get_mut(usize::from(place)) {
            *reserved = entry;
        }
        place
    }

    fn read(&mut self, part: Part<'_>) -> SchemaEntry {
        let parts = part.parts();
        let marked = |name: &str| parts.iter().any(|it| it.has(name));
        let alternatives: Vec<_> = parts.iter().copied().filter(Part::is_alternative).collect();
        let properties = part.properties(&alternatives).into_iter();
        let properties: Vec<_> =
            properties.map(|(key, part)| (leaked(key), self.place(part))).collect();
        SchemaEntry {
            kinds: part.kinds(&alternatives),
            secret: marked("writeOnly") || marked("x-secret"),
            path: marked("x-path"),
            no_echo: marked("x-no-echo"),
            texts: texts(&alternatives).leak(),
            example: alternatives.iter().find_map(|it| it.example()).map(leaked),
            description: part.description(&alternatives).map(leaked),
            properties: properties.leak(),
            others: part.others(&alternatives).map(|others| self.place(others)),
            items: alternatives.iter().find_map(|it| it.below("items")).map(|it| self.place(it)),
        }
    }
}

fn leaked(text: &str) -> &'static str {
    text.to_owned().leak()
}

/// A part of a schema, with the whole schema for references.
#[derive(Clone, Copy)]
struct Part<'a> {
    root: &'a Json,
    here: &'a Json,
}

impl<'a> Part<'a> {
    const fn at(self, here: &'a Json) -> Self {
        Self { root: self.root, here }
    }

    fn below(self, keyword: &str) -> Option<Self> {
        self.keyword(keyword).map(|here| self.at(here))
    }

    /// Returns the part that this one refers to, if it says nothing else.
    fn resolved(self) -> Self {
        let alone = self.here.as_object().filter(|keywords| keywords.len() == 1);
        let reference = alone.and_then(|keywords| keywords.get("$ref")?.as_str());
        reference.and_then(|it| self.target(it)).map_or(self, |here| self.at(here))
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
    fn parts(self) -> Vec<Self> {
        let mut found = Vec::new();
        self.collect(&mut found, 0);
        found
    }

    fn collect(self, found: &mut Vec<Self>, depth: usize) {
        found.push(self);
        // A schema can refer to itself endlessly.
        if depth < 16 {
            self.inner().for_each(|part| part.collect(found, depth.saturating_add(1)));
        }
    }

    /// Returns the parts that this one directly consists of.
    fn inner(self) -> impl Iterator<Item = Self> {
        let target = self.keyword("$ref").and_then(Json::as_str).and_then(|it| self.target(it));
        let lists = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(move |it| self.keyword(it));
        let listed = lists.filter_map(Json::as_array).flatten();
        target.into_iter().chain(listed).map(move |part| self.at(part))
    }

    /// Returns whether this part says itself what is allowed.
    fn is_alternative(&self) -> bool {
        let own = ["type", "properties", "enum", "const", "additionalProperties"];
        own.iter().any(|it| self.keyword(it).is_some()) || self.inner().next().is_none()
    }

    /// Returns the part of the schema that `reference` names.
    fn target(self, reference: &str) -> Option<&'a Json> {
        self.root.pointer(reference.trim_start_matches('#'))
    }

    fn kinds(self, alternatives: &[Self]) -> ValueKinds {
        let kinds = alternatives.iter().map(|part| part.own_kinds());
        kinds.reduce(ValueKinds::or).unwrap_or(ValueKinds::ANY)
    }

    fn own_kinds(self) -> ValueKinds {
        let named: Vec<&str> = match self.keyword("type") {
            Some(Json::String(name)) => vec![name],
            Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
            _ => {
                let values = self.own_values();
                if !values.is_empty() {
                    return values.into_iter().map(kind_of).collect();
                }
                let table = ["properties", "additionalProperties"];
                if !table.iter().any(|k| self.keyword(k).is_some()) {
                    return ValueKinds::ANY;
                }
                vec!["object"]
            }
        };
        named.into_iter().flat_map(kinds_named).copied().collect()
    }

    fn own_values(self) -> Vec<&'a Json> {
        let listed = self.keyword("enum").and_then(Json::as_array).into_iter().flatten();
        listed.chain(self.keyword("const")).collect()
    }

    /// Returns the named keys of a table.
    fn properties(self, alternatives: &[Self]) -> BTreeMap<&'a str, Self> {
        let mut properties = BTreeMap::new();
        for part in alternatives {
            let own = part.keyword("properties").and_then(Json::as_object);
            for (key, schema) in own.into_iter().flat_map(Map::iter) {
                properties.entry(key.as_str()).or_insert_with(|| part.at(schema));
            }
        }
        properties
    }

    /// Returns the schema of the values in a map, or `None` if there are only named keys.
    fn others(self, alternatives: &[Self]) -> Option<Self> {
        alternatives.iter().find_map(|part| {
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
        self.own_kinds().allows(Kind::Table)
    }

    /// Returns a text that is allowed, if the schema has an example.
    fn example(self) -> Option<&'a str> {
        self.keyword("examples")?.as_array()?.first()?.as_str()
    }

    fn description(self, alternatives: &[Self]) -> Option<&'a str> {
        let text = |part: &Self| part.keyword("description").and_then(Json::as_str);
        // A constant's description is only about that value.
        let mut inner = alternatives.iter().filter(|part| part.keyword("const").is_none());
        text(&self).or_else(|| inner.find_map(text))
    }
}

/// Returns the allowed texts, if only certain texts are allowed.
fn texts(alternatives: &[Part<'_>]) -> Vec<&'static str> {
    let values = alternatives.iter().flat_map(|part| part.own_values());
    let mut texts = Vec::new();
    for text in values.filter_map(Json::as_str) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.into_iter().map(leaked).collect()
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

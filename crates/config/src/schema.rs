//! What is known about the keys of a configuration type.

use std::fmt;

use crate::node::Kind;

/// The keys of a configuration type, with their types.
///
/// It has no memory of its own, so that a program can contain that of its configuration:
/// [`loader_schema_source`](crate::loader_schema_source) writes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema(pub &'static [SchemaEntry]);

/// What is known about a value. Other values are referred to by their place in the [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaEntry {
    /// The kinds of value that are allowed.
    pub kinds: ValueKinds,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Whether the value is a path of this machine.
    pub path: bool,
    /// Whether errors must not repeat the value, nor anything below it.
    pub no_echo: bool,
    /// The allowed texts. Empty if others are allowed too.
    pub texts: &'static [&'static str],
    /// A text that is allowed.
    pub example: Option<&'static str>,
    /// The documentation.
    pub description: Option<&'static str>,
    /// The named keys of a table, sorted.
    pub properties: &'static [(&'static str, u16)],
    /// The value of each other key of a table. `None` if there are only named keys.
    pub others: Option<u16>,
    /// The elements of a list.
    pub items: Option<u16>,
}

/// A set of kinds of value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ValueKinds(u8);

impl ValueKinds {
    /// Any value.
    pub const ANY: Self = Self(u8::MAX);

    /// Creates the set of the bits of `bits`, as they are in the output of [`Debug`](fmt::Debug).
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether the set contains `kind`.
    pub(crate) const fn allows(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Returns the kinds, unless any is allowed.
    pub(crate) fn listed(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self != Self::ANY && self.allows(*kind))
    }
}

impl FromIterator<Kind> for ValueKinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self(0), |set, kind| set.or(Self(1 << kind as u8)))
    }
}

impl fmt::Debug for ValueKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010b}", self.0)
    }
}

impl SchemaEntry {
    /// Any value, without marks.
    pub const ANY: Self = Self {
        kinds: ValueKinds::ANY,
        secret: false,
        path: false,
        no_echo: false,
        texts: &[],
        example: None,
        description: None,
        properties: &[],
        others: None,
        items: None,
    };
}

impl Schema {
    /// Returns the whole configuration.
    pub(crate) fn root(&'static self) -> Part {
        Part { schema: self, entry: self.entry(0), below_no_echo: false }
    }

    fn entry(&self, place: u16) -> &'static SchemaEntry {
        self.0.get(usize::from(place)).unwrap_or(&SchemaEntry::ANY)
    }
}

/// A value of a configuration, and what is below it.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    schema: &'static Schema,
    entry: &'static SchemaEntry,
    /// Whether errors must not repeat what is above.
    below_no_echo: bool,
}

impl Part {
    fn at(self, place: u16) -> Self {
        let below_no_echo = self.is_no_echo();
        Self { schema: self.schema, entry: self.schema.entry(place), below_no_echo }
    }

    /// Returns the kinds of value that are allowed.
    pub(crate) const fn kinds(self) -> ValueKinds {
        self.entry.kinds
    }

    pub(crate) fn allows(self, kind: Kind) -> bool {
        self.entry.kinds.allows(kind)
    }

    /// Returns the allowed texts, if only certain texts are allowed.
    pub(crate) const fn texts(self) -> &'static [&'static str] {
        self.entry.texts
    }

    pub(crate) const fn description(self) -> Option<&'static str> {
        self.entry.description
    }

    /// Returns the named keys of a table, sorted.
    pub(crate) fn properties(self) -> impl Iterator<Item = (&'static str, Self)> {
        self.entry.properties.iter().map(move |(key, place)| (*key, self.at(*place)))
    }

    /// Returns the value at the named key `key`.
    pub(crate) fn property(self, key: &str) -> Option<Self> {
        let found = self.entry.properties.binary_search_by_key(&key, |(key, _)| key).ok()?;
        self.entry.properties.get(found).map(|(_, place)| self.at(*place))
    }

    /// Returns the values in a map, or `None` if there are only named keys.
    pub(crate) fn others(self) -> Option<Self> {
        self.entry.others.map(|place| self.at(place))
    }

    /// Returns the elements of a list.
    pub(crate) fn items(self) -> Option<Self> {
        self.entry.items.map(|place| self.at(place))
    }

    /// Returns the value at `key` or index `key`.
    pub(crate) fn child(self, key: &str) -> Option<Self> {
        self.property(key).or_else(|| self.others()).or_else(|| {
            let is_index = !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
            is_index.then(|| self.items()).flatten()
        })
    }

    pub(crate) const fn is_table(self) -> bool {
        !self.entry.properties.is_empty()
    }

    /// Returns whether the value must never be shown.
    pub(crate) const fn is_secret(self) -> bool {
        self.entry.secret
    }

    /// Returns whether the value is a path of this machine.
    pub(crate) const fn is_path(self) -> bool {
        self.entry.path
    }

    const fn is_no_echo(self) -> bool {
        self.below_no_echo || self.entry.no_echo
    }

    /// Returns whether errors must not repeat the value: it is marked, or is a list or a map of what
    /// is marked.
    pub(crate) fn is_silent(self) -> bool {
        let mut inner = [self.items(), self.others()].into_iter().flatten();
        self.is_secret() || self.is_no_echo() || inner.any(Self::is_no_echo)
    }
}

/// Describes what is expected: `true or false`, `a list`, `one of Always, Never`.
pub(crate) fn expected(part: Part) -> String {
    let kinds = part.kinds();
    let word = |kind: Kind| match kind {
        Kind::Null => None,
        Kind::Bool => Some("true or false".to_owned()),
        Kind::Integer if kinds.allows(Kind::Number) => None,
        Kind::Integer => Some("a whole number".to_owned()),
        Kind::Number => Some("a number".to_owned()),
        Kind::Text if part.texts().is_empty() => Some(match part.entry.example {
            Some(example) => format!("text such as {example}"),
            None => "text".to_owned(),
        }),
        Kind::Text => Some(format!("one of {}", part.texts().join(", "))),
        Kind::List => Some("a list".to_owned()),
        Kind::Table => Some("a table".to_owned()),
    };
    let words: Vec<String> = kinds.listed().filter_map(word).collect();
    words.join(" or ")
}

//! Parses YAML, with line numbers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::node::{Node, Value};
use crate::{Location, Problem};

/// The maximum nesting. The reader calls itself for each level, and a thread may have only 2 MiB of
/// stack.
const DEEPEST: usize = 32;

pub(super) fn parse(text: &str, file: &Location) -> Result<Node, Vec<Problem>> {
    let budget = serde_saphyr::budget! { max_depth: DEEPEST };
    let options = serde_saphyr::options! { budget: budget };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(Node::new(raw.value.into_value(file), file.clone().into())),
        Err(error) => {
            let error = error.without_snippet();
            let line = error.location().and_then(|l| usize::try_from(l.line()).ok());
            let said = error.to_string();
            let what = said.lines().next().unwrap_or_default();
            let what = what.split_once(" at line ").map_or(what, |(what, _)| what);
            let message = match what.split_once("duplicate mapping key: ") {
                Some((_, key)) => {
                    let key = key.rsplit_once(", set Duplicate").map_or(key, |(key, _)| key);
                    format!("duplicate key `{key}`")
                }
                None if what.starts_with("budget breached: Depth") => {
                    "not valid YAML: too deeply nested".to_owned()
                }
                None if what.starts_with("budget breached") => {
                    "not valid YAML: too large or too complex".to_owned()
                }
                None if what.starts_with("multiple YAML documents") => {
                    "a second document begins here: the file may have only one".to_owned()
                }
                None => format!("not valid YAML: {what}"),
            };
            let at = line.filter(|l| *l > 0).map_or_else(|| file.clone(), |l| file.line(l));
            Err(vec![Problem::new(message).at(at)])
        }
    }
}

/// A value with the place of each part, as the YAML reader returns it.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Table(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl Raw {
    fn into_value(self, file: &Location) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::List(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| {
                        let at = place(&item, file);
                        Node::new(item.value.into_value(file), at.into())
                    })
                    .collect(),
            ),
            Self::Table(fields) => {
                let node = |(key, value): (Spanned<String>, Spanned<Self>)| {
                    let at = place(&key, file);
                    (key.value, Node::new(value.value.into_value(file), at.into()))
                };
                Value::Table(fields.into_iter().map(node).collect::<BTreeMap<_, _>>())
            }
        }
    }
}

fn place<T>(spanned: &Spanned<T>, file: &Location) -> Location {
    match usize::try_from(spanned.referenced.line()) {
        Ok(line) if line > 0 => file.line(line),
        _ => file.clone(),
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Raw, D::Error> {
        Raw::deserialize(reader)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::number(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::number(number)))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Raw, E> {
        serde_json::Number::from_f64(number)
            .map(|n| Raw::Scalar(Value::number(n)))
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Raw, A::Error> {
        let mut table = Vec::new();
        while let Some(field) = fields.next_entry()? {
            table.push(field);
        }
        Ok(Raw::Table(table))
    }
}

//! Parses JSON, with line numbers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::node::{Node, Value};
use crate::{Location, Origin, Problem};

pub(super) fn parse(text: &str, file: &Location) -> Result<Node, Vec<Problem>> {
    let lines = Lines { rest: text.as_bytes(), line: &Cell::new(1) };
    let builder = Builder {
        line: lines.line,
        file,
        problems: &RefCell::default(),
        origin: file.clone().into(),
    };
    let mut reader = serde_json::Deserializer::from_reader(lines);
    let node = builder.deserialize(&mut reader).and_then(|node| reader.end().map(|()| node));
    let mut problems = builder.problems.take();
    match node {
        Ok(node) if problems.is_empty() => return Ok(node),
        Ok(_) => {}
        Err(error) => {
            let said = error.to_string();
            // The problem itself contains the place.
            let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
            let message = format!("not valid JSON: {what}");
            problems.push(Problem::new(message).at(file.line(error.line().max(1))));
        }
    }
    Err(problems)
}

/// A reader that returns one byte at a time and counts lines, so that the current line is known:
/// serde_json reads at most one byte ahead from a reader.
struct Lines<'a> {
    rest: &'a [u8],
    line: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (Some((byte, rest)), Some(first)) = (self.rest.split_first(), buffer.first_mut())
        else {
            return Ok(0);
        };
        *first = *byte;
        self.rest = rest;
        if *byte == b'\n' {
            self.line.set(self.line.get().saturating_add(1));
        }
        Ok(1)
    }
}

/// Builds the node of a value whose key is at `origin`.
struct Builder<'a> {
    line: &'a Cell<usize>,
    file: &'a Location,
    problems: &'a RefCell<Vec<Problem>>,
    origin: Origin,
}

impl Builder<'_> {
    fn here(&self) -> Origin {
        self.file.line(self.line.get()).into()
    }

    fn inner(&self, origin: Origin) -> Self {
        Self { line: self.line, file: self.file, problems: self.problems, origin }
    }
}

impl<'de> DeserializeSeed<'de> for &Builder<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Node, D::Error> {
        Ok(Node::new(reader.deserialize_any(self)?, self.origin.clone()))
    }
}

impl<'de> Visitor<'de> for &Builder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::number(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(number)
            .map(Value::number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        // An element's line is not known before it is reached, so the current line is used.
        while let Some(node) = items.next_element_seed(&self.inner(self.here()))? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut nodes = BTreeMap::new();
        while let Some(key) = fields.next_key::<String>()? {
            let origin = self.here();
            let node = fields.next_value_seed(&self.inner(origin.clone()))?;
            if nodes.insert(key.clone(), node).is_some() {
                let problem = Problem::new(format!("duplicate key `{key}`")).at(origin);
                self.problems.borrow_mut().push(problem);
            }
        }
        Ok(Value::Table(nodes))
    }
}

//! Converts values to the types in the schema, for sources without types of their own.

use std::collections::BTreeMap;

use longshore_hocon::parse_number;

use crate::Origin;
use crate::node::{Kind, Node, Value, shorten};
use crate::schema::{Part, ValueKinds, expected};

/// Converts values as HOCON does (HOCON.md, "Automatic type conversions").
///
/// Converts numbers and booleans to text and back, and objects with numeric keys to lists. Removes a
/// null that is not allowed.
pub(crate) fn hocon(node: &mut Node, part: Part) {
    if !part.allows(node.value.kind()) {
        convert(&mut node.value, |kind| part.allows(kind));
    }
    match &mut node.value {
        Value::List(items) => {
            if let Some(part) = part.items() {
                items.iter_mut().for_each(|item| hocon(item, part));
            }
        }
        Value::Table(fields) => {
            fields.retain(|key, child| {
                let part = part.child(key);
                let null_allowed = part.is_none_or(|part| part.allows(Kind::Null));
                child.value != Value::Null || null_allowed
            });
            for (key, child) in fields {
                if let Some(part) = part.child(key) {
                    hocon(child, part);
                }
            }
        }
        _ => {}
    }
}

fn convert(value: &mut Value, allowed: impl Fn(Kind) -> bool) {
    match value {
        Value::Bool(flag) if allowed(Kind::Text) => *value = Value::Text(flag.to_string()),
        Value::Number(_, text) if allowed(Kind::Text) => {
            *value = Value::Text(std::mem::take(text));
        }
        Value::Text(text) => {
            if let Some(converted) = from_text(text, allowed) {
                *value = converted;
            }
        }
        Value::Table(fields) if allowed(Kind::List) => {
            let numbered: BTreeMap<u32, &Node> =
                fields.iter().filter_map(|(key, node)| Some((key.parse().ok()?, node))).collect();
            if !numbered.is_empty() {
                *value = Value::List(numbered.into_values().cloned().collect());
            }
        }
        _ => {}
    }
}

fn from_text(text: &str, allowed: impl Fn(Kind) -> bool) -> Option<Value> {
    match text {
        "true" | "yes" | "on" if allowed(Kind::Bool) => return Some(Value::Bool(true)),
        "false" | "no" | "off" if allowed(Kind::Bool) => return Some(Value::Bool(false)),
        "null" if allowed(Kind::Null) => return Some(Value::Null),
        _ => {}
    }
    let number = Value::Number(parse_number(text)?, text.to_owned());
    allowed(number.kind()).then_some(number)
}

/// Parses `text`, from the environment or a flag, as the value of a key with the schema `part`.
///
/// A list is comma-separated or JSON. A map is JSON. `null` unsets the key, if that is allowed.
pub(crate) fn text(text: &str, part: Part, origin: &Origin) -> Result<Node, String> {
    let node = |value| Ok(Node::new(value, origin.clone()));
    if part.kinds() == ValueKinds::ANY {
        return Ok(json(text, origin)
            .unwrap_or_else(|_| Node::new(Value::Text(text.to_owned()), origin.clone())));
    }
    let allowed = |kind| part.allows(kind);
    let trimmed = text.trim();
    if trimmed == "null" && allowed(Kind::Null) {
        return node(Value::Null);
    }
    if allowed(Kind::List) && trimmed.starts_with('[')
        || allowed(Kind::Table) && trimmed.starts_with('{')
    {
        return json(trimmed, origin);
    }
    if allowed(Kind::List) && (!allowed(Kind::Text) || trimmed.contains(',')) {
        return list(trimmed, part, origin);
    }
    if allowed(Kind::Text) {
        return node(Value::Text(text.to_owned()));
    }
    match from_text(trimmed, allowed) {
        Some(value) => node(value),
        None => {
            let as_json = if allowed(Kind::Table) { " in JSON" } else { "" };
            let found = match trimmed {
                "" => "nothing".to_owned(),
                _ if part.is_silent() => "`***`".to_owned(),
                _ => format!("`{}`", shorten(text)),
            };
            Err(format!("found {found}, expected {}{as_json}", expected(part)))
        }
    }
}

fn json(text: &str, origin: &Origin) -> Result<Node, String> {
    match serde_json::from_str(text) {
        Ok(json) => Ok(Node::from_json(json, origin)),
        Err(error) => Err(format!("not valid JSON: {error}")),
    }
}

fn list(list: &str, part: Part, origin: &Origin) -> Result<Node, String> {
    let mut items = Vec::new();
    if let (Some(part), false) = (part.items(), list.is_empty()) {
        for item in list.split(',') {
            items.push(text(item.trim(), part, origin)?);
        }
    }
    Ok(Node::new(Value::List(items), origin.clone()))
}

//! Parses HOCON and resolves the wanted part of it.

use std::path::Path;

use longshore_hocon::{Files, Node as Parsed, Value as Resolved, parse_with};

use super::Context;
use crate::java;
use crate::node::{Node, Value};
use crate::{Problem, Warning};

pub(super) fn parse(
    text: &str,
    path: &Path,
    context: &Context<'_>,
) -> Result<(Node, Vec<Warning>), Problem> {
    let document = parse_with(text, path, &Files).map_err(Problem::hocon)?;
    let defined =
        |name: &str| context.environment.get(name).cloned().or_else(|| java::property(name));
    let root = document.resolve_only(context.wanted, &defined).map_err(Problem::hocon)?;
    let warnings = document.warnings().iter().map(|w| Warning { message: w.to_string() });
    Ok((node(root), warnings.collect()))
}

fn node(parsed: Parsed) -> Node {
    let value = match parsed.value {
        Resolved::Null => Value::Null,
        Resolved::Bool(flag) => Value::Bool(flag),
        Resolved::Number(number, text) => Value::Number(number, text),
        Resolved::String(text) => Value::Text(text),
        Resolved::Array(items) => Value::List(items.into_iter().map(node).collect()),
        Resolved::Object(fields) => {
            Value::Table(fields.into_iter().map(|(key, field)| (key, node(field))).collect())
        }
    };
    Node::new(value, parsed.location.into())
}

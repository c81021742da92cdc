//! The reference of a configuration: its schema, a commented reference file, and the names of the
//! environment variables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use toml_edit::Key;

use crate::ConfigError;
use crate::error::ordered;
use crate::json_schema::{json_schema_of, schema_of};
use crate::keys::{leaves, variables};
use crate::node::{Kind, dotted};
use crate::schema::{Part, SchemaEntry};

/// Returns the JSON schema of `T`, pretty-printed, with a final newline. It is the same in every
/// build.
#[must_use]
pub fn schema_json<T: JsonSchema>() -> String {
    format!("{:#}\n", sorted(json_schema_of::<T>()))
}

/// Returns the elements of the [`Schema`](crate::Schema) of `T`, without documentation, as Rust code in which `E` is
/// [`SchemaEntry`] and `k` is [`ValueKinds::from_bits`](crate::ValueKinds::from_bits). It is the same in
/// every build.
#[must_use]
pub fn loader_schema_source<T: JsonSchema + 'static>() -> String {
    schema_of::<T>().0.iter().map(|entry| format!("    {},\n", source(entry))).collect()
}

fn source(entry: &SchemaEntry) -> String {
    let SchemaEntry {
        kinds, secret, path, no_echo, texts, example, properties, others, items, ..
    } = entry;
    let fields = [
        Some(format!("kinds: k({kinds:?})")),
        secret.then(|| "secret: true".to_owned()),
        path.then(|| "path: true".to_owned()),
        no_echo.then(|| "no_echo: true".to_owned()),
        (!texts.is_empty()).then(|| format!("texts: &{texts:?}")),
        example.map(|example| format!("example: Some({example:?})")),
        (!properties.is_empty()).then(|| format!("properties: &{properties:?}")),
        others.map(|place| format!("others: Some({place})")),
        items.map(|place| format!("items: Some({place})")),
    ];
    let fields: Vec<String> = fields.into_iter().flatten().collect();
    format!("E {{ {}, ..E::ANY }}", fields.join(", "))
}

/// Returns `value` with all keys sorted. Whether serde_json sorts them depends on a feature that any
/// crate of a build can enable.
fn sorted(value: Json) -> Json {
    match value {
        Json::Object(fields) => {
            let fields: BTreeMap<String, Json> =
                fields.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Json::Object(fields.into_iter().collect())
        }
        Json::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// Returns every key that can be set from the environment, and its variable, sorted by variable.
///
/// # Errors
/// If two keys have the same variable.
pub fn environment_names<T: JsonSchema + 'static>() -> Result<Vec<(String, String)>, ConfigError> {
    let variables = variables(schema_of::<T>().root()).map_err(ordered)?;
    Ok(variables.into_iter().map(|(name, path)| (dotted(&path), name)).collect())
}

/// Returns every key that has a value, in order, with the values to choose from. The choices are
/// empty for a key that takes others too.
#[must_use]
pub fn keys_with_choices<T: JsonSchema + 'static>() -> Vec<(String, Vec<String>)> {
    let root = schema_of::<T>().root();
    let choices = |path: &[String]| {
        let part = path.iter().try_fold(root, |part, key| part.child(key));
        part.map(choices).unwrap_or_default()
    };
    leaves(root).into_iter().map(|path| (dotted(&path), choices(&path))).collect()
}

fn choices(part: Part) -> Vec<String> {
    let texts = part.texts().iter().copied().map(str::to_owned);
    let is_bool = part.kinds().listed().any(|kind| kind == Kind::Bool);
    let bools = is_bool.then(|| ["true", "false"].map(str::to_owned)).into_iter().flatten();
    texts.chain(bools).collect()
}

/// Returns a TOML file with every key of `T`, its default, and its description as a comment.
///
/// Keys without a default are commented out, with an empty value of their type.
#[must_use]
pub fn render_reference<T: JsonSchema + Serialize + Default + 'static>() -> String {
    let defaults = sorted(serde_json::to_value(T::default()).unwrap_or_default());
    let mut text = String::new();
    table(&mut text, &mut Vec::new(), schema_of::<T>().root(), Some(&defaults));
    text
}

/// Writes the keys of one table, then its tables.
fn table(text: &mut String, path: &mut Vec<String>, part: Part, defaults: Option<&Json>) {
    let (tables, keys): (Vec<_>, Vec<_>) =
        part.properties().partition(|(_, child)| child.is_table());
    if !path.is_empty() {
        let header: Vec<String> = path.iter().map(|k| Key::new(k).to_string()).collect();
        separate(text);
        comment(text, part);
        let _ = writeln!(text, "[{}]", header.join("."));
    }
    for (key, child) in keys {
        separate(text);
        comment(text, child);
        let key = Key::new(key).to_string();
        let default = defaults.and_then(|d| d.get(key.as_str())).filter(|d| !d.is_null());
        let _ = match default {
            Some(default) => writeln!(text, "{key} = {}", inline(default)),
            None => writeln!(text, "#{key} = {}", placeholder(child)),
        };
    }
    for (key, child) in tables {
        path.push(key.to_owned());
        table(text, path, child, defaults.and_then(|d| d.get(key)));
        path.pop();
    }
}

fn separate(text: &mut String) {
    let after_header = text.lines().last().is_none_or(|line| line.starts_with('['));
    if !after_header {
        text.push('\n');
    }
}

fn comment(text: &mut String, part: Part) {
    for line in part.description().unwrap_or_default().lines() {
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
}

/// Returns a JSON value in TOML's inline notation.
fn inline(value: &Json) -> String {
    match value {
        Json::Null => "\"\"".to_owned(),
        Json::Bool(_) | Json::Number(_) => value.to_string(),
        Json::String(text) => toml_edit::Value::from(text.as_str()).to_string(),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Json::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Json::Object(fields) => {
            let field = |(k, v): (&String, &Json)| format!("{} = {}", Key::new(k), inline(v));
            format!("{{ {} }}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

fn placeholder(part: Part) -> String {
    let kinds: Vec<Kind> = part.kinds().listed().collect();
    if kinds.contains(&Kind::Text) {
        return format!("{:?}", part.texts().first().copied().unwrap_or_default());
    }
    match kinds.into_iter().find(|kind| *kind != Kind::Null) {
        Some(Kind::Bool) => "false".to_owned(),
        Some(Kind::Integer | Kind::Number) => "0".to_owned(),
        Some(Kind::List) => "[]".to_owned(),
        Some(Kind::Table) => "{}".to_owned(),
        _ => "\"\"".to_owned(),
    }
}

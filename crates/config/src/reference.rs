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
use crate::keys::{leaves, variables};
use crate::node::{Kind, dotted};
use crate::schema::{self, Part, schema_of};

/// Returns the JSON schema of `T`, pretty-printed, with a final newline. It is the same in every
/// build.
#[must_use]
pub fn schema_json<T: JsonSchema>() -> String {
    format!("{:#}\n", sorted(schema_of::<T>()))
}

/// Returns the part of the JSON schema of `T` that a [`Loader`](crate::Loader) reads, in one line with a
/// final newline, for [`Loader::schema`](crate::Loader::schema). It is the same in every build.
#[must_use]
pub fn loader_schema_json<T: JsonSchema>() -> String {
    format!("{}\n", sorted(schema::keys_only(schema_of::<T>())))
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
pub fn environment_names<T: JsonSchema>() -> Result<Vec<(String, String)>, ConfigError> {
    let schema = schema_of::<T>();
    let variables = variables(Part::new(&schema)).map_err(ordered)?;
    Ok(variables.into_iter().map(|(name, path)| (dotted(&path), name)).collect())
}

/// Returns every key that has a value, in order, with the values to choose from. The choices are
/// empty for a key that takes others too.
#[must_use]
pub fn keys_with_choices<T: JsonSchema>() -> Vec<(String, Vec<String>)> {
    let schema = schema_of::<T>();
    let root = Part::new(&schema);
    let choices = |path: &[String]| {
        let part = path.iter().try_fold(root, |part, key| part.child(key));
        part.map(choices).unwrap_or_default()
    };
    leaves(root).into_iter().map(|path| (dotted(&path), choices(&path))).collect()
}

fn choices(part: Part<'_>) -> Vec<String> {
    let texts = part.texts().into_iter().map(str::to_owned);
    let is_bool = part.kinds().is_some_and(|kinds| kinds.contains(&Kind::Bool));
    let bools = is_bool.then(|| ["true", "false"].map(str::to_owned)).into_iter().flatten();
    texts.chain(bools).collect()
}

/// Returns a TOML file with every key of `T`, its default, and its description as a comment.
///
/// Keys without a default are commented out, with an empty value of their type.
#[must_use]
pub fn render_reference<T: JsonSchema + Serialize + Default>() -> String {
    let schema = schema_of::<T>();
    let defaults = sorted(serde_json::to_value(T::default()).unwrap_or_default());
    let mut text = String::new();
    table(&mut text, &mut Vec::new(), Part::new(&schema), Some(&defaults));
    text
}

/// Writes the keys of one table, then its tables.
fn table(text: &mut String, path: &mut Vec<String>, part: Part<'_>, defaults: Option<&Json>) {
    let (tables, keys): (Vec<_>, Vec<_>) =
        part.properties().into_iter().partition(|(_, child)| child.is_table());
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

fn comment(text: &mut String, part: Part<'_>) {
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

fn placeholder(part: Part<'_>) -> String {
    let kinds = part.kinds().unwrap_or_default();
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

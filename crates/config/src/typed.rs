//! Merges layers and reads the result as a type.

use std::fmt::Display;

use figment::error::Kind as ErrorKind;
use figment::value::{Dict, Map};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

use crate::blame::blame;
use crate::node::{Node, Value, dotted};
use crate::schema::{Part, expected};
use crate::{ConfigError, Origin, Problem};

/// One layer, as a provider for figment.
struct Layer<'a>(&'a Node);

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0.origin.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let dict = self.0.to_figment().into_dict().unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// Reads `layers` as a `T`. Later layers override earlier ones.
///
/// `problems` are those found so far. Their values are no longer in the layers. serde stops at the
/// first error. This function records it, removes the value from the layers, and reads the rest
/// again, so that it finds several problems at once.
pub(crate) fn extract<T: DeserializeOwned>(
    layers: &mut [Node],
    part: Part,
    mut problems: Vec<Problem>,
) -> Result<T, Vec<Problem>> {
    loop {
        let mut error = match read::<T>(layers) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(error) => error,
        };
        error.path = blame(&error, layers, |layers| read::<T>(layers).err());
        let problem = problem(&error, layers, part);
        if !is_consequence(&problem, &problems) {
            problems.push(problem);
        }
        let mut removed = false;
        for layer in layers.iter_mut() {
            removed |= layer.remove(&error.path);
        }
        if !removed || problems.len() >= ConfigError::LIMIT {
            return Err(problems);
        }
    }
}

fn read<T: DeserializeOwned>(layers: &[Node]) -> Result<T, Box<figment::Error>> {
    let merged = layers.iter().fold(Figment::new(), |all, layer| all.merge(Layer(layer)));
    merged.extract().map_err(Box::new)
}

/// Returns whether `problem` exists only because the value of one of `problems` was removed: the
/// same key is now missing, or the table or list around it is now empty.
fn is_consequence(problem: &Problem, problems: &[Problem]) -> bool {
    let Some(key) = &problem.key else { return false };
    problems
        .iter()
        .filter_map(|p| p.key.as_ref()?.strip_prefix(key.as_str()))
        .any(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn problem(error: &figment::Error, layers: &[Node], root: Part) -> Problem {
    let mut path = error.path.clone();
    let node = uppermost(layers, &path);
    if let ErrorKind::MissingField(field) = &error.kind {
        path.push(field.to_string());
    }
    let part = path.iter().try_fold(root, |part, step| part.child(step));
    let message = message(&error.kind, node.map(|n| &n.value), part);
    let mut problem = Problem::new(message);
    if let Some(node) = node {
        problem = problem.at(node.origin.clone());
    }
    if path.is_empty() { problem } else { problem.key(dotted(&path)) }
}

fn message(kind: &ErrorKind, value: Option<&Value>, part: Option<Part>) -> String {
    if let ErrorKind::MissingField(_) = kind {
        return "this key is missing".to_owned();
    }
    if part.is_some_and(Part::is_silent) {
        return "the value is not accepted".to_owned();
    }
    let found = value.map_or_else(|| "nothing".to_owned(), Value::describe);
    match kind {
        ErrorKind::UnknownVariant(_, allowed) => {
            format!("found {found}, expected one of {}", allowed.join(", "))
        }
        ErrorKind::InvalidType(_, wanted)
        | ErrorKind::InvalidValue(_, wanted)
        | ErrorKind::InvalidLength(_, wanted) => {
            format!("found {found}, expected {}", in_words(wanted))
        }
        ErrorKind::Message(text) if text.starts_with("data did not match any variant") => {
            let wanted = part.map(expected).unwrap_or_default();
            format!("found {found}, expected {wanted}")
        }
        other => other.to_string(),
    }
}

/// Describes an expected type. serde names integers by their Rust types.
fn in_words(wanted: &str) -> String {
    let range =
        |low: &dyn Display, high: &dyn Display| format!("a whole number from {low} to {high}");
    match wanted {
        "u8" => range(&u8::MIN, &u8::MAX),
        "u16" => range(&u16::MIN, &u16::MAX),
        "u32" => range(&u32::MIN, &u32::MAX),
        "u64" | "usize" => range(&u64::MIN, &u64::MAX),
        "i8" => range(&i8::MIN, &i8::MAX),
        "i16" => range(&i16::MIN, &i16::MAX),
        "i32" => range(&i32::MIN, &i32::MAX),
        "i64" | "isize" => range(&i64::MIN, &i64::MAX),
        "a nonzero u32" => "a whole number of at least 1".to_owned(),
        other => other.to_owned(),
    }
}

/// Returns the node at `path` in the uppermost layer that has one, or the nearest node above `path`.
fn uppermost<'a>(layers: &'a [Node], path: &[String]) -> Option<&'a Node> {
    let exact = layers.iter().rev().map(|l| l.nearest(path)).find(|(_, exact)| *exact);
    exact.or_else(|| layers.last().map(|l| l.nearest(path))).map(|(node, _)| node)
}

/// Returns the origin of the value in force at `path`.
pub(crate) fn origin(layers: &[Node], path: &[String]) -> Origin {
    let exact = layers.iter().rev().map(|l| l.nearest(path)).find(|(_, exact)| *exact);
    exact.map_or(Origin::Default, |(node, _)| node.origin.clone())
}

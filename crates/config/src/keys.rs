//! The keys of a configuration, their environment variables, and keys in flags.

use std::collections::BTreeMap;

use crate::Problem;
use crate::nearest::nearest;
use crate::node::{Path, dotted};
use crate::schema::Part;

/// The section whose keys can be set from the environment. Other sections are excluded, because
/// Docker's own tools use variables such as `DOCKER_*`.
const SECTION: &str = "job";

/// The prefix that makes the name of a variable unambiguous. A variable with it takes precedence over
/// the same one without it.
pub(crate) const PREFIX: &str = "LONGSHORE_";

/// Returns the keys that have a value: all except tables of named keys. A map is one key.
pub(crate) fn leaves(part: Part) -> Vec<Path> {
    let mut found = Vec::new();
    collect(part, &mut Vec::new(), &mut found);
    found
}

fn collect(part: Part, path: &mut Path, found: &mut Vec<Path>) {
    // A schema that contains itself is endless.
    if path.len() > 16 {
        return;
    }
    for (key, child) in part.properties() {
        path.push(key.to_owned());
        if child.is_table() {
            collect(child, path, found);
        } else {
            found.push(path.clone());
        }
        path.pop();
    }
}

/// Returns the environment variables of a schema, each with its key.
///
/// # Errors
/// If two keys have the same variable.
pub(crate) fn variables(root: Part) -> Result<BTreeMap<String, Path>, Vec<Problem>> {
    let mut names: BTreeMap<String, Path> = BTreeMap::new();
    let mut problems = Vec::new();
    for path in leaves(root) {
        if path.first().is_none_or(|first| first != SECTION) {
            continue;
        }
        let name = variable(&path);
        let key = dotted(&path);
        if let Some(other) = names.insert(name.clone(), path) {
            problems.push(Problem::new(clash(&dotted(&other), &key, &name)));
        }
    }
    if problems.is_empty() { Ok(names) } else { Err(problems) }
}

fn clash(key: &str, other: &str, variable: &str) -> String {
    format!("the keys {key} and {other} have the same environment variable {variable}")
}

/// Returns the key that the environment variable `name` sets, with or without [`PREFIX`]. Few variables are
/// looked up, so that this looks for each of them in the schema.
///
/// # Errors
/// If there are two such keys.
pub(crate) fn key_of(name: &str, root: Part) -> Result<Option<Path>, String> {
    let Some(rest) = in_section(name) else { return Ok(None) };
    let mut found = Vec::new();
    let section = root.property(SECTION);
    search(section, rest, &mut vec![SECTION.to_owned()], &mut found);
    match found.as_slice() {
        [key, other, ..] => Err(clash(&dotted(key), &dotted(other), unprefixed(name))),
        _ => Ok(found.pop()),
    }
}

/// Finds the keys below `path` whose variables end with `rest`.
fn search(part: Option<Part>, rest: &str, path: &mut Path, found: &mut Vec<Path>) {
    for (key, child) in part.into_iter().flat_map(Part::properties) {
        let Some(after) = rest.strip_prefix(&variable(&[key])) else { continue };
        path.push(key.to_owned());
        if child.is_table() {
            if let Some(rest) = after.strip_prefix('_') {
                search(Some(child), rest, path, found);
            }
        } else if after.is_empty() {
            found.push(path.clone());
        }
        path.pop();
    }
}

/// Returns a warning about the variable `name` if it sets nothing, but was probably meant to.
///
/// Without [`PREFIX`], its name must be near to that of a key's variable: CI systems set variables such as
/// `JOB_NAME` for their own purposes.
pub(crate) fn warning(name: &str, root: Part) -> Option<String> {
    in_section(name)?;
    let is_ours = name.starts_with(PREFIX);
    let known = variables(root).unwrap_or_default();
    let near = nearest(unprefixed(name), known.keys().map(String::as_str));
    match near.and_then(|near| Some((near, known.get(near)?))) {
        Some((near, key)) => {
            let prefix = if is_ours { PREFIX } else { "" };
            Some(format!(
                "the environment variable {name} has no effect; did you mean {prefix}{near} ({})?",
                dotted(key)
            ))
        }
        None => is_ours.then(|| format!("the environment variable {name} has no effect")),
    }
}

fn unprefixed(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Returns what follows the name of the section in that of a variable, or `None` if it is for none of its
/// keys.
fn in_section(name: &str) -> Option<&str> {
    unprefixed(name).strip_prefix(&SECTION.to_uppercase())?.strip_prefix('_')
}

/// Returns the variable of a key: `JOB_KUBERNETES_IMAGEPULLPOLICY` for
/// `job.kubernetes.imagePullPolicy`.
fn variable(path: &[impl AsRef<str>]) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let upper = |key: &str| key.chars().map(upper).collect();
    path.iter().map(|key| upper(key.as_ref())).collect::<Vec<String>>().join("_")
}

/// Returns the path that `key` in a `--set` flag names, and its schema.
///
/// Below a map of simple values, the whole rest is one key, including its dots:
/// `job.labels.app.kubernetes.io/name`.
pub(crate) fn find(key: &str, root: Part) -> Result<(Path, Part), String> {
    let mut part = root;
    let mut path = Vec::new();
    let mut rest = key;
    while !rest.is_empty() {
        let (step, after) = split(rest);
        let (step, next, after) = match (part.property(&step), part.others()) {
            (Some(next), _) => (step, next, after),
            (None, Some(next)) if after.is_empty() || next.is_table() => (step, next, after),
            (None, Some(next)) => (rest.to_owned(), next, ""),
            (None, None) => return Err(unknown(key, root)),
        };
        path.push(step);
        part = next;
        rest = after;
    }
    if path.is_empty() { Err("the key is empty".to_owned()) } else { Ok((path, part)) }
}

/// Splits `key` into its first element, which may be in quotes, and what follows the dot.
fn split(key: &str) -> (String, &str) {
    if let Some((quoted, rest)) = key.strip_prefix('"').and_then(|k| k.split_once('"')) {
        return (quoted.to_owned(), rest.strip_prefix('.').unwrap_or(rest));
    }
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    (first.to_owned(), rest)
}

/// Returns the message for a key that does not exist.
fn unknown(key: &str, root: Part) -> String {
    let known: Vec<String> = leaves(root).iter().map(|path| dotted(path)).collect();
    let near = nearest(key, known.iter().map(String::as_str)).map(str::to_owned);
    match near.or_else(|| elsewhere(key.rsplit('.').next().unwrap_or(key), root)) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => "unknown key".to_owned(),
    }
}

/// Returns a key anywhere in the schema that is called `name`, or nearly so.
pub(crate) fn elsewhere(name: &str, root: Part) -> Option<String> {
    let leaves = leaves(root);
    let names = leaves.iter().filter_map(|path| path.last().map(String::as_str));
    let near = nearest(name, names)?;
    leaves.iter().find(|path| path.last().is_some_and(|l| l == near)).map(|path| dotted(path))
}

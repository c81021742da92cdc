//! Resolves fields to values: merges and substitutions.
//!
//! A field's values are a stack, the latest on top. Evaluation is lazy: a substitution looks up its
//! path in the stacks of the whole file, and so sees values that are set later. If the look-up
//! reaches a value that is being evaluated, only the values below it in its stack count (HOCON.md,
//! "Self-Referential Substitutions").

use std::collections::BTreeMap;

use crate::ast::{Entry, Object, Piece, Substitution};
use crate::files::MAX_BYTES;
use crate::path::dotted;
use crate::scalar::Scalar;
use crate::{Error, Location, Node, Value};

/// The maximum number of evaluated values: a small file can require very many.
const MAX_STEPS: usize = 1_000_000;

/// The maximum depth of evaluation, through substitutions that refer to one another.
const MAX_DEPTH: usize = 200;

/// The maximum amount of text in all evaluated values, in bytes: each of many substitutions can
/// repeat a long text.
const MAX_TEXT: usize = 64 << 20;

/// The id of the whole file. The ids of entries start at 1.
pub(crate) const ROOT: usize = 0;

/// The values of one field, the latest last.
type Stack<'a> = Vec<&'a Entry>;

/// The value of a stack. The content of objects and arrays is not evaluated yet.
enum Shape<'a> {
    /// Optional substitutions that found nothing.
    Undefined,
    Scalar(Scalar),
    /// The elements, each a stack.
    Array(Vec<Stack<'a>>),
    /// The objects to merge, the latest last.
    Objects(Vec<&'a Object>),
}

pub(crate) fn resolve(
    root: &Entry,
    wanted: &dyn Fn(&str) -> bool,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Node, Error> {
    let mut resolver = Resolver {
        root: vec![root],
        environment,
        active: Vec::new(),
        inside: Vec::new(),
        looked_back: false,
        seen: BTreeMap::new(),
        steps: 0,
        text: 0,
        depth: 0,
    };
    let mut fields = BTreeMap::new();
    if let Shape::Objects(objects) = resolver.shape(&[root])? {
        let wanted = all_fields(&objects).into_iter().filter(|(key, _)| wanted(key));
        for (key, stack) in wanted {
            if let Some(node) = resolver.node(&stack)? {
                fields.insert(key.to_owned(), node);
            }
        }
    }
    Ok(Node::new(Value::Object(fields), root.at.clone()))
}

fn all_fields<'a>(objects: &[&'a Object]) -> BTreeMap<&'a str, Stack<'a>> {
    let mut fields: BTreeMap<&str, Stack<'a>> = BTreeMap::new();
    for (key, entries) in objects.iter().flat_map(|o| &o.fields) {
        fields.entry(key).or_default().extend(entries);
    }
    fields
}

fn field<'a>(objects: &[&'a Object], key: &str) -> Stack<'a> {
    objects.iter().filter_map(|o| o.fields.get(key)).flatten().collect()
}

struct Resolver<'a> {
    root: Stack<'a>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    /// The values being evaluated that may refer to themselves.
    active: Vec<usize>,
    /// The values whose content is being evaluated, each inside the one before.
    inside: Vec<usize>,
    /// Whether a value was left out because it is being evaluated.
    looked_back: bool,
    /// The text of each substitution, by its address in memory.
    seen: BTreeMap<*const Substitution, String>,
    steps: usize,
    text: usize,
    depth: usize,
}

impl<'a> Resolver<'a> {
    /// Returns the value of a field, or `None` if it is undefined.
    fn node(&mut self, stack: &[&'a Entry]) -> Result<Option<Node>, Error> {
        let Some(top) = stack.last() else { return Ok(None) };
        if top.refers() && self.inside.contains(&top.id) {
            return Err(Error::new(top.at.clone(), "this value contains itself"));
        }
        self.inside.push(top.id);
        self.enter(&top.at)?;
        let (shape, at) = self.decide(stack)?;
        let value = match shape {
            Shape::Undefined => None,
            Shape::Scalar(scalar) => {
                self.count_text(&scalar, &top.at)?;
                Some(scalar.into_value())
            }
            Shape::Array(elements) => {
                let mut nodes = Vec::new();
                for element in elements {
                    nodes.extend(self.node(&element)?);
                }
                Some(Value::Array(nodes))
            }
            Shape::Objects(objects) => {
                let mut fields = BTreeMap::new();
                for (key, stack) in all_fields(&objects) {
                    if let Some(node) = self.node(&stack)? {
                        fields.insert(key.to_owned(), node);
                    }
                }
                Some(Value::Object(fields))
            }
        };
        self.depth = self.depth.saturating_sub(1);
        self.inside.pop();
        Ok(value.map(|value| Node::new(value, at.unwrap_or(&top.at).clone())))
    }

    fn enter(&mut self, at: &Location) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(1);
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(Error::new(at.clone(), "substitutions are nested too deeply"));
        }
        if self.steps > MAX_STEPS {
            return Err(Error::new(at.clone(), "there are too many substitutions"));
        }
        Ok(())
    }

    fn count_text(&mut self, scalar: &Scalar, at: &Location) -> Result<(), Error> {
        self.text = self.text.saturating_add(scalar.text().len());
        if self.text > MAX_TEXT {
            return Err(Error::new(at.clone(), "the values have more than 64 MiB of text"));
        }
        Ok(())
    }

    fn shape(&mut self, stack: &[&'a Entry]) -> Result<Shape<'a>, Error> {
        self.decide(stack).map(|(shape, _)| shape)
    }

    /// Merges a stack, from the top down to the first value that is not an object.
    ///
    /// Also returns the place of the uppermost value that is part of the result.
    fn decide(&mut self, stack: &[&'a Entry]) -> Result<(Shape<'a>, Option<&'a Location>), Error> {
        let under_way = stack.iter().position(|entry| self.active.contains(&entry.id));
        self.looked_back |= under_way.is_some();
        let (mut stack, _) =
            stack.split_at_checked(under_way.unwrap_or(stack.len())).unwrap_or_default();
        let mut layers: Vec<Vec<&Object>> = Vec::new();
        let mut at = None;
        while let Some((entry, below)) = stack.split_last() {
            stack = below;
            match self.entry(entry, below)? {
                Shape::Undefined => {}
                Shape::Objects(objects) => {
                    at = at.or(Some(&entry.at));
                    layers.push(objects);
                }
                other if layers.is_empty() => return Ok((other, Some(&entry.at))),
                _ => break,
            }
        }
        if layers.is_empty() {
            return Ok((Shape::Undefined, None));
        }
        let objects: Vec<&Object> = layers.into_iter().rev().flatten().collect();
        match objects.iter().find_map(|o| o.refused.as_ref()) {
            Some(problem) => Err(problem.clone()),
            None => Ok((Shape::Objects(objects), at)),
        }
    }

    fn entry(&mut self, entry: &'a Entry, below: &[&'a Entry]) -> Result<Shape<'a>, Error> {
        if entry.id == ROOT {
            return self.concatenation(entry, below);
        }
        self.enter(&entry.at)?;
        let refers = entry.refers();
        if refers {
            self.active.push(entry.id);
        }
        let shape = self.concatenation(entry, below);
        if refers {
            self.active.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        shape
    }

    fn concatenation(&mut self, entry: &'a Entry, below: &[&'a Entry]) -> Result<Shape<'a>, Error> {
        let mut parts = Vec::with_capacity(entry.pieces.len());
        for piece in &entry.pieces {
            parts.push(match piece {
                Piece::Space(text) => Part::Space(text),
                Piece::Scalar(scalar) => Part::Shape(Shape::Scalar(scalar.clone())),
                Piece::Substitution(substitution) => Part::Shape(self.substitute(substitution)?),
                Piece::Before => Part::Shape(self.shape(below)?),
                Piece::Array(elements) => {
                    Part::Shape(Shape::Array(elements.iter().map(|e| vec![e]).collect()))
                }
                Piece::Object(object) => Part::Shape(Shape::Objects(vec![object])),
            });
        }
        join(parts).map_err(|message| Error::new(entry.at.clone(), message))
    }

    fn substitute(&mut self, substitution: &'a Substitution) -> Result<Shape<'a>, Error> {
        let looked_back = std::mem::replace(&mut self.looked_back, false);
        let shape = self.look_up(substitution)?;
        let circle = std::mem::replace(&mut self.looked_back, looked_back);
        if let Shape::Scalar(scalar) = &shape {
            self.count_text(scalar, &substitution.at)?;
            let text = scalar.text().to_owned();
            let before = self.seen.insert(substitution, text.clone());
            if before.is_some_and(|b| b != text) {
                return Err(unresolved(substitution, "depends on the order of resolution"));
            }
        }
        match shape {
            Shape::Undefined if !substitution.optional => {
                Err(unresolved(substitution, reason(&substitution.path, circle)))
            }
            shape => Ok(shape),
        }
    }

    fn look_up(&mut self, substitution: &'a Substitution) -> Result<Shape<'a>, Error> {
        let Substitution { path, prefix, .. } = substitution;
        if !prefix.is_empty() {
            let full: Vec<String> = prefix.iter().chain(path).cloned().collect();
            match self.look_up_path(&full)? {
                Shape::Undefined => {}
                shape => return Ok(shape),
            }
        }
        match self.look_up_path(path)? {
            Shape::Undefined => {}
            shape => return Ok(shape),
        }
        Ok(match (self.environment)(&path.join(".")) {
            // Text that conversions may turn into another type, like unquoted text.
            Some(text) => Shape::Scalar(Scalar::Quoted(text)),
            None => Shape::Undefined,
        })
    }

    fn look_up_path(&mut self, path: &[String]) -> Result<Shape<'a>, Error> {
        let mut stack = self.root.clone();
        for key in path {
            match self.shape(&stack)? {
                Shape::Objects(objects) => stack = field(&objects, key),
                _ => return Ok(Shape::Undefined),
            }
        }
        self.shape(&stack)
    }
}

fn unresolved(substitution: &Substitution, reason: &str) -> Error {
    let mark = if substitution.optional { "?" } else { "" };
    let path = dotted(&substitution.path);
    Error::new(substitution.at.clone(), format!("${{{mark}{path}}} {reason}"))
}

fn reason(path: &[String], circle: bool) -> &'static str {
    const PROPERTIES: [&str; 8] = ["java", "user", "os", "file", "line", "path", "sun", "jdk"];
    if circle {
        "refers to itself, and there is no earlier value"
    } else if path.len() > 1 && path.first().is_some_and(|p| PROPERTIES.contains(&p.as_str())) {
        "is a Java system property, which only a JVM has: write the value itself"
    } else {
        "is set neither in the file nor in the environment"
    }
}

enum Part<'a> {
    Space(&'a str),
    Shape(Shape<'a>),
}

/// Joins the parts of a value: all simple values, all arrays or all objects.
fn join(mut parts: Vec<Part<'_>>) -> Result<Shape<'_>, String> {
    if let [Part::Shape(_)] = parts.as_slice()
        && let Some(Part::Shape(shape)) = parts.pop()
    {
        return Ok(shape);
    }
    let (mut scalars, mut arrays, mut objects) = (false, false, false);
    for part in &parts {
        match part {
            Part::Shape(Shape::Scalar(_)) => scalars = true,
            Part::Shape(Shape::Array(_)) => arrays = true,
            Part::Shape(Shape::Objects(_)) => objects = true,
            Part::Space(_) | Part::Shape(Shape::Undefined) => {}
        }
    }
    match (scalars, arrays, objects) {
        (false, false, false) => Ok(Shape::Undefined),
        (true, false, false) => join_text(&parts),
        (false, false, true) => {
            Ok(Shape::Objects(parts.into_iter().flat_map(objects_of).collect()))
        }
        (false, true, _) => join_arrays(parts),
        (true, ..) => Err("text and a list or table cannot be joined into one value".to_owned()),
    }
}

fn join_text<'a>(parts: &[Part<'a>]) -> Result<Shape<'a>, String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Space(space) => text.push_str(space),
            Part::Shape(Shape::Scalar(scalar)) => text.push_str(scalar.text()),
            Part::Shape(_) => {}
        }
        if text.len() as u64 > MAX_BYTES {
            return Err("the joined text is larger than 1 MiB".to_owned());
        }
    }
    Ok(Shape::Scalar(Scalar::Quoted(text)))
}

fn objects_of<'a>(part: Part<'a>) -> Vec<&'a Object> {
    match part {
        Part::Shape(Shape::Objects(objects)) => objects,
        _ => Vec::new(),
    }
}

fn join_arrays(parts: Vec<Part<'_>>) -> Result<Shape<'_>, String> {
    let mut elements = Vec::new();
    for part in parts {
        match part {
            Part::Shape(Shape::Array(more)) => elements.extend(more),
            Part::Shape(Shape::Objects(objects)) => elements.extend(numbered(&objects)?),
            _ => {}
        }
    }
    Ok(Shape::Array(elements))
}

/// Returns the elements of an object whose keys are numbers (HOCON.md, "Conversion of
/// numerically-indexed objects to arrays").
fn numbered<'a>(objects: &[&'a Object]) -> Result<Vec<Stack<'a>>, String> {
    let by_number: BTreeMap<u32, Stack<'a>> = all_fields(objects)
        .into_iter()
        .filter_map(|(key, stack)| Some((key.parse().ok()?, stack)))
        .collect();
    if by_number.is_empty() {
        return Err("a table and a list cannot be joined into one value".to_owned());
    }
    Ok(by_number.into_values().collect())
}

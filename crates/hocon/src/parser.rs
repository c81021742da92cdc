//! Parses text to fields.

use std::path::Path;

use crate::ast::{Entry, Object, Piece, Substitution};
use crate::cursor::{Cursor, is_space};
use crate::include::{Include, Inclusions};
use crate::path::dotted;
use crate::scalar::Scalar;
use crate::{Error, Location};

/// The maximum nesting of braces and brackets.
const MAX_DEPTH: usize = 64;

pub(crate) struct Parser<'a, 'f, 'i> {
    cursor: Cursor<'a>,
    path: &'a Path,
    inclusions: &'f mut Inclusions<'i>,
    /// The keys above the current place, from the root of all files.
    scope: Vec<String>,
    /// The length of the part of the scope that belongs to the including files.
    prefix: usize,
    depth: usize,
}

impl<'a, 'f, 'i> Parser<'a, 'f, 'i> {
    /// Creates a parser of the file at `path`, which is included below `scope`.
    pub(crate) fn new(
        text: &'a str,
        path: &'a Path,
        scope: Vec<String>,
        inclusions: &'f mut Inclusions<'i>,
    ) -> Self {
        let cursor = Cursor::new(text, Location::file(path));
        Self { cursor, path, inclusions, prefix: scope.len(), scope, depth: 0 }
    }

    pub(crate) fn root(mut self) -> Result<Object, Error> {
        self.cursor.blank();
        if self.cursor.looking_at("[") {
            return Err(self.cursor.problem("the file contains a list, not keys and values"));
        }
        let object = if self.cursor.take("{") {
            let object = self.fields(true)?;
            self.cursor.blank();
            object
        } else {
            self.fields(false)?
        };
        match self.cursor.peek() {
            None => Ok(object),
            Some(c) => Err(self.cursor.problem(format!("there is an extra `{c}`"))),
        }
    }

    /// Parses fields up to the closing brace, which is taken, or to the end of the file.
    fn fields(&mut self, braced: bool) -> Result<Object, Error> {
        self.descend()?;
        let mut object = Object::default();
        loop {
            self.cursor.blank();
            match self.cursor.peek() {
                None if braced => return Err(self.cursor.problem("a `{` is not closed")),
                None => break,
                Some('}') => {
                    if braced {
                        self.cursor.next();
                    }
                    break;
                }
                Some(_) => self.field(&mut object)?,
            }
            self.separator('}')?;
        }
        self.depth = self.depth.saturating_sub(1);
        Ok(object)
    }

    fn descend(&mut self) -> Result<(), Error> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(self.cursor.problem("too deeply nested"));
        }
        Ok(())
    }

    /// Takes what separates two fields or elements: a comma, a newline, or both.
    fn separator(&mut self, end: char) -> Result<(), Error> {
        let newline = self.cursor.blank();
        if self.cursor.take(",") {
            self.cursor.blank();
            if self.cursor.looking_at(",") {
                return Err(self.cursor.problem("two commas in a row"));
            }
            return Ok(());
        }
        match self.cursor.peek() {
            None => Ok(()),
            Some(c) if newline || c == end => Ok(()),
            Some(c) => Err(self.cursor.reserved(c)),
        }
    }

    fn field(&mut self, object: &mut Object) -> Result<(), Error> {
        if self.cursor.looking_at("include") && self.cursor.after(7, ends_include) {
            return self.include(object);
        }
        let at = self.cursor.here();
        let key = self.key()?;
        let scope = self.scope.len();
        if scope.saturating_add(key.len()) > MAX_DEPTH {
            return Err(self.cursor.problem("too deeply nested"));
        }
        self.scope.extend(key.iter().cloned());
        let value = self.field_value(&at, &key);
        self.scope.truncate(scope);
        let pieces = value?;
        let inclusions = &mut self.inclusions;
        let entry = Entry { at, id: inclusions.next_id(), pieces };
        object.insert(&key, entry, &mut || inclusions.next_id());
        Ok(())
    }

    fn field_value(&mut self, at: &Location, key: &[String]) -> Result<Vec<Piece>, Error> {
        self.cursor.blank();
        let append = self.cursor.take("+=");
        if !append && !self.cursor.take(":") && !self.cursor.take("=") {
            if !self.cursor.looking_at("{") {
                let message = format!("a `=` is missing after the key `{}`", dotted(key));
                return Err(self.cursor.problem(message).at(at.clone()));
            }
        } else {
            self.cursor.blank();
        }
        let pieces = self.value()?;
        if pieces.is_empty() {
            let message = format!("the key `{}` has no value", dotted(key));
            return Err(self.cursor.problem(message).at(at.clone()));
        }
        if !append {
            return Ok(pieces);
        }
        let id = self.inclusions.next_id();
        Ok(vec![Piece::Before, Piece::Array(vec![Entry { at: at.clone(), id, pieces }])])
    }

    fn include(&mut self, object: &mut Object) -> Result<(), Error> {
        let at = self.cursor.here();
        self.cursor.take("include");
        let include = Include::parse(&mut self.cursor)?;
        object.include(self.inclusions.include(&include, &at, self.path, &self.scope)?);
        Ok(())
    }

    /// Parses a key: a path expression, up to its separator.
    fn key(&mut self) -> Result<Vec<String>, Error> {
        let key = self.path_expression()?;
        match key {
            Some(key) => Ok(key),
            None => Err(match self.cursor.peek() {
                Some(c) => self.cursor.reserved(c),
                None => self.cursor.problem("a key is missing"),
            }),
        }
    }

    /// Parses a path expression. Returns `None` if none starts here.
    fn path_expression(&mut self) -> Result<Option<Vec<String>>, Error> {
        // Each element, and whether a part of it was quoted: only then may it be empty.
        let mut elements = vec![(String::new(), false)];
        let mut space = "";
        let mut any = false;
        loop {
            let quoted = self.cursor.quoted()?;
            let text = if quoted.is_none() { self.cursor.unquoted()? } else { "" };
            if quoted.is_none() && text.is_empty() {
                break;
            }
            // White space counts only between two pieces.
            if any && let Some(last) = elements.last_mut() {
                last.0.push_str(space);
            }
            any = true;
            if let (Some(quoted), Some(last)) = (quoted, elements.last_mut()) {
                last.0.push_str(&quoted);
                last.1 = true;
            }
            for (i, part) in text.split('.').enumerate() {
                if i > 0 {
                    elements.push((String::new(), false));
                }
                if let Some(last) = elements.last_mut() {
                    last.0.push_str(part);
                }
            }
            space = self.cursor.spaces();
        }
        if any && elements.iter().any(|(text, quoted)| text.is_empty() && !quoted) {
            return Err(self
                .cursor
                .problem("a key starts or ends with a dot, or has two dots in a row"));
        }
        Ok(any.then(|| elements.into_iter().map(|(text, _)| text).collect()))
    }

    /// Parses a value concatenation. It ends at the end of the line, a comma, or a closing bracket.
    fn value(&mut self) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        loop {
            let space = self.cursor.spaces();
            let Some(piece) = self.piece()? else { return Ok(join_unquoted(pieces)) };
            if !space.is_empty() && !pieces.is_empty() {
                pieces.push(Piece::Space(space.to_owned()));
            }
            pieces.push(piece);
        }
    }

    fn piece(&mut self) -> Result<Option<Piece>, Error> {
        if let Some(text) = self.cursor.quoted()? {
            return Ok(Some(Piece::Scalar(Scalar::Quoted(text))));
        }
        if self.cursor.take("${") {
            return self.substitution().map(|s| Some(Piece::Substitution(s)));
        }
        if self.cursor.take("{") {
            return self.fields(true).map(|o| Some(Piece::Object(o)));
        }
        if self.cursor.take("[") {
            return self.elements().map(|e| Some(Piece::Array(e)));
        }
        let text = self.cursor.unquoted()?;
        if !text.is_empty() {
            return Ok(Some(Piece::Scalar(Scalar::Unquoted(text.to_owned()))));
        }
        match self.cursor.peek() {
            None | Some('\n' | ',' | '}' | ']' | '#' | '/') => Ok(None),
            Some(c) => Err(self.cursor.reserved(c)),
        }
    }

    fn substitution(&mut self) -> Result<Substitution, Error> {
        let at = self.cursor.here();
        let optional = self.cursor.take("?");
        self.cursor.spaces();
        let path = self.path_expression()?;
        match (path, self.cursor.peek()) {
            (Some(path), Some('}')) => {
                self.cursor.next();
                let prefix = self.scope.iter().take(self.prefix).cloned().collect();
                Ok(Substitution { at, path, prefix, optional })
            }
            (_, Some(c)) if c != '\n' && c != '}' => Err(self.cursor.reserved(c)),
            (None, Some('}')) => Err(self.cursor.problem("a substitution has no path")),
            _ => Err(self.cursor.problem("a substitution has no `}`").at(at)),
        }
    }

    /// Parses elements up to the closing bracket, which is taken.
    fn elements(&mut self) -> Result<Vec<Entry>, Error> {
        self.descend()?;
        let mut elements = Vec::new();
        loop {
            self.cursor.blank();
            match self.cursor.peek() {
                None => return Err(self.cursor.problem("a `[` is not closed")),
                Some(']') => break,
                Some(_) => {}
            }
            let at = self.cursor.here();
            let pieces = self.value()?;
            if pieces.is_empty() {
                let c = self.cursor.peek().unwrap_or(',');
                return Err(self.cursor.reserved(c));
            }
            elements.push(Entry { at, id: self.inclusions.next_id(), pieces });
            self.separator(']')?;
        }
        self.cursor.next();
        self.depth = self.depth.saturating_sub(1);
        Ok(elements)
    }
}

/// Returns whether `c` after `include` ends the word.
fn ends_include(c: char) -> bool {
    is_space(c) || c == '"'
}

/// Joins adjacent unquoted text without white space: it is one word, split where a number ended.
fn join_unquoted(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (
                Some(Piece::Scalar(Scalar::Unquoted(last))),
                Piece::Scalar(Scalar::Unquoted(next)),
            ) => {
                last.push_str(&next);
            }
            (_, piece) => joined.push(piece),
        }
    }
    joined
}

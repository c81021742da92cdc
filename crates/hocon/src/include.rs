//! Includes.

use std::path::{Path, PathBuf};

use crate::ast::Object;
use crate::cursor::Cursor;
use crate::files::{MAX_BYTES, TOO_LARGE};
use crate::parser::Parser;
use crate::{Error, Includer, Location, Warning};

/// The maximum number of included files, counting each inclusion.
const MAX_FILES: usize = 256;

/// The maximum depth of includes.
const MAX_DEPTH: usize = 16;

/// The files that are read together.
pub(crate) struct Inclusions<'i> {
    pub(crate) warnings: Vec<Warning>,
    /// `None` if no file may be included.
    includer: Option<&'i dyn Includer>,
    /// The identities of the files being parsed, each included by the one before.
    chain: Vec<PathBuf>,
    count: usize,
    ids: usize,
}

/// What an `include` names.
pub(crate) struct Include {
    name: String,
    how: How,
    required: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// A bare name: a file next to the including one.
    Beside,
    File,
    Url,
    Classpath,
}

impl Include {
    /// Parses what follows the word `include`.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        cursor.blank();
        let required = open(cursor, "required");
        let hows = [("file", How::File), ("url", How::Url), ("classpath", How::Classpath)];
        let how = hows.into_iter().find(|(word, _)| open(cursor, word)).map(|(_, how)| how);
        let Some(name) = cursor.quoted()? else {
            return Err(cursor
                .problem("`include` needs a quoted name, alone or in file(...) or required(...)"));
        };
        for _ in [required, how.is_some()].into_iter().filter(|opened| *opened) {
            cursor.blank();
            if !cursor.take(")") {
                return Err(cursor.problem("a `)` is missing after the include"));
            }
        }
        Ok(Self { name, how: how.unwrap_or(How::Beside), required })
    }

    /// Returns why the include cannot be followed, or `None` if it can.
    fn refusal(&self) -> Option<String> {
        let name = &self.name;
        let scheme = name.split_once("://").or_else(|| name.split_once(":/")).map(|(s, _)| s);
        let is_url = self.how == How::Url
            || (self.how == How::Beside && scheme.is_some_and(|s| s.len() > 1));
        if is_url {
            Some(format!("include of the URL \"{name}\": only files can be included"))
        } else if self.how == How::Classpath {
            Some(format!(
                "include of \"{name}\" from the classpath, which only a JVM has: only files can \
                 be included"
            ))
        } else if extension(Path::new(name)) == "properties" {
            Some(format!("include of \"{name}\": Java properties files are not supported"))
        } else {
            None
        }
    }

    /// Returns the files to read, in this order.
    fn candidates(&self, from: &Path) -> Vec<PathBuf> {
        let name = PathBuf::from(&self.name);
        if self.how == How::File {
            // By the specification, relative to the working folder, unlike a bare name.
            return vec![name];
        }
        let beside = from.parent().unwrap_or(Path::new("")).join(name);
        if matches!(extension(&beside).as_str(), "conf" | "json") {
            return vec![beside];
        }
        // A name without a known extension means all existing files, .conf last so that it wins.
        ["properties", "json", "conf"].map(|extension| with_suffix(&beside, extension)).to_vec()
    }
}

/// Takes `word(` if it is next, and returns whether it was.
fn open(cursor: &mut Cursor<'_>, word: &str) -> bool {
    let is_word = cursor.looking_at(word) && cursor.after(word.len(), |c| c == '(');
    if is_word {
        cursor.take(word);
        cursor.take("(");
        cursor.blank();
    }
    is_word
}

fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

impl<'i> Inclusions<'i> {
    pub(crate) const fn new(includer: Option<&'i dyn Includer>) -> Self {
        Self { warnings: Vec::new(), includer, chain: Vec::new(), count: 0, ids: 0 }
    }

    pub(crate) fn next_id(&mut self) -> usize {
        self.ids = self.ids.saturating_add(1);
        self.ids
    }

    /// Parses the file at `path`, whose text is `text`, and everything that it includes.
    pub(crate) fn parse_root(&mut self, text: &str, path: &Path) -> Result<Object, Error> {
        self.chain.extend(self.includer.map(|includer| includer.identity(path)));
        let object = Parser::new(text, path, Vec::new(), self).root();
        self.chain.clear();
        object
    }

    /// Parses the files of `include`, at `at` in the file `from` below the keys `scope`.
    pub(crate) fn include(
        &mut self,
        include: &Include,
        at: &Location,
        from: &Path,
        scope: &[String],
    ) -> Result<Object, Error> {
        if let Some(message) = include.refusal() {
            return Ok(refused(message, at));
        }
        let Some(includer) = self.includer else {
            let message = format!("include of \"{}\": includes are not allowed here", include.name);
            return Ok(refused(message, at));
        };
        let mut object = Object::default();
        let mut found = false;
        for path in include.candidates(from) {
            let text = includer.read(&path).map_err(|error| unreadable(&error, at))?;
            if let Some(text) = text {
                found = true;
                object.include(self.included(includer, &text, &path, at, scope)?);
            }
        }
        if !found {
            let message = format!("the included file \"{}\" does not exist", include.name);
            if include.required {
                return Err(Error::new(at.clone(), message));
            }
            self.warnings.push(Warning { location: at.clone(), message });
        }
        Ok(object)
    }

    fn included(
        &mut self,
        includer: &dyn Includer,
        text: &str,
        path: &Path,
        at: &Location,
        scope: &[String],
    ) -> Result<Object, Error> {
        let refuse = |message: String| Err(Error::new(at.clone(), message));
        if extension(path) == "properties" {
            let name = path.display();
            return refuse(format!(
                "include of \"{name}\": Java properties files are not supported"
            ));
        }
        self.count = self.count.saturating_add(1);
        if self.count > MAX_FILES || self.chain.len() > MAX_DEPTH {
            return refuse("too many includes, or includes nested too deeply".to_owned());
        }
        if text.len() as u64 > MAX_BYTES {
            return Err(unreadable(&Error::new(Location::file(path), TOO_LARGE), at));
        }
        let identity = includer.identity(path);
        if self.chain.contains(&identity) {
            return refuse(format!(
                "\"{}\" includes itself, directly or through other files",
                path.display()
            ));
        }
        self.chain.push(identity);
        let object = Parser::new(text, path, scope.to_vec(), self).root();
        self.chain.pop();
        object
    }
}

/// Returns an object that is an error only if it is resolved.
fn refused(message: String, at: &Location) -> Object {
    Object { refused: Some(Error::new(at.clone(), message)), ..Object::default() }
}

fn unreadable(error: &Error, at: &Location) -> Error {
    Error::new(at.clone(), format!("the included file {error}"))
}

//! Includes.

use std::path::{Path, PathBuf};

use super::ast::Object;
use super::cursor::Cursor;
use super::parser::Parser;
use crate::source::{self, Unreadable};
use crate::{Location, Problem};

/// The maximum number of included files, counting each inclusion.
const MAX_FILES: usize = 256;

/// The maximum depth of includes.
const MAX_DEPTH: usize = 16;

/// The files that are read together.
#[derive(Default)]
pub(super) struct Files {
    pub(super) warnings: Vec<String>,
    /// The real paths of the files being parsed, each included by the one before.
    chain: Vec<PathBuf>,
    count: usize,
    ids: usize,
}

/// What an `include` names.
pub(super) struct Include {
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
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Problem> {
        cursor.blank();
        let required = open(cursor, "required");
        let hows = [("file", How::File), ("url", How::Url), ("classpath", How::Classpath)];
        let how = hows.into_iter().find(|(word, _)| open(cursor, word)).map(|(_, how)| how);
        let Some(name) = cursor.quoted()? else {
            return Err(cursor
                .problem("`include` needs a quoted name, alone or in file(...) or required(...)"));
        };
        for _ in 0..usize::from(required) + usize::from(how.is_some()) {
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

impl Files {
    pub(super) fn next_id(&mut self) -> usize {
        self.ids += 1;
        self.ids
    }

    /// Parses the file at `path`, whose text is `text`, and everything that it includes.
    pub(super) fn parse_root(&mut self, text: &str, path: &Path) -> Result<Object, Problem> {
        // Text that is not a file has no real path and cannot be in a cycle.
        self.chain.extend(path.canonicalize().ok());
        let object = Parser::new(text, path, Vec::new(), self).root();
        self.chain.clear();
        object
    }

    /// Parses the files of `include`, at `at` in the file `from` below the keys `scope`.
    pub(super) fn include(
        &mut self,
        include: &Include,
        at: &Location,
        from: &Path,
        scope: &[String],
    ) -> Result<Object, Problem> {
        if let Some(message) = include.refusal() {
            let refused = Some(Problem::new(message).at(at.clone()));
            return Ok(Object { refused, ..Object::default() });
        }
        let mut object = Object::default();
        let mut found = false;
        for path in include.candidates(from) {
            match source::read(&path) {
                Ok(text) => {
                    found = true;
                    object.include(self.included(&text, &path, at, scope)?);
                }
                Err(Unreadable::Missing(_)) => {}
                Err(Unreadable::Other(problem)) => {
                    let message = format!("the included file {problem}");
                    return Err(Problem::new(message).at(at.clone()));
                }
            }
        }
        if !found {
            let message = format!("the included file \"{}\" does not exist", include.name);
            if include.required {
                return Err(Problem::new(message).at(at.clone()));
            }
            self.warnings.push(format!("{at}: {message}"));
        }
        Ok(object)
    }

    fn included(
        &mut self,
        text: &str,
        path: &Path,
        at: &Location,
        scope: &[String],
    ) -> Result<Object, Problem> {
        let refuse = |message: String| Err(Problem::new(message).at(at.clone()));
        if extension(path) == "properties" {
            let name = path.display();
            return refuse(format!(
                "include of \"{name}\": Java properties files are not supported"
            ));
        }
        self.count += 1;
        if self.count > MAX_FILES || self.chain.len() > MAX_DEPTH {
            return refuse("too many includes, or includes nested too deeply".to_owned());
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.chain.contains(&real) {
            return refuse(format!(
                "\"{}\" includes itself, directly or through other files",
                path.display()
            ));
        }
        self.chain.push(real);
        let object = Parser::new(text, path, scope.to_vec(), self).root();
        self.chain.pop();
        object
    }
}

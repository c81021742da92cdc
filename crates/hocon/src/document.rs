//! The two steps of reading a document.

use std::path::Path;

use crate::ast::{Entry, Piece};
use crate::include::Inclusions;
use crate::resolve::{ROOT, resolve};
use crate::{Error, Includer, Location, Node, Warning};

/// A parsed file with the files that it includes. Nothing is resolved yet.
#[derive(Debug)]
pub struct Document {
    root: Entry,
    warnings: Vec<Warning>,
}

/// Parses `text`, the content of the file `path`, which must not include other files.
///
/// Nothing is read from `path`; errors and locations name it. An include is refused by name, but
/// only if the object that contains it is resolved.
///
/// # Errors
/// The first violation of the syntax, with its line, or braces that are nested too deeply.
pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Document, Error> {
    document(text, path.as_ref(), None)
}

/// Parses `text`, the content of the file `path`, and the files that it includes.
///
/// `includer` reads the included files. A bare name in an include is relative to the folder of
/// `path`.
///
/// # Errors
/// As for [`parse`], also for the included files. Also a required file that does not exist, a file
/// that `includer` refuses, a file that includes itself, and too many or too large files.
pub fn parse_with(
    text: &str,
    path: impl AsRef<Path>,
    includer: &dyn Includer,
) -> Result<Document, Error> {
    document(text, path.as_ref(), Some(includer))
}

fn document(text: &str, path: &Path, includer: Option<&dyn Includer>) -> Result<Document, Error> {
    let mut inclusions = Inclusions::new(includer);
    let object = inclusions.parse_root(text, path)?;
    let root = Entry { at: Location::file(path), id: ROOT, pieces: vec![Piece::Object(object)] };
    Ok(Document { root, warnings: inclusions.warnings })
}

impl Document {
    /// Returns the warnings, in the order of the files: optional includes that do not exist.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Resolves all values, and returns the root, which is an object.
    ///
    /// `environment` returns the value of a variable or of a Java system property. It is asked for
    /// each substitution that finds nothing in the file, with the elements of the path joined by
    /// dots. Its values are text, and are never merged into the file.
    ///
    /// # Errors
    /// The first value that cannot be resolved, with its line: a substitution that finds nothing, a
    /// value that contains itself, values that cannot be joined, or a limit that is exceeded.
    pub fn resolve(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Node, Error> {
        self.resolve_only(&|_| true, environment)
    }

    /// Resolves the top-level keys for which `wanted` returns true, and leaves out all others.
    ///
    /// Substitutions still see the whole file. A problem in another key is no error unless a wanted
    /// key refers to that key.
    ///
    /// # Errors
    /// As for [`Document::resolve`].
    pub fn resolve_only(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Node, Error> {
        resolve(&self.root, wanted, environment)
    }
}

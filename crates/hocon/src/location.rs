//! Places in files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file, or a line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The file, as it was named. In HOCON it may be an included one.
    pub path: Arc<Path>,
    /// The line, counted from 1. `None` for the whole file.
    pub line: Option<usize>,
}

impl Location {
    /// Creates the location of the whole file `path`.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), line: None }
    }

    /// Returns the location of `line`, counted from 1, in the same file.
    #[must_use]
    pub fn line(&self, line: usize) -> Self {
        Self { path: Arc::clone(&self.path), line: Some(line) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

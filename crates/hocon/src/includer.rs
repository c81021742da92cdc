//! What a caller provides for includes.

use std::path::{Path, PathBuf};

use crate::Error;

/// Reads the files that a document includes.
///
/// An implementation decides which files may be read, and from where: it may refuse paths outside a
/// folder, or read from memory. [`Files`](crate::Files) reads from the file system.
pub trait Includer {
    /// Returns the text of the file `path`, or `None` if there is no such file.
    ///
    /// `path` is the name in the include, below the folder of the including file. In `file(...)` it
    /// is the name alone. An include of a name without an extension asks for each known extension.
    ///
    /// # Errors
    /// If the file exists, but cannot or must not be read. Parsing then fails at the include, even at
    /// an optional one.
    fn read(&self, path: &Path) -> Result<Option<String>, Error>;

    /// Returns the same path for every name of one file, so that a file that includes itself is
    /// found. The default returns `path`.
    fn identity(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

//! The origins of values.

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
    pub(crate) fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), line: None }
    }

    pub(crate) fn line(&self, line: usize) -> Self {
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

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A file.
    File(Location),
    /// The environment variable of this name.
    Environment(String),
    /// A flag of the command, such as `--set`.
    Flag,
}

impl From<Location> for Origin {
    fn from(location: Location) -> Self {
        Self::File(location)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(location) => write!(f, "{location}"),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// One key of the configuration, its value in force and its origin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Setting {
    /// The dotted key. An element that contains a dot is quoted: `job.labels."a.b"`.
    pub key: String,
    /// The value in force: `null` for a key that is not set, `"***"` for a secret that is set.
    pub value: serde_json::Value,
    /// Where the value comes from.
    pub origin: Origin,
}

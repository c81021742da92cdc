//! The origins of values.

use std::fmt;

use crate::Location;

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

//! Errors and warnings.

use std::fmt;

use crate::Location;

/// Why a document cannot be read.
///
/// `Display` is one line with the place and the message: `conf/x.conf:12: the key …`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// The place of the problem, in the file itself or in an included one.
    pub location: Location,
    /// What is wrong and, if known, what would be right. One line.
    pub message: String,
}

impl Error {
    /// Creates an error at `location`, for an [`Includer`](crate::Includer).
    #[must_use]
    pub fn new(location: Location, message: impl Into<String>) -> Self {
        Self { location, message: message.into() }
    }

    pub(crate) fn at(mut self, location: Location) -> Self {
        self.location = location;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

impl std::error::Error for Error {}

/// Something that is accepted, but probably not intended.
///
/// `Display` is one line with the place and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The place that the warning is about.
    pub location: Location,
    /// The message, one line.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

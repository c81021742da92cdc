//! The errors and warnings of a configuration.

use std::fmt;

use crate::Origin;

/// One problem of a configuration or a document.
///
/// `Display` is one line with the place, the key and the message: `conf/x.toml:12: job.timeout: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where the offending value comes from. `None` if the problem belongs to no place.
    pub origin: Option<Origin>,
    /// The dotted key, such as `job.kubernetes.imagePullPolicy`.
    pub key: Option<String>,
    /// What is wrong and, if known, what would be right. One line. Never contains the value of a
    /// secret.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { origin: None, key: None, message: message.into() }
    }

    /// Creates the problem that the reader of HOCON found.
    pub(crate) fn hocon(error: longshore_hocon::Error) -> Self {
        Self::new(error.message).at(error.location)
    }

    pub(crate) fn at(mut self, origin: impl Into<Origin>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    pub(crate) fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The error for an invalid configuration or document.
///
/// It lists all problems, at most [`ConfigError::LIMIT`]. `Display` prints one problem per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// How many problems are reported at once. The others appear after these are fixed.
    pub const LIMIT: usize = 10;

    /// Creates an error of at least one problem.
    fn new(mut problems: Vec<Problem>) -> Self {
        problems.truncate(Self::LIMIT);
        Self { problems }
    }

    /// Returns the problems, at least one, in the order of the layers and, within a file, of the
    /// lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// Creates an error of `problems`, in the order of the layers and of the lines.
pub(crate) fn ordered(mut problems: Vec<Problem>) -> ConfigError {
    let rank = |problem: &Problem| match &problem.origin {
        None => (0, None, None),
        Some(Origin::Default) => (1, None, None),
        Some(Origin::File(file)) => (2, Some(file.path.clone()), file.line),
        Some(Origin::Environment(_)) => (3, None, None),
        Some(Origin::Flag) => (4, None, None),
    };
    problems.sort_by_key(rank);
    ConfigError::new(problems)
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A warning about something that is accepted, but probably not intended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The message, one line.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

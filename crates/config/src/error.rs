//! What is wrong with a configuration.

use std::fmt;

use crate::Origin;

/// One thing that is wrong with a configuration or a document.
///
/// `Display` is one line: where, which key, what: `conf/x.toml:12: job.timeout: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where the offending value comes from; none if it belongs to no place (a file that is not
    /// there is named in the message).
    pub origin: Option<Origin>,
    /// The dotted key, such as `job.kubernetes.imagePullPolicy`.
    pub key: Option<String>,
    /// What is wrong and, where that can be said, what would be right. One line. Never holds the
    /// value of a secret.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { origin: None, key: None, message: message.into() }
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

/// Why a configuration or a document was not accepted: all that is wrong with it, at most
/// [`ConfigError::LIMIT`] problems.
///
/// `Display` gives one problem a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// How many problems are reported at once; what lies beyond shows when these are mended.
    pub const LIMIT: usize = 10;

    /// An error out of at least one problem.
    fn new(mut problems: Vec<Problem>) -> Self {
        problems.truncate(Self::LIMIT);
        Self { problems }
    }

    /// The problems, never none, in the order of the layers and within a file of its lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

/// An error out of `problems`, in the order of the layers and of the lines.
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

/// Something that is accepted, but probably not as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// One line.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

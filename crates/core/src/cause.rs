//! The cause of an error.

use std::error::Error as StdError;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The cause of an error. It is cheap to clone, because one failure may fail many callers.
///
/// It is serialised as its text and the texts of its own causes. When it is read again, only these
/// are left.
#[derive(Clone, Debug)]
pub struct Cause(Arc<dyn StdError + Send + Sync>);

impl Cause {
    /// Creates the cause that `error` is.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into().into())
    }

    /// Returns this cause, then what caused it, and so on.
    pub(crate) fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        successors(Some(&*self.0 as &(dyn StdError + 'static)), |&error| error.source())
    }

    /// Returns the cause with these texts, each caused by the next; `None` if there is no text.
    pub(crate) fn recorded(texts: Vec<String>) -> Option<Self> {
        let outer = |source, message| Some(Arc::new(RecordedCause { message, source }));
        texts.into_iter().rev().fold(None, outer).map(|cause| Self(cause))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.chain().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::recorded(texts).ok_or_else(|| serde::de::Error::custom("a cause without a text"))
    }
}

/// A cause of which only the text is left.
#[derive(Debug)]
struct RecordedCause {
    message: String,
    source: Option<Arc<RecordedCause>>,
}

impl fmt::Display for RecordedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for RecordedCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|cause| cause as &dyn StdError)
    }
}

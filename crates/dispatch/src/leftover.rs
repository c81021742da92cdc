//! An attempt that is left on a backend.

use longshore_core::{AttemptId, RunnerName};

/// An attempt of this installation that is left on a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftover {
    /// The runner that it is on.
    pub runner: RunnerName,
    /// The attempt.
    pub attempt: AttemptId,
    /// Why it is left over, in words for a person.
    pub why: String,
    /// What happens to it.
    pub fate: Fate,
}

/// What happens to an attempt that is left on a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It is due for removal. Only a dry run reports this.
    Remove,
    /// It was removed.
    Removed,
    /// It had no record, and is now the recorded job to which it belongs.
    Adopted,
    /// It stays: it runs or may run.
    Kept,
    /// It could not be removed, for this reason.
    Failed(String),
}

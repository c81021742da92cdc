//! An attempt that is left on a backend.

use longshore_core::{AttemptId, RunnerName};
use serde::{Deserialize, Serialize};

use crate::attempt_client::AttemptClient;

/// An attempt of this installation that is left on a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

impl Leftover {
    pub(crate) fn of(client: &AttemptClient, why: impl Into<String>, fate: Fate) -> Self {
        Self {
            runner: client.runner.name().clone(),
            attempt: client.handle.attempt.clone(),
            why: why.into(),
            fate,
        }
    }

    /// Removes the attempt of `client`.
    pub(crate) async fn removed(client: &AttemptClient, why: impl Into<String>) -> Self {
        let fate = match client.remove_once().await {
            Ok(()) => Fate::Removed,
            Err(error) => Fate::Failed(error.to_string()),
        };
        Self::of(client, why, fate)
    }
}

/// What happens to an attempt that is left on a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

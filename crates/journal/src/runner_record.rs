//! What the journal keeps about a runner.

use jiff::Timestamp;

/// A runner that was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The access to its server, as the runner names it.
    pub access: String,
    /// When the runner was ready.
    pub since: Timestamp,
}

/// A runner whose server did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The server, as the runner names it.
    pub server: String,
    /// What was seen, for a person.
    pub message: String,
    /// When it was seen.
    pub since: Timestamp,
    /// Until when no process need ask again.
    pub until: Timestamp,
}

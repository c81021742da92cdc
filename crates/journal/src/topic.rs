//! What signals are about.

use tokio::sync::watch;

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A request to end a job early was recorded.
    Cancel,
    /// A job's outcome was recorded.
    End,
    /// A job's start was recorded.
    Start,
    /// A job was released without an outcome, or a process that may have held some has ended.
    Release,
}

impl Topic {
    #[cfg(feature = "sqlite")]
    pub(crate) const ALL: [Self; 4] = [Self::Cancel, Self::End, Self::Start, Self::Release];
}

/// Those who wait for a signal in this process, by topic.
pub(crate) type Heard = [watch::Sender<()>; 4];

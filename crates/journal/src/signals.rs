//! How processes signal each other to read the journal again.
//!
//! A signal carries no other information. The journal records what has happened, so a signal that
//! arrives too early or too often loses nothing.

use tokio::sync::watch;

use crate::error::Result;
use crate::files::{FileSignals, Mailbox};
use crate::topic::{Heard, Topic};

/// The signals of one journal, to and from all processes.
#[derive(Debug)]
pub(crate) struct Signals {
    /// `None` for a journal in memory, within this process only.
    files: Option<FileSignals>,
    heard: Heard,
}

/// Signals about [`Topic::Cancel`], which every process with jobs listens to.
#[derive(Debug)]
pub(crate) enum CancelSignals {
    Mailbox(Mailbox),
    /// In memory, or on a file system without FIFOs.
    Heard(watch::Receiver<()>),
}

impl Signals {
    pub(crate) fn new(files: Option<FileSignals>) -> Self {
        Self { files, heard: Heard::default() }
    }

    /// Signals every process about `topic`.
    pub(crate) fn tell(&self, topic: Topic) -> Result<()> {
        match &self.files {
            Some(files) => files.tell(topic),
            None => {
                self.heard[topic as usize].send_replace(());
                Ok(())
            }
        }
    }

    /// Returns the signals about requests to cancel from now on. Must be called within a runtime.
    pub(crate) fn listen_for_cancels(&self) -> Result<CancelSignals> {
        match self.files.as_ref().and_then(FileSignals::mailbox) {
            Some(mailbox) => Ok(CancelSignals::Mailbox(mailbox)),
            None => self.listen(Topic::Cancel).map(CancelSignals::Heard),
        }
    }

    /// Waits for the next of `signals`.
    pub(crate) async fn next_cancel(&self, signals: &mut CancelSignals) -> Result<()> {
        let failed = match signals {
            CancelSignals::Mailbox(mailbox) => mailbox.signalled().await.is_err(),
            // The listener may have failed.
            CancelSignals::Heard(heard) => {
                // Never fails: the sender is in `self`.
                let _ = heard.changed().await;
                true
            }
        };
        if failed {
            *signals = self.listen_for_cancels()?;
        }
        Ok(())
    }

    /// Returns the signals about `topic` from now on.
    pub(crate) fn listen(&self, topic: Topic) -> Result<watch::Receiver<()>> {
        if let Some(files) = &self.files {
            files.listen(&self.heard)?;
        }
        let mut receiver = self.heard[topic as usize].subscribe();
        receiver.mark_unchanged();
        Ok(receiver)
    }
}

//! How processes signal each other to read the journal again.
//!
//! A signal carries no other information. The journal records what has happened, so a signal that
//! arrives too early or too often loses nothing.

use std::path::Path;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::watch;

use longshore_core::Cause;

use crate::error::{JournalError, Result};
use crate::folder::{Folder, touch};
use crate::linux::{Closings, Stop};
use crate::mailbox::{self, Mailbox};

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

const TOPICS: [Topic; COUNT] = [Topic::Cancel, Topic::End, Topic::Start, Topic::Release];
const COUNT: usize = 4;

/// The signals of one state directory, to and from all processes.
#[derive(Debug)]
pub(crate) struct Signals {
    /// `None` for a journal in memory, within this process only.
    folder: Option<Folder>,
    heard: [watch::Sender<()>; COUNT],
    listener: Mutex<Option<Listener>>,
}

/// A thread that listens until dropped.
#[derive(Debug)]
struct Listener {
    thread: JoinHandle<()>,
    _stop: Stop,
}

/// Signals about [`Topic::Cancel`], which every process with jobs listens to.
#[derive(Debug)]
pub(crate) enum CancelSignals {
    Mailbox(Mailbox),
    /// In memory, or on a file system without FIFOs.
    Heard(watch::Receiver<()>),
}

impl Signals {
    pub(crate) fn new(folder: Option<Folder>) -> Self {
        Self { folder, heard: Default::default(), listener: Mutex::default() }
    }

    /// Signals every process about `topic`.
    pub(crate) fn tell(&self, topic: Topic) -> Result<()> {
        let Some(folder) = &self.folder else {
            self.heard[topic as usize].send_replace(());
            return Ok(());
        };
        let path = path(folder, topic);
        touch(path).map_err(|error| JournalError::file(path, error))?;
        if topic == Topic::Cancel {
            let mailboxes = &folder.mailboxes;
            mailbox::signal_all(mailboxes).map_err(|error| JournalError::file(mailboxes, error))?;
        }
        Ok(())
    }

    /// Returns the signals about requests to cancel from now on. Must be called within a runtime.
    pub(crate) fn listen_for_cancels(&self) -> Result<CancelSignals> {
        if let Some(folder) = &self.folder {
            match Mailbox::open(&folder.mailboxes) {
                Ok(mailbox) => return Ok(CancelSignals::Mailbox(mailbox)),
                Err(error) => tracing::debug!(%error, "no mailbox, watching the file of cancels"),
            }
        }
        self.listen(Topic::Cancel).map(CancelSignals::Heard)
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
        if let Some(folder) = &self.folder {
            self.start(folder).map_err(|error| JournalError::Io {
                path: folder.locks.clone(),
                source: Cause::new(error),
            })?;
        }
        let mut receiver = self.heard[topic as usize].subscribe();
        receiver.mark_unchanged();
        Ok(receiver)
    }

    /// Starts the one listener of this journal, unless it already runs.
    fn start(&self, folder: &Folder) -> std::io::Result<()> {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_some_and(|listener| !listener.thread.is_finished()) {
            return Ok(());
        }
        let (closings, stop) = Closings::watch(&TOPICS.map(|topic| path(folder, topic)))?;
        let heard = self.heard.clone();
        let thread = std::thread::Builder::new()
            .name("longshore-journal-listen".to_owned())
            .spawn(move || listen(&closings, &heard))?;
        *listener = Some(Listener { thread, _stop: stop });
        Ok(())
    }
}

fn path(folder: &Folder, topic: Topic) -> &Path {
    match topic {
        Topic::Cancel => &folder.cancels,
        Topic::End => &folder.ends,
        Topic::Start => &folder.starts,
        // The system closes this file when a process dies.
        Topic::Release => &folder.locks,
    }
}

fn listen(closings: &Closings, heard: &[watch::Sender<()>; COUNT]) {
    let error = loop {
        match closings.next() {
            Ok(Some(closed)) => {
                for (sender, _) in heard.iter().zip(closed).filter(|(_, closed)| *closed) {
                    sender.send_replace(());
                }
            }
            Ok(None) => return,
            Err(error) => break error,
        }
    };
    tracing::warn!(%error, "failed to listen to other processes");
    // Every receiver reads the journal once more. The next call to `listen` starts a new listener.
    for sender in heard {
        sender.send_replace(());
    }
}

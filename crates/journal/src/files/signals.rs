//! Signals to and from all processes with the same state directory.

use std::path::Path;
use std::thread::JoinHandle;

use longshore_core::Cause;
use parking_lot::Mutex;

use super::folder::{Folder, touch};
use super::linux::{Closings, Stop};
use super::mailbox::{self, Mailbox};
use crate::error::{JournalError, Result};
use crate::topic::{Heard, Topic};

/// The signals of one state directory.
#[derive(Debug)]
pub(crate) struct FileSignals {
    folder: Folder,
    listener: Mutex<Option<Listener>>,
}

/// A thread that listens until dropped.
#[derive(Debug)]
struct Listener {
    thread: JoinHandle<()>,
    _stop: Stop,
}

impl FileSignals {
    pub(crate) fn new(folder: Folder) -> Self {
        Self { folder, listener: Mutex::default() }
    }

    /// Signals every process about `topic`.
    pub(crate) fn tell(&self, topic: Topic) -> Result<()> {
        let path = path(&self.folder, topic);
        touch(path).map_err(|error| JournalError::file(path, error))?;
        if topic == Topic::Cancel {
            let mailboxes = &self.folder.mailboxes;
            mailbox::signal_all(mailboxes).map_err(|error| JournalError::file(mailboxes, error))?;
        }
        Ok(())
    }

    /// Returns a mailbox for [`Topic::Cancel`], or `None` on a file system without FIFOs. Must be
    /// called within a runtime.
    pub(crate) fn mailbox(&self) -> Option<Mailbox> {
        Mailbox::open(&self.folder.mailboxes)
            .inspect_err(
                |error| tracing::debug!(%error, "no mailbox, watching the file of cancels"),
            )
            .ok()
    }

    /// Starts the one listener of this journal, unless it already runs.
    pub(crate) fn listen(&self, heard: &Heard) -> Result<()> {
        self.start(heard).map_err(|error| JournalError::Io {
            path: self.folder.locks.clone(),
            source: Cause::new(error),
        })
    }

    fn start(&self, heard: &Heard) -> std::io::Result<()> {
        let mut listener = self.listener.lock();
        if listener.as_ref().is_some_and(|listener| !listener.thread.is_finished()) {
            return Ok(());
        }
        let (closings, stop) = Closings::watch(&Topic::ALL.map(|topic| path(&self.folder, topic)))?;
        let heard = heard.clone();
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

fn listen(closings: &Closings, heard: &Heard) {
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

//! The files of a state directory, with which processes share a journal.

mod folder;
mod linux;
mod locks;
mod mailbox;
mod reserve;
mod signals;

pub(crate) use folder::Folder;
pub(crate) use locks::FileLocks;
pub(crate) use mailbox::Mailbox;
pub(crate) use reserve::Reserve;
pub(crate) use signals::FileSignals;

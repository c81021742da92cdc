//! Types without values, in place of the files of a state directory where no store uses any.

use std::io;
use std::path::Path;

use longshore_core::JobId;

use crate::error::Result;
use crate::topic::{Heard, Topic};

#[derive(Debug)]
pub(crate) enum Folder {}

impl Folder {
    pub(crate) fn database(&self) -> &Path {
        match *self {}
    }

    pub(crate) fn locks(&self) -> &Path {
        match *self {}
    }

    pub(crate) fn is_incomplete(&self) -> bool {
        match *self {}
    }

    pub(crate) fn complete(&self) -> Result<()> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum FileLocks {}

impl FileLocks {
    pub(crate) fn try_lock(&self, _: &JobId) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn is_locked(&self, _: &JobId) -> io::Result<bool> {
        match *self {}
    }

    pub(crate) fn unlock(&self, _: &JobId) -> io::Result<()> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum FileSignals {}

impl FileSignals {
    pub(crate) fn tell(&self, _: Topic) -> Result<()> {
        match *self {}
    }

    pub(crate) fn mailbox(&self) -> Option<Mailbox> {
        match *self {}
    }

    pub(crate) fn listen(&self, _: &Heard) -> Result<()> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum Mailbox {}

impl Mailbox {
    #[expect(clippy::unused_async, reason = "the one in a file waits")]
    pub(crate) async fn signalled(&self) -> io::Result<()> {
        match *self {}
    }
}

//! The stdin of a job.

use std::io;
use std::sync::Arc;

use longshore_core::{Error, ErrorKind, JobStdin, Result};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, copy, duplex, sink};
use tokio::process::ChildStdin;
use tokio::sync::watch;

use super::Flaw::{self, *};

/// More than the first piece of what is written, and less than all of it.
const CUT: u64 = 100_000;

/// The stdin of one job.
#[derive(Debug)]
pub(super) struct Stdin {
    /// `None` once it is open, or if the job has none.
    pipe: Mutex<Option<ChildStdin>>,
    progress: watch::Sender<Progress>,
    flaw: Option<Flaw>,
}

/// What has happened to a job's stdin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Untouched,
    Opened,
    Closed,
}

impl Stdin {
    pub(super) fn new(pipe: Option<ChildStdin>, flaw: Option<Flaw>) -> Arc<Self> {
        let progress = watch::Sender::new(Progress::Untouched);
        Arc::new(Self { pipe: Mutex::new(pipe), progress, flaw })
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn open(self: &Arc<Self>, has_ended: bool) -> Result<JobStdin> {
        self.progress.send_replace(Progress::Opened);
        if has_ended && self.has(DropsWhatIsWrittenAfterTheEnd) {
            return Ok(Box::new(sink()));
        }
        let taken = self.pipe.lock().take();
        let none = || Error::new(ErrorKind::NotFound, "the job has no stdin, or it is open");
        let mut pipe = taken.ok_or_else(none)?;
        let watched = [KeepsStdinOpen, CutsItsStdin, EndsOnlyOnceItsStdinIsClosed];
        if !watched.iter().any(|flaw| self.has(*flaw)) {
            return Ok(Box::new(pipe));
        }
        let (ours, theirs) = duplex(64 << 10);
        let stdin = Arc::clone(self);
        tokio::spawn(async move {
            let limit = if stdin.has(CutsItsStdin) { CUT } else { u64::MAX };
            let mut taken = theirs.take(limit);
            copy(&mut taken, &mut pipe).await?;
            copy(&mut taken.into_inner(), &mut sink()).await?;
            stdin.progress.send_replace(Progress::Closed);
            if stdin.has(KeepsStdinOpen) {
                *stdin.pipe.lock() = Some(pipe);
            }
            io::Result::Ok(())
        });
        Ok(Box::new(ours))
    }

    /// Returns when the end of the job may be reported.
    pub(super) async fn lets_it_end(&self) {
        let wanted = match self.flaw {
            Some(EndsOnlyOnceItsStdinIsOpened) => Progress::Opened,
            Some(EndsOnlyOnceItsStdinIsClosed) => Progress::Closed,
            _ => return,
        };
        // The sender is in `self`.
        let _ = self.progress.subscribe().wait_for(|progress| *progress >= wanted).await;
    }
}

//! When the supervisors of this process are done with their jobs. A follower in the same process then
//! sees the end of the job at once, and needs no notification of the file system.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The attempts whose supervisors report to this process, by directory. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Releases(Arc<Mutex<HashMap<PathBuf, watch::Receiver<()>>>>);

/// A supervisor with a job. Dropped once it has no job any more, or is gone.
#[derive(Debug)]
pub(crate) struct Occupied {
    releases: Releases,
    directory: PathBuf,
    /// Dropped last, which wakes those that wait for it.
    _released: watch::Sender<()>,
}

impl Releases {
    /// Declares that a supervisor has the job of the attempt in `directory`.
    pub(crate) fn occupy(&self, directory: &Path) -> Occupied {
        let (released, receiver) = watch::channel(());
        let directory = directory.to_owned();
        self.0.lock().insert(directory.clone(), receiver);
        Occupied { releases: self.clone(), directory, _released: released }
    }

    /// Returns what ends once the supervisor of the attempt in `directory` has no job any more, or is
    /// gone. Returns `None` if no supervisor of this process has that job.
    pub(crate) fn of(&self, directory: &Path) -> Option<impl Future<Output = ()> + use<>> {
        let mut receiver = self.0.lock().get(directory)?.clone();
        // Nothing is ever sent: it fails when the sender is dropped.
        Some(async move { drop(receiver.changed().await) })
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.releases.0.lock().remove(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;
    use longshore_core::{Outcome, Report};

    use crate::follow::{AttemptState, Follower};
    use crate::linux::ProcessIdentity;
    use crate::location::Location;
    use crate::record::{End, Entry, Starting};
    use crate::watch::{Kind, Watcher};

    #[tokio::test]
    async fn the_end_of_a_job_is_seen_at_its_supervisors_release_and_not_at_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let (location, watcher) = (Location::at(folder.path().join("a")), Watcher::default());
        let occupied = watcher.releases.occupy(location.directory());
        let mut follower = Follower::new(location, watcher, Kind::Record);
        let mut changed = pin!(follower.changed());
        assert!(poll!(&mut changed).is_pending());
        drop(occupied);
        assert!(poll!(&mut changed).is_ready());
    }

    #[tokio::test]
    async fn the_end_of_a_job_is_reported_once_its_supervisor_is_free_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (location, watcher) = (Location::at(folder.path().join("a")), Watcher::default());
        let starting = Starting::for_tests(ProcessIdentity::for_tests(1));
        location.commit(&Entry::Starting(starting), false).unwrap().unwrap();
        let outcome = Outcome::Exited { code: 3, signal: None };
        location.append(&Entry::Ended(End::new(Report::new(outcome)))).unwrap();

        let occupied = watcher.releases.occupy(location.directory());
        let mut follower = Follower::new(location, watcher, Kind::Record);
        let mut state = pin!(follower.state());
        assert!(poll!(&mut state).is_pending());
        drop(occupied);
        assert!(matches!(state.await, Ok(AttemptState::Ended(..))));
    }
}

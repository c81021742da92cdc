//! One lock per job: only its holder writes the job's record.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use longshore_core::JobId;
use parking_lot::{Mutex, MutexGuard};

use crate::files::FileLocks;

/// The locks of one state directory.
#[derive(Debug)]
pub(crate) struct Locks {
    /// `None` for locks in memory, for this process only.
    file: Option<FileLocks>,
    /// The jobs locked here. The system lets the same open file lock a range twice.
    held: Mutex<HashSet<JobId>>,
}

/// A lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    locks: Arc<Locks>,
    job: JobId,
}

impl Locks {
    pub(crate) fn new(file: Option<FileLocks>) -> Arc<Self> {
        Arc::new(Self { file, held: Mutex::default() })
    }

    /// Takes the job's lock. Returns `None` if it is already held.
    pub(crate) fn try_lock(self: &Arc<Self>, job: &JobId) -> io::Result<Option<Lock>> {
        let mut held = self.held();
        if held.contains(job) {
            return Ok(None);
        }
        if let Some(file) = &self.file
            && !file.try_lock(job)?
        {
            return Ok(None);
        }
        held.insert(job.clone());
        Ok(Some(Lock { locks: Arc::clone(self), job: job.clone() }))
    }

    /// Returns whether the job's lock is held, in this process or another.
    pub(crate) fn is_locked(&self, job: &JobId) -> io::Result<bool> {
        if self.held().contains(job) {
            return Ok(true);
        }
        self.file.as_ref().map_or(Ok(false), |file| file.is_locked(job))
    }

    fn held(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.held.lock()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut held = self.locks.held();
        if let Some(file) = &self.locks.file
            && let Err(error) = file.unlock(&self.job)
        {
            tracing::warn!(job = %self.job, %error, "failed to release a job's lock");
        }
        held.remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_on_one_file() -> (Arc<Locks>, Arc<Locks>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let path = folder.path().join("locks");
            FileLocks(std::fs::File::options().create(true).append(true).open(path).unwrap())
        };
        (Locks::new(Some(open())), Locks::new(Some(open())), folder)
    }

    #[test]
    fn a_lock_is_held_once_across_open_files_and_free_once_dropped() {
        let (here, there, _folder) = two_on_one_file();
        let (job, other) = (JobId::random(), JobId::random());
        let lock = here.try_lock(&job).unwrap().expect("it is free");
        assert!(here.try_lock(&job).unwrap().is_none());
        assert!(there.try_lock(&job).unwrap().is_none());
        assert!(here.is_locked(&job).unwrap() && there.is_locked(&job).unwrap());
        assert!(!there.is_locked(&other).unwrap());
        let second = there.try_lock(&other).unwrap().expect("it is free");
        drop(lock);
        assert!(!there.is_locked(&job).unwrap());
        assert!(there.try_lock(&job).unwrap().is_some());
        drop(second);
    }

    #[test]
    fn locks_in_memory_are_held_once() {
        let locks = Locks::new(None);
        let job = JobId::random();
        let lock = locks.try_lock(&job).unwrap().expect("it is free");
        assert!(locks.try_lock(&job).unwrap().is_none() && locks.is_locked(&job).unwrap());
        drop(lock);
        assert!(locks.try_lock(&job).unwrap().is_some());
    }
}

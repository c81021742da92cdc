//! Locks among all processes, as byte ranges of one file that is never removed. So a job costs no
//! descriptor and leaves no file behind, and no process locks a file that another process has just
//! replaced.

use std::fs::File;
use std::io;

use longshore_core::JobId;

use super::linux;

/// The file of locks of one state directory.
#[derive(Debug)]
pub(crate) struct FileLocks(pub(crate) File);

impl FileLocks {
    /// Takes the job's lock. Returns false if it is held elsewhere. The system lets the same open
    /// file lock a range twice.
    pub(crate) fn try_lock(&self, job: &JobId) -> io::Result<bool> {
        linux::try_lock(&self.0, offset(job))
    }

    /// Returns whether the job's lock is held elsewhere.
    pub(crate) fn is_locked(&self, job: &JobId) -> io::Result<bool> {
        linux::is_locked(&self.0, offset(job))
    }

    pub(crate) fn unlock(&self, job: &JobId) -> io::Result<()> {
        linux::unlock(&self.0, offset(job))
    }
}

/// Returns the offset of a job's lock in the file: 62 bits of a hash.
///
/// Two jobs at once are as unlikely to share an offset as two new jobs are to share an id.
fn offset(job: &JobId) -> i64 {
    let hash = hmac_sha256::Hash::hash(job.as_str().as_bytes());
    let (head, _) = hash.split_at(8);
    let number = head.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    // Without its two highest bits the number fits, with room for the range's end.
    i64::try_from(number >> 2).unwrap_or_default()
}

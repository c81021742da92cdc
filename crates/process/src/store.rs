//! The contents of the directories of attempts: `STATE/attempts/ATTEMPT/` has `record.jsonl`,
//! `stdout`, `stderr`, their times and requests to cancel. Much output is in several files
//! (`stdout.START`).
//!
//! A directory is created under another name, with its first record line in it, and then renamed.
//! The rename is the commit: rename(2) onto a directory that is not empty fails. Of all that want
//! to start or fence an attempt, in any process, exactly one therefore succeeds.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use longshore_core::LogStream;
use rustix::io::Errno;

use crate::cgroup;
use crate::location::{Location, attempts, output_name};
use crate::outcome::Cause;
use crate::record::{self, Entry, Record};

pub(crate) const RECORD: &str = "record.jsonl";
pub(crate) const CANCEL_PREFIX: &str = "cancel.";
const NEW_PREFIX: &str = ".new-";
const OLD_PREFIX: &str = ".old-";

/// The age at which [`collect_garbage`] removes a fence or a left-over directory: longer than any
/// launch takes.
const GARBAGE_AGE: Duration = Duration::from_secs(24 * 3600);

/// Whether a directory was put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    Won,
    /// Another directory was there before.
    Taken,
}

/// The files of a supervisor that is about to start a job.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) record: File,
    pub(crate) stdout: File,
    pub(crate) stderr: File,
}

impl Location {
    /// Reads the record. Returns `None` if the attempt does not exist.
    pub(crate) fn read_record(&self) -> io::Result<Option<Record>> {
        match missing_is_none(Record::read(&self.directory().join(RECORD)))? {
            // An attempt has a record from its first moment on: another program has removed it.
            None if missing_is_none(fs::metadata(self.directory()))?.is_some() => {
                Ok(Some(Record::parse(b"")))
            }
            record => Ok(record),
        }
    }

    /// Asks the supervisor that the record names to check for requests.
    pub(crate) fn nudge_supervisor(&self) -> io::Result<()> {
        let starting = self.read_record()?.and_then(|record| record.starting);
        starting.map_or(Ok(()), |starting| starting.supervisor.nudge())
    }

    /// Takes the location for a job that is then started.
    pub(crate) fn commit(&self, entry: &Entry, fsync: bool) -> io::Result<Option<Files>> {
        let temporary = self.temporary(NEW_PREFIX);
        let prepared = (|| {
            let record = make_directory(&temporary, entry)?;
            let stdout = create(&temporary.join(output_name(LogStream::Stdout)))?;
            let stderr = create(&temporary.join(output_name(LogStream::Stderr)))?;
            Ok(Files { record, stdout, stderr })
        })();
        let committed = prepared.and_then(|files: Files| {
            let committed = self.take(&temporary, &files.record, fsync)?;
            Ok((committed == Committed::Won).then_some(files))
        });
        discard_unless(&temporary, matches!(committed, Ok(Some(_))));
        committed
    }

    /// Prevents the attempt from ever being started, unless it already was.
    pub(crate) fn fence(&self, fsync: bool) -> io::Result<Committed> {
        let temporary = self.temporary(NEW_PREFIX);
        let committed = make_directory(&temporary, &Entry::Fenced { at: Timestamp::now() })
            .and_then(|record| self.take(&temporary, &record, fsync));
        discard_unless(&temporary, matches!(committed, Ok(Committed::Won)));
        committed
    }

    fn take(&self, temporary: &Path, record: &File, fsync: bool) -> io::Result<Committed> {
        if fsync {
            record.sync_all()?;
        }
        match rustix::fs::rename(temporary, self.directory()) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Committed::Taken),
            Err(error) => return Err(error.into()),
        }
        if fsync && let Some(parent) = self.directory().parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Committed::Won)
    }

    /// Appends `entry` to the existing record.
    pub(crate) fn append(&self, entry: &Entry) -> io::Result<()> {
        record::append(&mut create(&self.directory().join(RECORD))?, entry)
    }

    /// Stores a request to end the job with `grace` between TERM and KILL. The file name contains
    /// the grace period, so that requests never overwrite each other.
    pub(crate) fn request_cancel(&self, grace: Duration, fsync: bool) -> io::Result<()> {
        let name = format!("{CANCEL_PREFIX}{}", grace.as_millis());
        let Some(file) = missing_is_none(create(&self.directory().join(name)))? else {
            return Ok(());
        };
        if fsync {
            file.sync_all()?;
            File::open(self.directory())?.sync_all()?;
        }
        Ok(())
    }

    /// Returns the shortest grace period of all requests to cancel, or `None` without a request.
    pub(crate) fn cancel_request(&self) -> io::Result<Option<Duration>> {
        let mut shortest = None;
        for entry in fs::read_dir(self.directory())? {
            let name = entry?.file_name();
            let grace = name.to_str().and_then(|name| name.strip_prefix(CANCEL_PREFIX));
            let Some(millis) = grace.and_then(|text| text.parse().ok()) else { continue };
            let grace = Duration::from_millis(millis);
            shortest = Some(shortest.map_or(grace, |s: Duration| s.min(grace)));
        }
        Ok(shortest)
    }

    /// Returns the first time at which a request to cancel wants the job killed, and its grace period.
    pub(crate) fn first_cancel(&self) -> io::Result<Option<(SystemTime, Duration)>> {
        let mut first = None;
        for entry in fs::read_dir(self.directory())? {
            let entry = entry?;
            let name = entry.file_name();
            let grace = name.to_str().and_then(|name| name.strip_prefix(CANCEL_PREFIX));
            let Some(millis) = grace.and_then(|text| text.parse().ok()) else { continue };
            let grace = Duration::from_millis(millis);
            if let Some(at) = entry.metadata()?.modified()?.checked_add(grace)
                && first.is_none_or(|(earlier, _)| at < earlier)
            {
                first = Some((at, grace));
            }
        }
        Ok(first)
    }

    /// Marks why the supervisor is killed, before it is killed.
    pub(crate) fn mark_overdue(&self, cause: Cause) -> io::Result<()> {
        create(&self.directory().join(overdue_name(cause))).map(drop)
    }

    /// Returns why the supervisor was killed, if this program killed it.
    pub(crate) fn overdue(&self) -> Option<Cause> {
        let is_marked = |cause: &Cause| self.directory().join(overdue_name(*cause)).exists();
        [Cause::Deadline, Cause::Cancel].into_iter().find(is_marked)
    }

    /// Removes the attempt: it disappears at once and is deleted afterwards.
    ///
    /// A fence stays, for [`collect_garbage`] to remove. A supervisor that received the request
    /// earlier may commit only now, even if its sender is dead, and would start the job if the
    /// fence were gone.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match self.read_record() {
            Ok(Some(record)) if record.is_fenced() => return Ok(()),
            // Those of a supervisor that was killed when its job had ended.
            Ok(Some(record)) => record.cgroups().iter().for_each(|group| cgroup::remove(group)),
            Ok(None) => {}
            // It may be a fence.
            Err(error) if is_lack(&error) => return Err(error),
            // A record that nobody can read prevents nothing.
            Err(_) => {}
        }
        self.delete()
    }

    fn delete(&self) -> io::Result<()> {
        let old = self.temporary(OLD_PREFIX);
        if missing_is_none(fs::rename(self.directory(), &old))?.is_some() {
            fs::remove_dir_all(&old)?;
        }
        Ok(())
    }

    /// Returns a unique name in the same folder as the directory.
    fn temporary(&self, prefix: &str) -> PathBuf {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = self.directory().file_name().unwrap_or_default().to_string_lossy();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // The time distinguishes a process from an earlier one with the same pid.
        let now = Timestamp::now().as_nanosecond();
        let unique = format!("{prefix}{name}-{}-{number}-{now}", std::process::id());
        self.directory().with_file_name(unique)
    }
}

const fn overdue_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Deadline => "overdue.deadline",
        Cause::Cancel => "overdue.cancel",
    }
}

/// Returns the attempts in `state_directory`, in no particular order.
pub(crate) fn list(state_directory: &Path) -> io::Result<Vec<Location>> {
    let Some(entries) = missing_is_none(fs::read_dir(attempts(state_directory)))? else {
        return Ok(Vec::new());
    };
    let mut locations = Vec::new();
    for entry in entries {
        let directory = entry?.path();
        if !is_temporary(&directory) {
            locations.push(Location::at(directory));
        }
    }
    Ok(locations)
}

/// Removes what no launch can still need: old fences, and directories whose creator died.
pub(crate) fn collect_garbage(state_directory: &Path) -> io::Result<()> {
    let Some(entries) = missing_is_none(fs::read_dir(attempts(state_directory)))? else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let directory = entry.path();
        let Ok(modified) = entry.metadata().and_then(|m| m.modified()) else { continue };
        let age = SystemTime::now().duration_since(modified).unwrap_or_default();
        if age < GARBAGE_AGE {
            continue;
        }
        let location = Location::at(directory);
        let fenced = || matches!(location.read_record(), Ok(Some(record)) if record.is_fenced());
        if is_temporary(location.directory()) {
            missing_is_none(fs::remove_dir_all(location.directory()))?;
        } else if fenced() {
            location.delete()?;
        }
    }
    Ok(())
}

fn is_temporary(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Creates the directory `path` with a record that begins with `entry`. Returns the open record.
fn make_directory(path: &Path, entry: &Entry) -> io::Result<File> {
    let mut private = DirBuilder::new();
    private.mode(0o700);
    match private.create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private.recursive(true).create(path)?;
        }
        result => result?,
    }
    let mut record = create(&path.join(RECORD))?;
    record::append(&mut record, entry)?;
    Ok(record)
}

/// Opens a private file for appending. Creates it if it does not exist.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn discard_unless(temporary: &Path, kept: bool) {
    if !kept && let Err(error) = missing_is_none(fs::remove_dir_all(temporary)) {
        // Garbage collection removes it later; the caller does not depend on it.
        tracing::debug!(path = %temporary.display(), %error, "failed to remove a directory");
    }
}

/// Whether `error` is a lack of descriptors or memory: it may pass, and says nothing about a file.
pub(crate) fn is_lack(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

pub(crate) fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::AttemptId;

    use super::*;

    fn fenced() -> Entry {
        Entry::Fenced { at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn of_many_who_want_a_place_exactly_one_gets_it() {
        let state = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let attempt: AttemptId = format!("job-{round}").parse().unwrap();
            let location = Location::new(state.path(), &attempt);
            let won = std::thread::scope(|scope| {
                let commit = || location.commit(&fenced(), false).unwrap().is_some();
                let fence = || location.fence(false).unwrap() == Committed::Won;
                let tasks = [
                    scope.spawn(commit),
                    scope.spawn(commit),
                    scope.spawn(fence),
                    scope.spawn(fence),
                ];
                tasks.into_iter().map(|task| task.join().unwrap()).filter(|won| *won).count()
            });
            assert_eq!(won, 1, "round {round}");
        }
        assert_eq!(list(state.path()).unwrap().len(), 50);
        let left = fs::read_dir(attempts(state.path())).unwrap().count();
        assert_eq!(left, 50, "the losers leave nothing behind");
    }

    #[test]
    fn the_shortest_of_several_graces_counts() {
        let state = tempfile::tempdir().unwrap();
        let location = Location::new(state.path(), &"job-1".parse().unwrap());
        location.request_cancel(Duration::from_secs(1), false).unwrap();
        location.fence(false).unwrap();
        assert_eq!(location.cancel_request().unwrap(), None);
        for millis in [5000, 20, 700] {
            location.request_cancel(Duration::from_millis(millis), false).unwrap();
        }
        assert_eq!(location.cancel_request().unwrap(), Some(Duration::from_millis(20)));
    }

    #[test]
    fn the_state_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let state = tempfile::tempdir().unwrap();
        let location = Location::new(&state.path().join("deep/er"), &"job-1".parse().unwrap());
        location.commit(&fenced(), true).unwrap().unwrap();
        for path in [state.path().join("deep"), location.directory().to_owned()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        let output = fs::metadata(location.output_from(LogStream::Stdout, 0)).unwrap();
        assert_eq!(output.permissions().mode() & 0o777, 0o600);
        location.remove().unwrap();
        assert!(
            location.read_record().unwrap().is_some(),
            "a fence stays until no launch can need it"
        );
        location.delete().unwrap();
        location.delete().unwrap();
        assert_eq!(location.read_record().unwrap(), None);
    }
}

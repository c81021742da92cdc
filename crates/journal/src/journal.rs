//! The journal.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::{SignedDuration, Timestamp};
use longshore_core::{Cause, InstallationId, JobId};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::backing::Backing;
use crate::claim::Claim;
use crate::error::{JournalError, Result};
#[cfg(feature = "sqlite")]
use crate::files::FileSignals;
use crate::files::Folder;
use crate::filter::Filter;
use crate::locks::{Lock, Locks};
use crate::memory::Memory;
use crate::record::{CancelRequest, Cancelled, NewJob, Record};
use crate::signals::{CancelSignals, Signals};
#[cfg(feature = "sqlite")]
use crate::sqlite::{Database, Worker};
use crate::store::{Inserted, Store, resolve};
use crate::topic::Topic;

/// How many records a sweep reads at once.
const SWEEP: u32 = 256;
/// The first pause before a lock is checked again, and how many checks to make.
///
/// The system reports that a file is closed a moment before it frees the file's locks. Each pause
/// is twice as long as the one before.
const RELEASE: (Duration, u32) = (Duration::from_millis(1), 8);

/// How a journal is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long a step waits for other processes' steps before it fails as `Busy`. Default 10 s.
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(10) }
    }
}

impl Options {
    /// Sets how long a step waits for other processes.
    #[must_use]
    pub const fn busy_timeout(mut self, busy_timeout: Duration) -> Self {
        self.busy_timeout = busy_timeout;
        self
    }
}

/// The durable record of jobs. It is cheap to clone, and several processes may have the same journal
/// open.
///
/// What a method has written when it returns survives the death of this process (kill -9) and of all
/// other processes. It survives a power loss only from the next checkpoint on: some ten jobs
/// later, or when the last process closes the journal. After a power loss before that, the newest
/// steps may be missing, always from the end, never from the middle, and the file is intact. A power
/// loss ends local processes too. What runs elsewhere is found again on its backend by its labels.
#[derive(Clone, Debug)]
pub struct Journal(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Backing,
    pub(crate) signals: Signals,
    locks: Arc<Locks>,
    folder: Option<Folder>,
    installation: InstallationId,
}

/// The result of a submission.
#[derive(Debug)]
#[non_exhaustive]
pub enum Submitted {
    /// The job is on record and claimed.
    New(Claim),
    /// The same job was submitted before with the same idempotency key.
    Known(JobId),
}

/// The result of waiting for a job that another process may have claimed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Attended {
    /// The job has ended.
    Ended(Box<Record>),
    /// The job has not ended, and its holder is gone: it is now claimed here.
    Claimed(Claim),
}

impl Inner {
    /// Returns the path of a file of the state directory; empty in memory.
    fn path(&self, file: fn(&Folder) -> &Path) -> PathBuf {
        self.folder.as_ref().map(|folder| file(folder).to_owned()).unwrap_or_default()
    }
}

impl From<&Arc<Inner>> for Journal {
    fn from(inner: &Arc<Inner>) -> Self {
        Self(Arc::clone(inner))
    }
}

impl Journal {
    /// Opens the journal in the state directory `path`.
    ///
    /// Creates it if it does not exist (the directory with mode 0700, files with 0600), and brings
    /// an older one up to date.
    ///
    /// # Errors
    /// `NotWritable`, `DiskFull`, `Corrupt`, `Newer`, `Busy`, each with the path and what to do.
    #[cfg(feature = "sqlite")]
    pub async fn open(path: &Path, options: Options) -> Result<Self> {
        let folder = Folder::prepare(path)?;
        let locks = Locks::new(Some(folder.open_locks()?));
        let timeout = options.busy_timeout;
        let (worker, installation) = Worker::open(&folder, timeout, Database::installation).await?;
        let store = Backing::Sqlite(worker);
        let signals = Signals::new(Some(FileSignals::new(folder.clone())));
        Ok(Self(Arc::new(Inner { store, signals, locks, folder: Some(folder), installation })))
    }

    /// Creates a journal in memory, for tests and for jobs that need not survive their process.
    ///
    /// It is gone with its last clone. It uses no other thread and no clock of the runtime, so that
    /// a simulation with a seed is repeatable.
    ///
    /// # Errors
    /// None today.
    pub fn in_memory() -> Result<Self> {
        let store = Backing::Memory(Memory::default().into());
        let (signals, locks) = (Signals::new(None), Locks::new(None));
        let installation = InstallationId::random();
        Ok(Self(Arc::new(Inner { store, signals, locks, folder: None, installation })))
    }

    /// Returns the installation that owns this journal.
    ///
    /// It is created with the journal and is the same for all processes that open it.
    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.0.installation
    }

    /// Records a job and claims it.
    ///
    /// Of several concurrent submissions with the same idempotency key, exactly one is new.
    ///
    /// # Errors
    /// `KeyTaken` if its key was used for another job; `InvalidKey`; `JobExists` if its id was used.
    pub async fn submit(&self, job: NewJob) -> Result<Submitted> {
        let id = job.id.clone();
        // The lock precedes the record, so that no process finds the record without a holder.
        let Some(lock) = self.lock(&id)? else { return Err(JournalError::JobExists(id)) };
        let now = Timestamp::now();
        let insert =
            move |store: &mut dyn Store| store.submit(&job, now).map(|inserted| (inserted, lock));
        match self.0.store.write(insert).await? {
            (Inserted::New, lock) => Ok(Submitted::New(Claim::new(Arc::clone(&self.0), id, lock))),
            (Inserted::Known(id), _) => Ok(Submitted::Known(id)),
        }
    }

    /// Claims a job. Returns `None` if it is already claimed.
    ///
    /// # Errors
    /// `NoSuchJob`.
    pub async fn claim(&self, job: &JobId) -> Result<Option<Claim>> {
        let Some(lock) = self.lock(job)? else { return Ok(None) };
        let id = job.clone();
        // The record is looked up under the lock, because it is deleted only under the lock.
        if !self.0.store.read(move |store| store.exists(&id)).await? {
            return Err(JournalError::NoSuchJob(job.to_string()));
        }
        Ok(Some(Claim::new(Arc::clone(&self.0), job.clone(), lock)))
    }

    /// Claims a job that has no record, to [adopt](Claim::adopt) it. Returns `None` if the job has
    /// a record or is already claimed.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn claim_unrecorded(&self, job: &JobId) -> Result<Option<Claim>> {
        let is_recorded = || {
            let id = job.clone();
            self.0.store.read(move |store| store.exists(&id))
        };
        // Checked first, so that the lock of a recorded job is not taken even for a moment.
        if is_recorded().await? {
            return Ok(None);
        }
        let Some(lock) = self.lock(job)? else { return Ok(None) };
        if is_recorded().await? {
            return Ok(None);
        }
        Ok(Some(Claim::new(Arc::clone(&self.0), job.clone(), lock)))
    }

    /// Returns whether jobs may be without a record: an earlier database in this state directory
    /// was moved away or deleted, and [`complete`](Self::complete) has not been called since.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.0.folder.as_ref().is_some_and(Folder::is_incomplete)
    }

    /// Declares that every job on a backend has a record again.
    ///
    /// # Errors
    /// If the state directory cannot be written.
    pub fn complete(&self) -> Result<()> {
        self.0.folder.as_ref().map_or(Ok(()), Folder::complete)
    }

    /// Returns whether the job is claimed, in this process or another.
    ///
    /// # Errors
    /// If the system cannot report the lock.
    pub fn is_claimed(&self, job: &JobId) -> Result<bool> {
        self.0.locks.is_locked(job).map_err(|error| self.lock_failed(error))
    }

    /// Waits until a job has ended, or until its holder is gone and it is claimed here.
    ///
    /// Has no timeout of its own, and may be dropped at any time. Needs a tokio runtime.
    ///
    /// # Errors
    /// `NoSuchJob`, also if the job is forgotten meanwhile.
    pub async fn attend(&self, job: &JobId) -> Result<Attended> {
        loop {
            // Listening begins before the look, so that no later change is missed.
            let mut ends = self.0.signals.listen(Topic::End)?;
            let mut releases = self.0.signals.listen(Topic::Release)?;
            if let Some(attended) = self.look(job).await? {
                return Ok(attended);
            }
            tokio::select! {
                _ = ends.changed() => {}
                freed = self.freed(job, &mut releases) => freed?,
            }
        }
    }

    async fn look(&self, job: &JobId) -> Result<Option<Attended>> {
        let claim = self.claim(job).await?;
        let record = self.record(job).await?;
        if record.result.is_some() {
            return Ok(Some(Attended::Ended(Box::new(record))));
        }
        Ok(claim.map(Attended::Claimed))
    }

    /// Waits until the job has started, has ended, or is not claimed, and returns its record.
    ///
    /// # Errors
    /// `NoSuchJob`, also if the job is forgotten meanwhile. Also if the system cannot report
    /// changes.
    pub async fn until_begun(&self, job: &JobId) -> Result<Record> {
        loop {
            // Listening begins before the look, so that no later change is missed.
            let mut starts = self.0.signals.listen(Topic::Start)?;
            let mut ends = self.0.signals.listen(Topic::End)?;
            let mut releases = self.0.signals.listen(Topic::Release)?;
            // The claim is checked before the record is read, so that the record includes the last
            // step of a previous holder.
            let is_claimed = self.is_claimed(job)?;
            let record = self.record(job).await?;
            if !is_claimed || record.has_begun() {
                return Ok(record);
            }
            tokio::select! {
                _ = starts.changed() => {}
                _ = ends.changed() => {}
                freed = self.freed(job, &mut releases) => freed?,
            }
        }
    }

    /// Waits until the job is released.
    async fn freed(&self, job: &JobId, releases: &mut watch::Receiver<()>) -> Result<()> {
        loop {
            // Never fails: this journal holds the sender.
            let _ = releases.changed().await;
            let (mut pause, times) = RELEASE;
            for _ in 0..times {
                if !self.is_claimed(job)? {
                    return Ok(());
                }
                sleep(pause).await;
                pause *= 2;
            }
        }
    }

    /// Returns the record of the job that `text` names.
    ///
    /// `text` is the job's id, or a unique prefix of it with at least four characters.
    ///
    /// # Errors
    /// `NoSuchJob`, `PrefixTooShort`; `Ambiguous`, with the candidates.
    pub async fn get(&self, text: &str) -> Result<Record> {
        let text = text.to_owned();
        let read = move |store: &dyn Store| store.record(&resolve(store, &text)?);
        self.0.store.read(read).await
    }

    /// Returns the record of a job.
    ///
    /// # Errors
    /// `NoSuchJob`.
    pub async fn record(&self, job: &JobId) -> Result<Record> {
        let job = job.clone();
        self.0.store.read(move |store| store.record(&job)).await
    }

    /// Returns records, newest first.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Vec<Record>> {
        self.0.store.read(move |store| store.list(filter)).await
    }

    /// Returns the jobs that have not ended or may have left something on a backend, oldest first.
    ///
    /// Those that can be [claimed](Self::claim) are for recovery.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn unfinished(&self) -> Result<Vec<JobId>> {
        self.0.store.read(|store| store.unfinished()).await
    }

    /// Asks the current or next holder of the job to end it early, with `grace` between TERM and
    /// KILL.
    ///
    /// Needs no claim. A request whose grace is not shorter than an earlier one changes nothing.
    ///
    /// # Errors
    /// `NoSuchJob`. Also if the request is on record, but its holder could not be notified.
    pub async fn request_cancel(&self, job: &JobId, grace: Duration) -> Result<Cancelled> {
        let (job, now) = (job.clone(), Timestamp::now());
        let request = move |store: &mut dyn Store| store.request_cancel(&job, grace, now);
        let cancelled = self.0.store.write(request).await?;
        if cancelled == Cancelled::Noted {
            self.0.signals.tell(Topic::Cancel)?;
        }
        Ok(cancelled)
    }

    /// Adds to the job's record what its submitter could not pass on. Needs no claim.
    ///
    /// # Errors
    /// `NoSuchJob`.
    pub async fn undelivered(&self, job: &JobId, message: &str) -> Result<()> {
        let (job, message) = (job.clone(), message.to_owned());
        self.0.store.write(move |store| store.undelivered(&job, &message)).await
    }

    /// Returns the requests to end jobs early, including jobs with other holders.
    ///
    /// The stream yields first the requests on record for jobs that have not ended, then each new
    /// request. An `Err` is a hint: the stream continues after it, and does not end. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// If the system cannot report changes.
    pub fn cancels(&self) -> Result<BoxStream<'static, Result<CancelRequest>>> {
        let signals = self.0.signals.listen_for_cancels()?;
        let cancels = Cancels {
            journal: self.clone(),
            signals,
            seen: 0,
            found: VecDeque::new(),
            fresh: true,
        };
        Ok(stream::unfold(cancels, |mut cancels| async {
            let next = cancels.next().await;
            Some((next, cancels))
        })
        .boxed())
    }

    /// Forgets old jobs, and returns which ones.
    ///
    /// Forgets jobs that ended longer than `retention` before `now`, of which nothing is left on
    /// any backend, and that are not claimed.
    ///
    /// # Errors
    /// If the journal cannot be read or written. Some jobs may already have been forgotten.
    pub async fn sweep(&self, retention: Duration, now: Timestamp) -> Result<Vec<JobId>> {
        let retention = SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
        let Ok(cutoff) = now.checked_sub(retention) else { return Ok(Vec::new()) };
        let (mut forgotten, mut after) = (Vec::new(), (i64::MIN, String::new()));
        loop {
            let from = after.clone();
            let find = move |store: &dyn Store| store.finished(cutoff, &from, SWEEP);
            let (found, last) = self.0.store.read(find).await?;
            let Some(last) = last else { return Ok(forgotten) };
            after = last;
            forgotten.extend(self.forget_all(found).await?);
        }
    }

    async fn forget_all(&self, jobs: Vec<JobId>) -> Result<Vec<JobId>> {
        let mut locked = Vec::new();
        for job in jobs {
            if let Some(lock) = self.lock(&job)? {
                locked.push((job, lock));
            }
        }
        let forget = move |store: &mut dyn Store| {
            let mut forgotten = Vec::new();
            for (job, _) in &locked {
                // Another process may have swept the job before it was locked here.
                if store.forget_if_finished(job)? {
                    forgotten.push(job.clone());
                }
            }
            Ok((forgotten, locked))
        };
        let (forgotten, _) = self.0.store.write(forget).await?;
        Ok(forgotten)
    }

    /// Reads the whole file and checks it. This takes time in proportion to the file's size.
    ///
    /// # Errors
    /// `Corrupt`, with what is wrong.
    pub async fn check(&self) -> Result<()> {
        let damage = self.0.store.read(|store| store.damage()).await?;
        if damage.is_empty() {
            return Ok(());
        }
        let path = self.0.path(Folder::database);
        Err(JournalError::Corrupt { path, source: Cause::new(damage.join("; ")) })
    }

    fn lock(&self, job: &JobId) -> Result<Option<Lock>> {
        self.0.locks.try_lock(job).map_err(|error| self.lock_failed(error))
    }

    fn lock_failed(&self, error: std::io::Error) -> JournalError {
        let path = self.0.path(Folder::locks);
        JournalError::Io { path, source: Cause::new(error) }
    }
}

/// The state of a stream of requests.
struct Cancels {
    journal: Journal,
    signals: CancelSignals,
    /// The number of the last request seen.
    seen: i64,
    found: VecDeque<CancelRequest>,
    /// Whether new requests may exist since the last look.
    fresh: bool,
}

impl Cancels {
    async fn next(&mut self) -> Result<CancelRequest> {
        loop {
            if let Some(request) = self.found.pop_front() {
                return Ok(request);
            }
            if !self.fresh {
                self.journal.0.signals.next_cancel(&mut self.signals).await?;
            }
            self.fresh = false;
            let after = self.seen;
            let look = move |store: &dyn Store| store.cancels(after);
            (self.seen, self.found) = {
                let (seen, found) = self.journal.0.store.read(look).await?;
                (seen, found.into())
            };
        }
    }
}

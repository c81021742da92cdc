//! Operations on recorded jobs, whichever process submitted them.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, JobId, JobSpec};
use longshore_journal::{self as journal, Cancelled, Claim, Filter, Journal, JournalError, Record};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::Instrument;

use crate::attach::Attached;
use crate::cancel::Canceller;
use crate::candidate::Candidate;
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::input::Input;
use crate::job::{Job, JobEvents, JobLogs, State};
use crate::job_event::JobEvent;
use crate::spans;
use crate::stdin::Late;
use crate::task::{JobTask, Manner};
use crate::unrecorded::unrecorded;

impl Dispatcher {
    /// Returns the recorded job that `text` names: its id, or at least the first four characters of
    /// it.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    ///
    /// # Errors
    /// `NotFound`; `InvalidSpec` if the ids of several jobs begin with `text`.
    pub async fn record(&self, text: &str) -> Result<Record, Error> {
        Ok(self.journal().await?.get(text).await?)
    }

    /// Returns the record of a job.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn recorded(&self, job: &JobId) -> Result<Record, Error> {
        Ok(self.journal().await?.record(job).await?)
    }

    /// Returns the recorded jobs, newest first.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn records(&self, filter: Filter) -> Result<Vec<Record>, Error> {
        self.journal().await?.list(filter).await.map_err(unrecorded)
    }

    /// Whether a process owns the job, that is, launches or follows it.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    ///
    /// # Errors
    /// If the system cannot determine it.
    pub async fn is_in_hand(&self, job: &JobId) -> Result<bool, Error> {
        self.journal().await?.is_claimed(job).map_err(unrecorded)
    }

    /// Follows a job that any process submitted before, to its end.
    ///
    /// While another process owns the job, this waits for the result of that process. If that
    /// process has ended, the job is taken up. A job that has started, or may have, is settled if
    /// necessary and followed, and its outcome is recorded. A job that had not started is fenced
    /// and ends as [`Interrupted`](longshore_core::NotRunReason::Interrupted), unless it is to be
    /// [relaunched](crate::Submission::relaunch_if_never_started). A job that may have started is
    /// never started again. The job stays on its runner, with its output, until [`remove`](Self::remove).
    ///
    /// Its output is available from [`logs`](Self::logs).
    ///
    /// # Cancel safety
    /// If the future is dropped, either the job is not followed, or it is followed as if its [`Job`]
    /// had been dropped.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded; `InvalidSpec` if no process owns it and it is on a
    /// runner that is not configured, or is configured for another backend.
    pub async fn attach(&self, job: &JobId) -> Result<Job, Error> {
        let record = self.journal().await?.record(job).await?;
        self.ensure_reachable(&record).await?;
        self.attach_as(&record, Manner::Kept, false).await
    }

    /// Checks that a process can follow the job of `record` to its end.
    async fn ensure_reachable(&self, record: &Record) -> Result<(), Error> {
        if record.result.is_none() && !self.is_in_hand(&record.id).await? {
            self.candidate_of(record).await?;
        }
        Ok(())
    }

    /// Follows the job of `record` as [`attach`](Self::attach) does. With `logs`, the job's output
    /// is streamed too if this process takes the job up; another owner already passes the output on
    /// to its own submitter.
    pub(crate) async fn attach_as(
        &self,
        record: &Record,
        manner: Manner,
        logs: bool,
    ) -> Result<Job, Error> {
        self.attach_and_feed(record, manner, logs, None).await
    }

    /// As [`attach_as`](Self::attach_as), and feeds the job if `late` is its stdin.
    pub(crate) async fn attach_and_feed(
        &self,
        record: &Record,
        manner: Manner,
        logs: bool,
        late: Option<Late>,
    ) -> Result<Job, Error> {
        let journal = self.journal().await?.clone();
        let tracked = self.tracked()?;
        let canceller = Canceller::new(record.spec.effective_grace_period().get());
        let (sink, events) = JobEventSink::channel(self.feed(), &record.id);
        let (logs, logs_read) = JobLogs::channel(logs);
        let (state, seen) = watch::channel(State::Running);
        let id = record.id.clone();
        if is_left(record, manner) {
            state.send_replace(State::Left);
            return Ok(Job { id, state: seen, canceller, events: None, logs: None });
        }
        let attached = Attached {
            dispatcher: self.clone(),
            journal,
            id: id.clone(),
            canceller: canceller.clone(),
            sink,
            logs,
            stdin: late.as_ref().map(Late::incomplete),
            state,
            manner,
        };
        let span = spans::job(&id);
        let following = async move {
            let attached = Box::pin(attached.run());
            match late {
                Some(late) => late.until(attached).await,
                None => attached.await,
            }
            drop(tracked);
        };
        self.spawn(following.instrument(span));
        Ok(Job { id, state: seen, canceller, events: Some(JobEvents(events)), logs: logs_read })
    }

    /// Takes up the job of `claim`, which `attached` follows.
    pub(crate) async fn recover(
        self,
        attached: Attached,
        claim: Claim,
    ) -> Result<(), (Attached, Error)> {
        // Before the record is read, so that no request to cancel the job is missed.
        let _held = self.hold(&attached.id, &attached.canceller);
        let found = async {
            let record = claim.record().await?;
            let candidate = self.candidate_of(&record).await?;
            Ok::<_, Error>((record, candidate))
        };
        let (record, candidate) = match found.await {
            Ok(found) => found,
            Err(error) => return Err((attached, error)),
        };
        if let Some(result) = record.result {
            attached.state.send_replace(State::Done(Arc::new(result)));
            return Ok(());
        }
        if is_left(&record, attached.manner) {
            // Release the claim before reporting, since a process that reads the report may want to
            // take the job up.
            drop(claim);
            attached.state.send_replace(State::Left);
            return Ok(());
        }
        tracing::info!("taken up");
        attached.sink.announce(&JobEvent::TakenUp);
        let Attached { canceller, sink, logs, stdin, state, manner, .. } = attached;
        let mut task = self.taken_up(&record, claim);
        if let Some(incomplete) = stdin {
            task.input = Input::Beside(incomplete);
        }
        let task = JobTask { canceller, sink, logs, state, manner, ..task };
        task.take_up(record, candidate, &self).await;
        Ok(())
    }

    /// Creates a task for the job of `record` that reports to no listener.
    fn taken_up(&self, record: &Record, claim: Claim) -> JobTask {
        let mut spec = JobSpec::clone(&record.spec);
        // The configuration may have changed; then the spec stays as it was submitted.
        let _ = self.prepare(&mut spec);
        let fed = spec.stdin && !spec.tty;
        let input = if fed { Input::Interrupted } else { Input::Nobody };
        JobTask { manner: Manner::Kept, input, ..self.task(spec, claim) }
    }

    /// Determines, within a few seconds, whether a job that no process owns has ended or can never
    /// start, and records it. What its runner does not report in time stays unchanged. If another
    /// process owns the job, or its runner is not configured, returns the record unchanged.
    ///
    /// # Cancel safety
    /// If the future is dropped, the work goes on in the background to its end.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded; an error if the journal cannot be read.
    pub async fn look(&self, job: &JobId) -> Result<Record, Error> {
        let (dispatcher, job) = (self.clone(), job.clone());
        self.complete(async move { dispatcher.look_to_the_end(&job).await }).await
    }

    async fn look_to_the_end(&self, job: &JobId) -> Result<Record, Error> {
        let journal = self.journal().await?;
        let record = journal.record(job).await?;
        if record.result.is_some() {
            return Ok(record);
        }
        let Some(claim) = journal.claim(job).await? else { return Ok(record) };
        let record = claim.record().await?;
        let Ok(candidate) = self.candidate_of(&record).await else { return Ok(record) };
        if record.result.is_some() {
            return Ok(record);
        }
        let task = self.taken_up(&record, claim);
        let patience = self.setup().settings.connect_timeout.get();
        let looking = task.look(record, candidate, patience);
        looking.instrument(spans::job(job)).await;
        Ok(journal.record(job).await?)
    }

    /// Whether the job of `record` exceeds its timeout unless a process [follows](Self::attach) it.
    /// True if the job has a timeout, its own or `job.timeout`, and is on a runner that does not
    /// enforce it ([`keep_timeout`](longshore_core::Capabilities::keep_timeout)). False for a job
    /// that has ended or is on a runner that is not configured.
    #[must_use]
    pub fn needs_follower(&self, record: &Record) -> bool {
        let has_timeout = record.spec.timeout.or(self.setup().settings.timeout).is_some();
        let kept = |candidate: &Candidate| candidate.runner.capabilities().keep_timeout;
        let runner = record.committed().map(|attempt| &attempt.handle.runner);
        let candidate = runner.and_then(|runner| self.candidate(runner).ok());
        record.result.is_none()
            && has_timeout
            && candidate.is_some_and(|candidate| !kept(&candidate))
    }

    /// Adds to the job's record what its submitter could not pass on, such as its output to a full
    /// disk, for a person who looks at the job later.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message may or may not be on record.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded; an error if the journal cannot be written.
    pub async fn note_undelivered(&self, job: &JobId, message: &str) -> Result<(), Error> {
        Ok(self.journal().await?.undelivered(job, message).await?)
    }

    /// Requests the end of a job, whichever process owns it: TERM, `grace` (`None`: the job's own),
    /// KILL. Returns once the request is recorded, or false if the job had ended. If no process
    /// owns the job, the next process that [attaches](Self::attach) to it ends it.
    ///
    /// If the journal cannot be written, for example because its disk is full, the request goes
    /// directly to the runner on which the job may be. It then has the same effect.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the request is made in the background.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded; `InvalidSpec` if no process owns it and it is on a
    /// runner that is not configured, or is configured for another backend; an error if the journal
    /// cannot be written and the job is on no runner, or that runner does not accept the request.
    pub async fn cancel(&self, job: &JobId, grace: Option<Duration>) -> Result<bool, Error> {
        let (dispatcher, job) = (self.clone(), job.clone());
        self.complete(async move { dispatcher.request_cancel(&job, grace).await }).await
    }

    async fn request_cancel(&self, job: &JobId, grace: Option<Duration>) -> Result<bool, Error> {
        let journal = self.journal().await?;
        let record = journal.record(job).await?;
        self.ensure_reachable(&record).await?;
        let grace = grace.unwrap_or_else(|| record.spec.effective_grace_period().get());
        let cancelled = match journal.request_cancel(job, grace).await {
            Ok(cancelled) => cancelled,
            Err(error @ JournalError::NoSuchJob(_)) => return Err(error.into()),
            Err(error) => self.cancel_on_runner(&record, grace, error.into()).await?,
        };
        self.cancel_held(job, grace);
        Ok(cancelled == Cancelled::Noted)
    }

    /// Cancels the job of `record` on its runner, because the request could not be recorded.
    async fn cancel_on_runner(
        &self,
        record: &Record,
        grace: Duration,
        unrecorded: Error,
    ) -> Result<Cancelled, Error> {
        if record.result.is_some() {
            return Ok(Cancelled::AlreadyEnded);
        }
        let Some(attempt) = record.committed() else { return Err(unrecorded) };
        let candidate = self.runner_of(record, &attempt.handle).await?;
        let client = candidate.client(&attempt.handle, JobEventSink::discarding());
        tracing::warn!(job = %record.id, error = %unrecorded, "cancelling without a record");
        client.cancel_once(grace).await?;
        Ok(Cancelled::Noted)
    }

    /// Removes a job that has ended from its runner, with its output, and deletes its record. Waits
    /// a few seconds for a process that is cleaning up after the job.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the job is removed in the background.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded; `InvalidSpec` if it has not ended, another process
    /// owns it, or it is on a runner that is not configured; any error of its runner.
    pub async fn remove(&self, job: &JobId) -> Result<(), Error> {
        let (dispatcher, job) = (self.clone(), job.clone());
        self.complete(async move { dispatcher.remove_to_the_end(&job).await }).await
    }

    async fn remove_to_the_end(&self, job: &JobId) -> Result<(), Error> {
        let journal = self.journal().await?;
        let refused = |why: &'static str| Error::new(ErrorKind::InvalidSpec, why).with("job", job);
        let Some(claim) = claim_ended(journal, job).await? else {
            return Err(refused("another process owns the job: wait for the job to end"));
        };
        let record = claim.record().await?;
        if record.result.is_none() {
            return Err(refused("the job has not ended: wait for it to end, or cancel it"));
        }
        self.remove_attempts(&record).await?;
        claim.removed().await.map_err(unrecorded)?;
        claim.forget().await.map_err(unrecorded)
    }

    /// Removes everything that may be left of the job of `record` on any backend.
    async fn remove_attempts(&self, record: &Record) -> Result<(), Error> {
        if record.removed_at.is_some() {
            return Ok(());
        }
        for attempt in &record.attempts {
            let candidate = self.runner_of(record, &attempt.handle).await?;
            candidate.client(&attempt.handle, JobEventSink::discarding()).remove_once().await?;
        }
        Ok(())
    }

    /// Returns the runner on which the job of `record` may be. Returns `None` if nothing of it was
    /// launched, or if every launched attempt provably never started.
    pub(crate) async fn candidate_of(
        &self,
        record: &Record,
    ) -> Result<Option<Arc<Candidate>>, Error> {
        match record.committed() {
            Some(attempt) => self.runner_of(record, &attempt.handle).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Whether the submitter of the job of `record` needs no process to follow it: the job has started,
/// and its submitter detached it.
fn is_left(record: &Record, manner: Manner) -> bool {
    manner == Manner::Detached && record.state() == journal::State::Running
}

/// Claims a job. Returns `None` if another process owns the job and the job has not ended, or if
/// that process does not release it in time.
async fn claim_ended(journal: &Journal, job: &JobId) -> Result<Option<Claim>, Error> {
    let (mut pause, times) = CLEAN_UP;
    for _ in 0..times {
        if let Some(claim) = journal.claim(job).await? {
            return Ok(Some(claim));
        }
        if journal.record(job).await?.result.is_none() {
            return Ok(None);
        }
        sleep(pause).await;
        pause *= 2;
    }
    Ok(journal.claim(job).await?)
}

/// The first pause and the number of checks for the release of a job that has ended, since no
/// notification reports it. Each pause is twice as long as the one before.
const CLEAN_UP: (Duration, u32) = (Duration::from_millis(10), 10);

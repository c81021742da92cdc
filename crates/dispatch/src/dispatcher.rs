//! The dispatcher: its runners in order, and its operations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longshore_core::{
    Attempt, Error, ErrorKind, HumanDuration, InstallationId, JobId, JobSpec, PassedOver, Runner,
    RunnerName,
};
use longshore_journal::{Claim, Journal, NewJob, Submitted};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::builder::DispatcherBuilder;
use crate::cancel::Canceller;
use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::directory;
use crate::event_sink::JobEventSink;
use crate::fail_point::FailPoint;
use crate::image_preview;
use crate::job::{JobEvents, JobLogs, State};
use crate::pin::Pins;
use crate::policy;
use crate::secrets;
use crate::security;
use crate::selection::{self, select};
use crate::store::{Held, JournalSource, Store};
use crate::task::{JobTask, Manner, Search};
use crate::{DetachedJob, ImagePreview, Job, RunnerHealth, RunnerPlan, Settings, Submission};

/// Runs each job on the first runner that can take it. Cheap to clone; needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    candidates: Vec<Arc<Candidate>>,
    settings: Arc<Settings>,
    credentials: Credentials,
    pins: Arc<Pins>,
    installation: InstallationId,
    store: Store,
    /// One permit for each job that may be in flight.
    room: Arc<Semaphore>,
    closed: CancellationToken,
    /// Cancelled when everything in flight is dropped immediately.
    abandoned: CancellationToken,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Creates a builder for a dispatcher.
    #[must_use]
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::default()
    }

    pub(crate) fn new(
        candidates: Vec<Arc<Candidate>>,
        settings: Settings,
        credentials: Credentials,
        installation: InstallationId,
        journal: JournalSource,
    ) -> Self {
        let room = usize::try_from(settings.max_jobs.get()).unwrap_or(usize::MAX);
        Self {
            inner: Arc::new(Inner {
                candidates,
                credentials,
                installation,
                store: Store::new(journal, settings.retention.get()),
                pins: Arc::default(),
                room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
                settings: Arc::new(settings),
                closed: CancellationToken::new(),
                abandoned: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The configured runners, in order.
    pub fn runners(&self) -> impl Iterator<Item = &Arc<dyn Runner>> {
        self.inner.candidates.iter().map(|candidate| &candidate.runner)
    }

    /// The installation on whose behalf jobs are launched.
    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.inner.installation
    }

    /// Submits a job: checks it, reads its secrets, records it, and starts to look for a runner.
    ///
    /// Waits for a free slot if `maxJobs` are in flight. If the future is dropped while it waits,
    /// nothing was submitted. A second submission with the same idempotency key is the same job as
    /// the first, and waits for its result. If the first was abandoned before anything had started,
    /// the second submission continues it.
    ///
    /// # Errors
    /// `InvalidSpec` if the job is invalid, if it names a runner that is not configured, a pull
    /// policy that jobs may not name, or a secret that does not exist, or if its idempotency key
    /// belongs to another job. `Unavailable` after [`shutdown`](Self::shutdown). `Internal` if the
    /// journal cannot be written. Later failures are reported in the job's result.
    pub async fn submit(&self, submission: impl Into<Submission> + Send) -> Result<Job, Error> {
        self.begin(submission.into(), Manner::Attached).await
    }

    /// Submits a job that keeps running without this process once it has started. Until then, this
    /// process is needed: it looks for a runner, pulls the image, and launches the job. The job's
    /// output stays on its runner.
    ///
    /// After its start, no process follows the job. Its runner sees the job to its end, but most
    /// runners do not enforce its timeout. Where [`needs_follower`](Self::needs_follower) returns
    /// true, a process must follow the job with [`attach`](Self::attach) to enforce the timeout; it
    /// can be this process or another. Without a follower, the job ends on its own, or when a
    /// process follows it past its timeout, however late, or when a backstop of its backend ends
    /// it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_detached(
        &self,
        submission: impl Into<Submission> + Send,
    ) -> Result<DetachedJob, Error> {
        let submission = submission.into().without_logs();
        Ok(DetachedJob(self.begin(submission, Manner::Detached).await?))
    }

    async fn begin(&self, submission: Submission, manner: Manner) -> Result<Job, Error> {
        let Submission { mut spec, id, logs, key } = submission;
        let mut new = NewJob::new(self.inner.installation.clone(), spec.clone());
        new.id = id.unwrap_or(new.id);
        new.idempotency_key = key;
        new.detached = manner == Manner::Detached;
        let candidates = self.prepare(&mut spec)?;
        new.runners = candidates.iter().map(|candidate| candidate.name().clone()).collect();
        let secret_env = secrets::read(&spec).await?;
        let room = self.room().await?;
        let tracked = self.tracked()?;
        let journal = self.journal().await?;
        // Before the job is recorded, so that no request to cancel it is missed.
        let canceller = Canceller::new(spec.effective_grace_period().get());
        let held = self.hold(&new.id, &canceller);
        let (claim, before, held) = match journal.submit(new).await? {
            Submitted::New(claim) => (claim, 0, held),
            Submitted::Known(id) => match self.unstarted(&id, &canceller).await? {
                Some(unstarted) => unstarted,
                None => return self.attach_as(&journal.record(&id).await?, manner, logs).await,
            },
            _ => return Err(Error::new(ErrorKind::Internal, "the journal gave no clear answer")),
        };
        FailPoint::Submitted.reach();
        let id = claim.job().clone();
        let (sink, events) = JobEventSink::channel();
        let (state, state_seen) = watch::channel(State::Running);
        let (logs, logs_read) = JobLogs::channel(logs);
        let search = Search { attempts: before, ..Search::default() };
        let canceller_of_job = canceller.clone();
        let task = JobTask {
            secret_env,
            candidates,
            canceller,
            sink,
            logs,
            state,
            search,
            manner,
            ..self.task(spec, claim)
        };
        let span = tracing::info_span!("job", %id);
        self.spawn(
            async move {
                task.run().await;
                drop((room, tracked, held));
            }
            .instrument(span),
        );
        Ok(Job {
            id,
            state: state_seen,
            canceller: canceller_of_job,
            events: Some(JobEvents(events)),
            logs: logs_read,
        })
    }

    /// Claims the job `id` if no other process owns it and nothing of it has started or can start.
    /// Returns the claim and the number of the last attempt. Applies an earlier request to cancel
    /// the job to `canceller`.
    async fn unstarted(
        &self,
        id: &JobId,
        canceller: &Canceller,
    ) -> Result<Option<(Claim, u32, Held)>, Error> {
        let Some(claim) = self.journal().await?.claim(id).await? else { return Ok(None) };
        // Before the record is read, so that no request to cancel the job is missed.
        let held = self.hold(id, canceller);
        let record = claim.record().await?;
        if record.result.is_some() || record.committed().is_some() {
            return Ok(None);
        }
        if let Some(cancel) = &record.cancel {
            canceller.cancel_within(cancel.grace);
        }
        Ok(Some((claim, record.next_number().saturating_sub(1), held)))
    }

    /// Creates a task for a job of which only `spec` is known.
    pub(crate) fn task(&self, spec: JobSpec, claim: Claim) -> JobTask {
        let inner = &self.inner;
        JobTask {
            id: claim.job().clone(),
            installation: inner.installation.clone(),
            canceller: Canceller::new(spec.effective_grace_period().get()),
            spec: Arc::new(spec),
            secret_env: BTreeMap::new(),
            credentials: inner.credentials.clone(),
            registry_auth: None,
            pins: Arc::clone(&inner.pins),
            settings: Arc::clone(&inner.settings),
            candidates: Vec::new(),
            sink: JobEventSink::discarding(),
            logs: None,
            state: watch::Sender::new(State::Running),
            search: Search::default(),
            claim,
            manner: Manner::default(),
            forgotten: inner.store.forgets(),
        }
    }

    /// Returns a token that marks a job as in flight until it is dropped.
    pub(crate) fn tracked(&self) -> Result<TaskTrackerToken, Error> {
        // Taken before the check, so that a shutdown either waits for this job or is noticed by it.
        let tracked = self.inner.tasks.token();
        if self.inner.closed.is_cancelled() { Err(closed()) } else { Ok(tracked) }
    }

    /// Returns the journal. Opens it on first use.
    pub(crate) async fn journal(&self) -> Result<&Journal, Error> {
        self.inner.store.journal().await
    }

    pub(crate) fn hold(&self, job: &JobId, canceller: &Canceller) -> Held {
        self.inner.store.hold(job, canceller)
    }

    pub(crate) fn held(&self, job: &JobId) -> Option<Canceller> {
        self.inner.store.held(job)
    }

    pub(crate) fn candidate(&self, runner: &RunnerName) -> Result<Arc<Candidate>, Error> {
        selection::find(&self.inner.candidates, runner)
    }

    pub(crate) fn candidates(&self) -> &[Arc<Candidate>] {
        &self.inner.candidates
    }

    pub(crate) fn retention(&self) -> Duration {
        self.inner.settings.retention.get()
    }

    /// The timeout of a job that sets none.
    pub(crate) fn timeout(&self) -> Option<HumanDuration> {
        self.inner.settings.timeout
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.inner.settings.connect_timeout.get()
    }

    /// Checks `spec`, fills in configured values, and returns its runners.
    pub(crate) fn prepare(&self, spec: &mut JobSpec) -> Result<Vec<Arc<Candidate>>, Error> {
        let settings = &self.inner.settings;
        spec.validate()?;
        let candidates = select(&self.inner.candidates, spec)?;
        policy::check(spec, settings)?;
        security::apply(spec, settings)?;
        if let Some(prefix) = &settings.image_registry_prefix {
            prefix.apply(spec)?;
        }
        spec.timeout = spec.timeout.or(settings.timeout);
        Ok(candidates)
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        tokio::select! {
            biased;
            () = self.inner.closed.cancelled() => Err(closed()),
            room = Arc::clone(&self.inner.room).acquire_owned() => room.map_err(|_| closed()),
        }
    }

    /// Returns what each runner, in the job's order, would submit for `spec`, or why it would be
    /// passed over. Starts nothing, calls no backend, and reads no secret.
    ///
    /// # Errors
    /// `InvalidSpec` if the job is invalid, or names a runner that is not configured or a pull
    /// policy that jobs may not name.
    pub fn plan(&self, spec: &JobSpec) -> Result<Vec<RunnerPlan>, Error> {
        let mut spec = spec.clone();
        let candidates = self.prepare(&mut spec)?;
        let mut attempt =
            Attempt::new(self.inner.installation.clone(), planned_job(), 1, spec.clone());
        attempt.secret_env = secrets::masked(&spec);
        Ok(candidates.iter().map(|candidate| self.plan_on(candidate, &mut attempt)).collect())
    }

    fn plan_on(&self, candidate: &Candidate, attempt: &mut Attempt) -> RunnerPlan {
        let effective = candidate.pull_policy(Some(&attempt.spec), &self.inner.settings);
        attempt.pull_policy = effective.policies.iter().next().unwrap_or_default();
        let planned = candidate
            .supports(&attempt.spec)
            .and_then(|()| {
                attempt.spec.job_directory.as_deref().map_or(Ok(()), directory::check_now)
            })
            .and_then(|()| candidate.runner.plan(attempt));
        let result = planned.map_err(|error| PassedOver::new(candidate.name(), &error));
        RunnerPlan::new(candidate.name().clone(), effective, result)
    }

    /// Returns what is known about the job's image before anything starts: whether each runner has
    /// it, under which pull policy, and which login its registry would get. Returns `None` for a
    /// job without a container.
    ///
    /// Changes nothing and calls no registry. A backend that does not answer within
    /// `connectTimeout` is not an error: its local image is then unknown. Runs a credential helper
    /// if one is configured.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn look_at_image(&self, spec: &JobSpec) -> Result<Option<ImagePreview>, Error> {
        let mut spec = spec.clone();
        let candidates = self.prepare(&mut spec)?;
        let Some(container) = &spec.container else { return Ok(None) };
        let Inner { settings, credentials, .. } = &*self.inner;
        let image = &container.image;
        Ok(Some(image_preview::look(&spec, image, &candidates, settings, credentials).await))
    }

    /// Asks all configured runners concurrently whether they can take work. Each must answer within
    /// `connectTimeout`.
    pub async fn doctor(&self) -> Vec<RunnerHealth> {
        let settings = &self.inner.settings;
        let asked = self.inner.candidates.iter().map(|candidate| async move {
            let policy = candidate.pull_policy(None, settings);
            RunnerHealth::new(candidate.name().clone(), policy, candidate.probe().await)
        });
        join_all(asked).await
    }

    /// Runs `work` in a task of its own until it ends or the dispatcher abandons its jobs.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Kept until `work` ends: requests to cancel its job arrive only while this exists.
        let kept = self.clone();
        tokio::spawn(async move {
            // Dropping `work` releases its job.
            let _ = kept.inner.abandoned.run_until_cancelled(work).await;
        });
    }

    /// Takes no more jobs and drops everything in flight immediately, as a kill of this process
    /// would. Jobs that have started continue. What is under way stays recorded, and another
    /// process can [take it up](Self::attach) once [`shutdown`](Self::shutdown) returns. Results
    /// that were not reported before are no longer reported here.
    pub fn abandon(&self) {
        self.inner.closed.cancel();
        self.inner.abandoned.cancel();
    }

    /// Takes no more jobs, and returns once all jobs in flight are done. To end sooner, cancel
    /// them.
    pub async fn shutdown(&self) {
        self.inner.closed.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the dispatcher is shutting down and takes no more jobs")
}

/// The job that a plan shows. The real job gets its identity at submission.
fn planned_job() -> JobId {
    "planned".parse().unwrap_or_else(|_| JobId::random())
}

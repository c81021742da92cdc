//! The dispatcher: its runners in order, and its operations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use longshore_core::{
    Attempt, Error, ErrorKind, Finding, FindingCause, InstallationId, JobId, JobSpec, PassedOver,
    Runner, RunnerName, Severity,
};
use longshore_journal::{Claim, Journal};
use longshore_registry::Found;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::builder::DispatcherBuilder;
use crate::cancel::Canceller;
use crate::candidate::Candidate;
use crate::directory;
use crate::event_sink::JobEventSink;
use crate::feed::Feed;
use crate::image_preview;
use crate::input::Input;
use crate::job::State;
use crate::pin::Pins;
use crate::places::Places;
use crate::policy;
use crate::report::LoginName;
use crate::roster::{Roster, Setup};
use crate::secrets;
use crate::security;
use crate::selection::select;
use crate::standing::Standing;
use crate::store::{Held, Store};
use crate::task::{JobTask, Manner, Search};
use crate::volumes;
use crate::{
    DetachedJob, Examination, ImagePreview, Job, RunnerHealth, RunnerPlan, Settings, Submission,
};

/// Runs each job on the first runner that can take it. Cheap to clone; needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    roster: Arc<Roster>,
    pins: Arc<Pins>,
    installation: InstallationId,
    store: Arc<Store>,
    feed: Arc<Feed>,
    places: Arc<Places>,
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
        setup: Setup,
        installation: InstallationId,
        store: Arc<Store>,
        feed: Arc<Feed>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                places: Places::new(places(&setup.settings)),
                roster: Roster::new(setup),
                installation,
                store,
                pins: Arc::default(),
                feed,
                closed: CancellationToken::new(),
                abandoned: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The configured runners, in order.
    #[must_use]
    pub fn runners(&self) -> Vec<Arc<dyn Runner>> {
        let setup = self.setup();
        setup.candidates.iter().map(|candidate| Arc::clone(&candidate.given)).collect()
    }

    /// The settings for new jobs.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::clone(&self.setup().settings)
    }

    /// The installation on whose behalf jobs are launched.
    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.inner.installation
    }

    /// Submits a job: checks it, reads its secrets, records it, and starts to look for a runner.
    ///
    /// Waits for a free place if `maxJobs` jobs are in flight, unless the submission says
    /// [otherwise](Submission::when_full). A second submission with the same
    /// idempotency key is the same job as the first, and waits for its result. If the first was
    /// abandoned before anything had started, the second submission continues it.
    ///
    /// # Cancel safety
    /// If the future is dropped before the job is recorded, nothing was submitted. If it is dropped
    /// later, the job goes on, as if its [`Job`] had been dropped. Use an [id](Submission::with_id)
    /// or an [idempotency key](Submission::with_key) to find out which.
    ///
    /// # Errors
    /// `InvalidSpec` if the job is invalid, if it names a runner that is not configured, a pull
    /// policy that jobs may not name, or a secret that does not exist, or if its idempotency key
    /// belongs to another job. `Denied` if the submission's [policy](Submission::policy) does not
    /// allow what the job asks for; the message names the rule and the field. `Unavailable` after [`shutdown`](Self::shutdown). `Internal` if the
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
    /// # Cancel safety
    /// As [`submit`](Self::submit).
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

    /// Creates a task for a job of which only `spec` is known.
    pub(crate) fn task(&self, spec: JobSpec, claim: Claim) -> JobTask {
        let (inner, setup) = (&self.inner, self.setup());
        JobTask {
            id: claim.job().clone(),
            installation: inner.installation.clone(),
            canceller: Canceller::new(spec.effective_grace_period().get()),
            spec: Arc::new(spec),
            secret_env: BTreeMap::new(),
            credentials: setup.credentials.clone(),
            login: Found::default(),
            pins: Arc::clone(&inner.pins),
            settings: Arc::clone(&setup.settings),
            roster: Arc::clone(&inner.roster),
            candidates: Vec::new(),
            sink: JobEventSink::unread(&inner.feed, claim.job()),
            logs: None,
            input: Input::Nobody,
            standing: Standing::default(),
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

    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.inner.feed
    }

    pub(crate) fn hold(&self, job: &JobId, canceller: &Canceller) -> Held {
        self.inner.store.hold(job, canceller)
    }

    pub(crate) fn cancel_held(&self, job: &JobId, grace: Duration) {
        self.inner.store.cancel_held(job, grace);
    }

    pub(crate) fn candidate(&self, runner: &RunnerName) -> Result<Arc<Candidate>, Error> {
        self.inner.roster.find(runner)
    }

    /// The present runners, settings and logins.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        self.inner.roster.setup()
    }

    /// Replaces the setup by that of `builder`, whose runners are in order.
    pub(crate) fn replace_setup(&self, builder: DispatcherBuilder) {
        let Inner { roster, feed, store, .. } = &*self.inner;
        let setup = roster.replace(|known| builder.setup(feed, store, known));
        self.inner.places.resize(places(&setup.settings));
    }

    /// Checks `spec`, fills in configured values, and returns its runners.
    pub(crate) fn prepare(&self, spec: &mut JobSpec) -> Result<Vec<Arc<Candidate>>, Error> {
        let setup = self.setup();
        let settings = &*setup.settings;
        spec.validate()?;
        let candidates = select(&setup.candidates, spec)?;
        policy::check(spec, settings)?;
        security::apply(spec, settings)?;
        volumes::check(spec, settings)?;
        if let Some(prefix) = &settings.image_registry_prefix {
            prefix.apply(spec)?;
        }
        spec.timeout = spec.timeout.or(settings.timeout);
        Ok(candidates)
    }

    pub(crate) fn forgets(&self) -> bool {
        self.inner.store.forgets()
    }

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.inner.places
    }

    /// Cancelled when the dispatcher takes no more jobs.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.inner.closed
    }

    /// Returns what each runner, in the job's order, would submit for `spec`, or why it would be
    /// passed over. Starts nothing, calls no backend, and reads no secret. With `image`, what
    /// [`look_at_image`](Self::look_at_image) returned for `spec`, the plan includes the login for
    /// the image's registry, with a mask in place of its secret.
    ///
    /// # Errors
    /// `InvalidSpec` if the job is invalid, or names a runner that is not configured or a pull
    /// policy that jobs may not name.
    pub fn plan(
        &self,
        spec: &JobSpec,
        image: Option<&ImagePreview>,
    ) -> Result<Vec<RunnerPlan>, Error> {
        let mut spec = spec.clone();
        let candidates = self.prepare(&mut spec)?;
        let mut attempt = self.masked(planned_job(), spec, image);
        Ok(candidates.iter().map(|candidate| self.plan_on(candidate, &mut attempt)).collect())
    }

    /// Returns an attempt of `job` with masks in place of its secrets.
    fn masked(&self, job: JobId, spec: JobSpec, image: Option<&ImagePreview>) -> Attempt {
        let secret_env = secrets::masked(&spec);
        let mut attempt = Attempt::new(self.inner.installation.clone(), job, 1, spec);
        attempt.secret_env = secret_env;
        let login = image.and_then(|image| image.login.as_ref().ok()?.as_ref());
        attempt.registry_auth = login.map(LoginName::masked);
        attempt
    }

    fn plan_on(&self, candidate: &Candidate, attempt: &mut Attempt) -> RunnerPlan {
        let effective = candidate.pull_policy(Some(&attempt.spec), &self.setup().settings);
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
    /// # Cancel safety
    /// Cancel safe: nothing changes. A credential helper under way is ended.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn look_at_image(&self, spec: &JobSpec) -> Result<Option<ImagePreview>, Error> {
        let mut spec = spec.clone();
        let candidates = self.prepare(&mut spec)?;
        Ok(self.preview(&spec, &candidates).await)
    }

    /// Returns a hint if the job's image may be older than expected: its tag can be pushed again,
    /// and the pull policy on the first runner that can run it does not check for that. Asks no
    /// runner.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn image_hint(&self, spec: &JobSpec) -> Result<Option<String>, Error> {
        let mut spec = spec.clone();
        let candidates = self.prepare(&mut spec)?;
        let first = candidates.iter().find(|candidate| candidate.supports(&spec).is_ok());
        let Some((first, container)) = first.zip(spec.container.as_ref()) else { return Ok(None) };
        let policy = first.pull_policy(Some(&spec), &self.setup().settings);
        let hint = image_preview::may_be_old(&container.image, &policy);
        Ok(hint.filter(|_| first.runs_containers()))
    }

    async fn preview(&self, spec: &JobSpec, candidates: &[Arc<Candidate>]) -> Option<ImagePreview> {
        let image = &spec.container.as_ref()?.image;
        let Setup { settings, credentials, .. } = &*self.setup();
        Some(image_preview::look(spec, image, candidates, settings, credentials).await)
    }

    /// Asks the job's runners concurrently whether they can take work, which each must answer within
    /// `connectTimeout`, and each one that can whether it would accept this job. Also looks at the job's image, as
    /// [`look_at_image`](Self::look_at_image) does. Starts nothing, changes nothing, and sends no
    /// secret to a runner.
    ///
    /// # Cancel safety
    /// As [`look_at_image`](Self::look_at_image).
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn examine(&self, spec: &JobSpec) -> Result<Examination, Error> {
        let mut spec = spec.clone();
        let candidates = self.prepare(&mut spec)?;
        let probing = candidates.iter().map(|candidate| async {
            let settings = &self.setup().settings;
            let policy = candidate.runs_containers().then(|| candidate.pull_policy(None, settings));
            RunnerHealth::new(candidate.name().clone(), policy, candidate.probe().await)
        });
        let (image, mut runners) =
            tokio::join!(self.preview(&spec, &candidates), join_all(probing));
        let attempt = self.masked(JobId::random(), spec, image.as_ref());
        let checking = candidates.iter().zip(&mut runners).map(|(candidate, health)| {
            let mut attempt = attempt.clone();
            let policy = candidate.pull_policy(Some(&attempt.spec), &self.setup().settings);
            attempt.pull_policy = policy.policies.iter().next().unwrap_or_default();
            async move {
                if health.result.is_ok() {
                    health.findings = findings(candidate, &attempt).await;
                }
            }
        });
        join_all(checking).await;
        Ok(Examination::new(image, runners))
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

    /// Runs `work` in a task of its own and returns its result. If the caller is dropped, the work
    /// goes on to its end.
    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        // A shutdown waits for it.
        let tracked = self.inner.tasks.token();
        let work = async move {
            let done = work.await;
            drop(tracked);
            done
        };
        tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "the task was stopped").caused_by(error))
        })
    }

    /// Takes no more jobs and drops everything in flight immediately, as a kill of this process
    /// would. Jobs that have started continue. What is under way stays recorded, and another
    /// process can [take it up](Self::attach) once [`shutdown`](Self::shutdown) returns. Results
    /// that were not reported before are no longer reported here.
    pub fn abandon(&self) {
        self.inner.closed.cancel();
        // The end of one job must not start another.
        self.inner.places.close();
        self.inner.abandoned.cancel();
    }

    /// Takes no more jobs, and returns once all jobs in flight are done. To end sooner, cancel
    /// them.
    ///
    /// # Cancel safety
    /// Cancel safe: the dispatcher takes no more jobs from the first poll on, and a further call
    /// waits for the same jobs.
    pub async fn shutdown(&self) {
        self.inner.closed.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

fn places(settings: &Settings) -> usize {
    usize::try_from(settings.max_jobs.get()).unwrap_or(usize::MAX)
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the dispatcher is shutting down and takes no more jobs")
}

/// Returns what `candidate` finds out about `attempt`.
async fn findings(candidate: &Candidate, attempt: &Attempt) -> Vec<Finding> {
    let checked = match candidate.supports(&attempt.spec) {
        Ok(()) => candidate.runner.check(attempt).await,
        Err(error) => Err(error),
    };
    checked.unwrap_or_else(|error| {
        let cause = match error.kind() {
            ErrorKind::Unsupported | ErrorKind::InvalidSpec => FindingCause::Job,
            _ => FindingCause::Other,
        };
        vec![Finding::new(Severity::Error, cause, error.to_string())]
    })
}

/// The job that a plan shows. The real job gets its identity at submission.
fn planned_job() -> JobId {
    "planned".parse().unwrap_or_else(|_| JobId::random())
}

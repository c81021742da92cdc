//! The dispatcher: its runners in order, and what one may ask of it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use futures::future::join_all;
use longshore_core::{
    Attempt, Error, ErrorKind, InstallationId, JobId, JobSpec, PassedOver, PullPolicies, Runner,
    RunnerName,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::cancel::Canceller;
use crate::job::{JobEvents, JobLogs, State};
use crate::lane::Lane;
use crate::order::order;
use crate::progress::Progress;
use crate::pump::CHUNKS_KEPT;
use crate::secrets;
use crate::task::{JobTask, Search};
use crate::{Job, RunnerHealth, RunnerPlan, Settings, Submission};

/// Why a dispatcher could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No runner was given.
    #[error("no runner is configured: name at least one")]
    NoRunner,
    /// Two runners have the same name.
    #[error("the runner {0} is configured twice")]
    DuplicateRunner(RunnerName),
}

/// Puts a [`Dispatcher`] together.
#[derive(Debug, Default)]
pub struct DispatcherBuilder {
    runners: Vec<Arc<dyn Runner>>,
    settings: Settings,
    pull_policies: BTreeMap<RunnerName, PullPolicies>,
    installation: Option<InstallationId>,
    jitter_seed: Option<u64>,
}

impl DispatcherBuilder {
    /// Adds a runner after those added before: this is the order in which they are tried.
    #[must_use]
    pub fn runner(mut self, runner: Arc<dyn Runner>) -> Self {
        self.runners.push(runner);
        self
    }

    /// Sets the dispatcher's settings. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the pull policy of one runner, `job.<runner>.imagePullPolicy`.
    #[must_use]
    pub fn runner_pull_policy(mut self, runner: RunnerName, policies: PullPolicies) -> Self {
        self.pull_policies.insert(runner, policies);
        self
    }

    /// Sets the installation in whose name jobs are launched. Default: a new one.
    #[must_use]
    pub fn installation(mut self, installation: InstallationId) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Makes the jitter of back-offs repeatable, for simulations. Default: random.
    #[must_use]
    pub const fn jitter_seed(mut self, seed: u64) -> Self {
        self.jitter_seed = Some(seed);
        self
    }

    /// Builds the dispatcher. Starts nothing.
    ///
    /// # Errors
    /// If there is no runner, or two have the same name.
    pub fn build(self) -> Result<Dispatcher, BuildError> {
        if self.runners.is_empty() {
            return Err(BuildError::NoRunner);
        }
        for (i, runner) in self.runners.iter().enumerate() {
            if self.runners[..i].iter().any(|r| r.name() == runner.name()) {
                return Err(BuildError::DuplicateRunner(runner.name().clone()));
            }
        }
        let seed = self.jitter_seed.unwrap_or_else(random_seed);
        let mut pull_policies = self.pull_policies;
        let lanes = self.runners.into_iter().zip(seed..).map(|(runner, jitter)| {
            let pull_policy = pull_policies.remove(runner.name());
            Arc::new(Lane::new(runner, &self.settings, pull_policy, jitter))
        });
        let lanes = lanes.collect();
        let room = usize::try_from(self.settings.max_jobs.get()).unwrap_or(usize::MAX);
        Ok(Dispatcher {
            inner: Arc::new(Inner {
                lanes,
                installation: self.installation.unwrap_or_else(InstallationId::random),
                room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
                settings: Arc::new(self.settings),
                closed: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        })
    }
}

/// A number that differs from process to process.
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// Runs each job on the first runner that can take it. Cheap to clone; needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lanes: Vec<Arc<Lane>>,
    settings: Arc<Settings>,
    installation: InstallationId,
    /// One permit for each job that may be in flight.
    room: Arc<Semaphore>,
    closed: CancellationToken,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Begins a dispatcher.
    #[must_use]
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::default()
    }

    /// The configured runners, in order.
    pub fn runners(&self) -> impl Iterator<Item = &Arc<dyn Runner>> {
        self.inner.lanes.iter().map(|lane| &lane.runner)
    }

    /// The installation in whose name jobs are launched.
    #[must_use]
    pub fn installation(&self) -> &InstallationId {
        &self.inner.installation
    }

    /// Submits a job: checks it, reads its secrets, and starts to look for a runner.
    ///
    /// Waits for room if `maxJobs` are in flight; dropped while it waits, nothing was submitted.
    ///
    /// # Errors
    /// `InvalidSpec` if the job makes no sense, names a runner that is not configured, or a secret
    /// that is not there; `Unavailable` after [`shutdown`](Self::shutdown). Whatever goes wrong
    /// later stands in the job's result.
    pub async fn submit(&self, submission: impl Into<Submission> + Send) -> Result<Job, Error> {
        let Submission { mut spec, id, logs } = submission.into();
        spec.validate()?;
        let order = order(&self.inner.lanes, &spec)?;
        let secret_env = secrets::read(&spec).await?;
        spec.timeout = spec.timeout.or(self.inner.settings.timeout);
        let room = self.room().await?;
        // Taken before the check, so that a shutdown either sees this job or is seen by it.
        let tracked = self.inner.tasks.token();
        if self.inner.closed.is_cancelled() {
            return Err(closed());
        }
        let id = id.unwrap_or_else(JobId::random);
        let canceller = Canceller::new(spec.effective_grace_period().get());
        let (progress, events) = Progress::channel();
        let (state, state_seen) = watch::channel(State::Running);
        let (logs, logs_read) = if logs {
            let (sender, receiver) = mpsc::channel(CHUNKS_KEPT);
            (Some(sender), Some(JobLogs(receiver)))
        } else {
            (None, None)
        };
        let task = JobTask {
            id: id.clone(),
            installation: self.inner.installation.clone(),
            spec: Arc::new(spec),
            secret_env,
            settings: Arc::clone(&self.inner.settings),
            order,
            canceller: canceller.clone(),
            progress,
            logs,
            state,
            search: Search::default(),
        };
        let span = tracing::info_span!("job", %id);
        tokio::spawn(
            async move {
                task.run().await;
                drop((room, tracked));
            }
            .instrument(span),
        );
        Ok(Job {
            id,
            state: state_seen,
            canceller,
            events: Some(JobEvents(events)),
            logs: logs_read,
        })
    }

    async fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        tokio::select! {
            biased;
            () = self.inner.closed.cancelled() => Err(closed()),
            room = Arc::clone(&self.inner.room).acquire_owned() => room.map_err(|_| closed()),
        }
    }

    /// What each runner, in the job's order, would submit for `spec`, or why it would be passed
    /// over. Starts nothing, asks no backend, reads no secret.
    ///
    /// # Errors
    /// `InvalidSpec` if the job makes no sense or names a runner that is not configured.
    pub fn plan(&self, spec: &JobSpec) -> Result<Vec<RunnerPlan>, Error> {
        spec.validate()?;
        let order = order(&self.inner.lanes, spec)?;
        let mut spec = spec.clone();
        spec.timeout = spec.timeout.or(self.inner.settings.timeout);
        let mut attempt =
            Attempt::new(self.inner.installation.clone(), planned_job(), 1, spec.clone());
        attempt.secret_env = secrets::masked(&spec);
        Ok(order.iter().map(|lane| self.plan_on(lane, &mut attempt)).collect())
    }

    fn plan_on(&self, lane: &Lane, attempt: &mut Attempt) -> RunnerPlan {
        let shared = &self.inner.settings.image_pull_policy;
        let effective = lane.pull_policy(Some(&attempt.spec), shared);
        attempt.pull_policy = effective.policies.iter().next().unwrap_or_default();
        let planned = lane.supports(&attempt.spec).and_then(|()| lane.runner.plan(attempt));
        let result = planned.map_err(|error| PassedOver::new(lane.name(), &error));
        RunnerPlan::new(lane.name().clone(), effective, result)
    }

    /// Asks each configured runner, side by side, whether it may take work; each answers within
    /// `connectTimeout`.
    pub async fn doctor(&self) -> Vec<RunnerHealth> {
        let shared = &self.inner.settings.image_pull_policy;
        let asked = self.inner.lanes.iter().map(|lane| async move {
            let policy = lane.pull_policy(None, shared);
            RunnerHealth::new(lane.name().clone(), policy, lane.probe().await)
        });
        join_all(asked).await
    }

    /// Takes no more jobs, and returns once all in flight are done. To hurry, cancel them.
    pub async fn shutdown(&self) {
        self.inner.closed.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the dispatcher is shutting down and takes no more jobs")
}

/// The job that a plan shows; the real one's identity is made at submission.
fn planned_job() -> JobId {
    "planned".parse().unwrap_or_else(|_| JobId::random())
}

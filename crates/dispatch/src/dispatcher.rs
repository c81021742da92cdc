//! The dispatcher: its runners in order, and what one may ask of it.

use std::sync::Arc;

use futures::future::join_all;
use longshore_core::{
    Attempt, Error, ErrorKind, InstallationId, JobId, JobSpec, PassedOver, Runner,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::builder::DispatcherBuilder;
use crate::cancel::Canceller;
use crate::credentials::Credentials;
use crate::job::{JobEvents, JobLogs, State};
use crate::lane::Lane;
use crate::order::order;
use crate::outlook;
use crate::pin::Pins;
use crate::policy;
use crate::progress::Progress;
use crate::pump::CHUNKS_KEPT;
use crate::secrets;
use crate::task::{JobTask, Search};
use crate::{ImageOutlook, Job, RunnerHealth, RunnerPlan, Settings, Submission};

/// Runs each job on the first runner that can take it. Cheap to clone; needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lanes: Vec<Arc<Lane>>,
    settings: Arc<Settings>,
    credentials: Credentials,
    pins: Arc<Pins>,
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

    pub(crate) fn new(
        lanes: Vec<Arc<Lane>>,
        settings: Settings,
        credentials: Credentials,
        installation: InstallationId,
    ) -> Self {
        let room = usize::try_from(settings.max_jobs.get()).unwrap_or(usize::MAX);
        Self {
            inner: Arc::new(Inner {
                lanes,
                credentials,
                installation,
                pins: Arc::default(),
                room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
                settings: Arc::new(settings),
                closed: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
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
    /// `InvalidSpec` if the job makes no sense, names a runner that is not configured, a pull policy
    /// that jobs may not name, or a secret that is not there; `Unavailable` after [`shutdown`](Self::shutdown). Whatever goes wrong
    /// later stands in the job's result.
    pub async fn submit(&self, submission: impl Into<Submission> + Send) -> Result<Job, Error> {
        let Submission { mut spec, id, logs } = submission.into();
        let order = self.prepare(&mut spec)?;
        let secret_env = secrets::read(&spec).await?;
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
            credentials: self.inner.credentials.clone(),
            registry_auth: None,
            pins: Arc::clone(&self.inner.pins),
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

    /// Checks `spec`, fills in what is configured, and tells its runners.
    fn prepare(&self, spec: &mut JobSpec) -> Result<Vec<Arc<Lane>>, Error> {
        let settings = &self.inner.settings;
        spec.validate()?;
        let order = order(&self.inner.lanes, spec)?;
        policy::check(spec, settings)?;
        if let Some(prefix) = &settings.image_registry_prefix {
            prefix.apply(spec)?;
        }
        spec.timeout = spec.timeout.or(settings.timeout);
        Ok(order)
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
    /// `InvalidSpec` if the job makes no sense, names a runner that is not configured, or a pull
    /// policy that jobs may not name.
    pub fn plan(&self, spec: &JobSpec) -> Result<Vec<RunnerPlan>, Error> {
        let mut spec = spec.clone();
        let order = self.prepare(&mut spec)?;
        let mut attempt =
            Attempt::new(self.inner.installation.clone(), planned_job(), 1, spec.clone());
        attempt.secret_env = secrets::masked(&spec);
        Ok(order.iter().map(|lane| self.plan_on(lane, &mut attempt)).collect())
    }

    fn plan_on(&self, lane: &Lane, attempt: &mut Attempt) -> RunnerPlan {
        let effective = lane.pull_policy(Some(&attempt.spec), &self.inner.settings);
        attempt.pull_policy = effective.policies.iter().next().unwrap_or_default();
        let planned = lane.supports(&attempt.spec).and_then(|()| lane.runner.plan(attempt));
        let result = planned.map_err(|error| PassedOver::new(lane.name(), &error));
        RunnerPlan::new(lane.name().clone(), effective, result)
    }

    /// What can be told of the job's image before anything starts: whether each runner has it,
    /// under which pull policy, and which login its registry would be shown. None for a job without
    /// a container.
    ///
    /// Changes nothing and asks no registry. A backend that gives no answer within
    /// `connectTimeout` is no error: what it has is then unknown. Runs a credential helper, if one
    /// is configured.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn look_at_image(&self, spec: &JobSpec) -> Result<Option<ImageOutlook>, Error> {
        let mut spec = spec.clone();
        let order = self.prepare(&mut spec)?;
        let Some(container) = &spec.container else { return Ok(None) };
        let Inner { settings, credentials, .. } = &*self.inner;
        let image = &container.image;
        Ok(Some(outlook::look(&spec, image, &order, settings, credentials).await))
    }

    /// Asks each configured runner, side by side, whether it may take work; each answers within
    /// `connectTimeout`.
    pub async fn doctor(&self) -> Vec<RunnerHealth> {
        let settings = &self.inner.settings;
        let asked = self.inner.lanes.iter().map(|lane| async move {
            let policy = lane.pull_policy(None, settings);
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

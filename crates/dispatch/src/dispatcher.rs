//! The dispatcher: its runners in order, and what one may ask of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::{Error, ErrorKind, InstallationId, JobSpec, PullPolicies, Runner, RunnerName};

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
        Ok(Dispatcher { inner: Arc::new(self) })
    }
}

/// Runs each job on the first runner that can take it. Cheap to clone; needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    inner: Arc<DispatcherBuilder>,
}

impl Dispatcher {
    /// Begins a dispatcher.
    #[must_use]
    pub fn builder() -> DispatcherBuilder {
        DispatcherBuilder::default()
    }

    /// The configured runners, in order.
    pub fn runners(&self) -> impl Iterator<Item = &Arc<dyn Runner>> {
        self.inner.runners.iter()
    }

    /// Submits a job: checks it, reads its secrets, and starts to look for a runner.
    ///
    /// Waits for room if `maxJobs` are in flight; dropped while it waits, nothing was submitted.
    ///
    /// # Errors
    /// `InvalidSpec` if the job makes no sense, names a runner that is not configured, or a secret
    /// that is not there; `Unavailable` after [`shutdown`](Self::shutdown). Whatever goes wrong
    /// later stands in the job's result.
    pub async fn submit(&self, submission: impl Into<Submission>) -> Result<Job, Error> {
        submission.into().spec.validate()?;
        Err(Error::new(ErrorKind::Unsupported, "dispatching comes with the next commit"))
    }

    /// What each runner, in the job's order, would submit for `spec`, or why it would be passed
    /// over. Starts nothing, asks no backend, reads no secret.
    ///
    /// # Errors
    /// `InvalidSpec` if the job makes no sense or names a runner that is not configured.
    pub fn plan(&self, spec: &JobSpec) -> Result<Vec<RunnerPlan>, Error> {
        spec.validate()?;
        Ok(Vec::new())
    }

    /// Asks each configured runner, side by side, whether it may take work; each answers within
    /// `connectTimeout`.
    pub async fn doctor(&self) -> Vec<RunnerHealth> {
        Vec::new()
    }

    /// Takes no more jobs, and returns once all in flight are done. To hurry, cancel them.
    pub async fn shutdown(&self) {}
}

//! A submitted job, as its submitter sees it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use longshore_core::{JobId, JobResult, JobSpec, LogChunk, RegistryAuth, Secret, TerminalSize};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, watch};

use crate::cancel::Canceller;
use crate::input::Input;
use crate::{JobEvent, SpecPolicy, Stopped, WhenFull};

/// How many pieces of output are buffered for a slow reader. Then the runner's stream waits.
pub(crate) const CHUNKS_KEPT: usize = 16;

/// A job to submit, with its options. A [`JobSpec`] converts into a submission with the defaults.
///
/// # Examples
/// A service that keeps its secrets elsewhere than in files and variables:
///
/// ```
/// use longshore_core::{JobSpec, RegistryAuth, Secret};
/// use longshore_dispatch::Submission;
///
/// # fn from_vault(_: &str) -> Secret { Secret::new("x") }
/// let spec = JobSpec::container("harbor.example.org/tool:1".parse()?);
/// let password = from_vault("registry");
/// let submission = Submission::new(spec)
///     .with_key("order-4711")
///     .secret("API_TOKEN", from_vault("api"))
///     .registry_auth(RegistryAuth::password("harbor.example.org", "robot", password));
/// assert!(!format!("{submission:?}").contains("\"x\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Submission {
    /// What to run.
    pub spec: JobSpec,
    /// The job's identity. `None`: a new one.
    pub id: Option<JobId>,
    /// Whether the job's output is streamed to [`Job::take_logs`]. Default: true. False saves the
    /// requests for it.
    pub logs: bool,
    /// The idempotency key: a second submission with the same key and an equal spec is the same
    /// job. 1 to 255 characters. The key is kept as long as the job's record. Default: none.
    pub key: Option<String>,
    /// Whether the job stays on its runner once it has ended, with its output, until it is
    /// [removed](crate::Dispatcher::remove). Default: false. A detached job always stays.
    pub keep: bool,
    /// What the job may ask for. `None`: everything. Set it for a spec that comes from a stranger.
    pub policy: Option<Arc<SpecPolicy>>,
    /// Environment variables whose values are never shown or recorded, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Logins for the registry of the job's image. They precede all others.
    pub registry_auths: Vec<RegistryAuth>,
    /// What happens if there is no place for the job. `None`: `submit` waits for one.
    pub when_full: Option<WhenFull>,
    /// The priority with which the job waits for a place. Default: 0.
    pub priority: i32,
    /// Whether another process goes on with the job if this one ends before anything of it has
    /// started. Default: false.
    pub relaunch: bool,
    /// Labels of the service's own, which the job gets in addition to those of its spec.
    pub labels: BTreeMap<String, String>,
    pub(crate) input: Input,
}

impl Submission {
    /// Creates a submission of `spec` with the defaults.
    #[must_use]
    pub const fn new(spec: JobSpec) -> Self {
        Self {
            spec,
            id: None,
            logs: true,
            key: None,
            keep: false,
            policy: None,
            secrets: BTreeMap::new(),
            registry_auths: Vec::new(),
            when_full: None,
            priority: 0,
            relaunch: false,
            labels: BTreeMap::new(),
            input: Input::Nobody,
        }
    }

    /// Gives the job the identity `id`, which no other job of this installation may have had.
    #[must_use]
    pub fn with_id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// Makes every submission with `key` and an equal spec the same job.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Gives the job what `source` returns as stdin, and then end of file. Sets
    /// [`JobSpec::stdin`].
    ///
    /// It is read once the job has started, as fast as the job reads, and no longer than the job
    /// runs. Its last read may still be pending then. Nothing is read for a job that no runner
    /// takes, or for one that an earlier submission with the same key began.
    #[must_use]
    pub fn with_stdin(mut self, source: impl AsyncRead + Send + Unpin + 'static) -> Self {
        self.spec.stdin = true;
        self.input = Input::Here(Mutex::new(Box::new(source)));
        self
    }

    /// Leaves the job's stdin to a process that calls
    /// [`Dispatcher::attach_with_stdin`](crate::Dispatcher::attach_with_stdin). Sets
    /// [`JobSpec::stdin`]. Until then, the job waits for input, unless this process ends.
    #[must_use]
    pub fn with_stdin_later(mut self) -> Self {
        self.spec.stdin = true;
        self.input = Input::Later;
        self
    }

    /// Gives the job a terminal, of `size` if that is known. Sets [`JobSpec::tty`]. Set
    /// [`JobSpec::stdin`] too if it takes input. [`Dispatcher::attach_to`](crate::Dispatcher::attach_to)
    /// connects to it, from any process, once the job has started.
    #[must_use]
    pub fn with_terminal(mut self, size: Option<TerminalSize>) -> Self {
        self.spec.tty = true;
        self.input = Input::Terminal(size);
        self
    }

    /// Sets the job's environment variable `name` to `value`, which is never shown.
    ///
    /// The value is not part of the spec, and so in no record. A later submission with the same
    /// [key](Self::with_key) is the same job even if its value differs. `submit` refuses a `name`
    /// that is not valid or that the spec also sets, and a value with a NUL character or of more than
    /// 128 KiB.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.secrets.insert(name.into(), value);
        self
    }

    /// Uses `auth` to pull the job's image, if the image is in the registry that `auth` names. It
    /// precedes the job's own `registries` and all configured logins, and is in no record.
    #[must_use]
    pub fn registry_auth(mut self, auth: RegistryAuth) -> Self {
        self.registry_auths.push(auth);
        self
    }

    /// Gives the job a label of the service's own, such as the tenant that submits it. Then
    /// [`Filter::label`](longshore_journal::Filter::label) lists the jobs of that tenant.
    ///
    /// The job's [policy](Self::policy) does not apply to it. `submit` refuses a `key` that the spec
    /// also sets, so that no spec can pretend to be another tenant's.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Refuses the job unless `policy` allows everything that it asks for. Nothing is read, recorded
    /// or launched before that. The job runs only on runners that `policy` allows, and uses the
    /// service's logins to registries only if `policy` allows that.
    #[must_use]
    pub fn policy(mut self, policy: &SpecPolicy) -> Self {
        self.policy = Some(Arc::new(policy.clone()));
        self
    }

    /// Keeps the job on its runner once it has ended.
    #[must_use]
    pub const fn kept(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Disables streaming of the job's output.
    #[must_use]
    pub const fn without_logs(mut self) -> Self {
        self.logs = false;
        self
    }
}

impl From<JobSpec> for Submission {
    fn from(spec: JobSpec) -> Self {
        Self::new(spec)
    }
}

/// How far a job's task has progressed.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// The outcome is not known yet.
    Running,
    /// The job has started and is left to its runner.
    Left,
    /// The outcome is known. Output may still follow, and the attempt may not yet be removed.
    Known(Arc<JobResult>),
    /// Everything is done.
    Done(Arc<JobResult>),
    /// This process has stopped following the job.
    Stopped(Stopped),
}

/// A submitted job.
///
/// Dropping it detaches: the dispatcher still follows the job to its end and removes it from its
/// runner. To end the job, call [`cancel`](Self::cancel).
#[derive(Debug)]
pub struct Job {
    pub(crate) id: JobId,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) canceller: Canceller,
    pub(crate) events: Option<JobEvents>,
    pub(crate) logs: Option<JobLogs>,
}

impl Job {
    /// The job's identity.
    #[must_use]
    pub const fn id(&self) -> &JobId {
        &self.id
    }

    /// Returns the job's progress, or `None` if it was taken before. The stream ends when the job
    /// is done. A slow reader loses events and delays nothing.
    pub fn take_events(&mut self) -> Option<JobEvents> {
        self.events.take()
    }

    /// Returns the job's output from its beginning, or `None` if it was taken before or the
    /// submission does not stream it. The stream ends when all output has arrived.
    ///
    /// A slow reader delays the output, never the job's outcome. However, the job stays on its
    /// runner until its output is read or the reader is dropped.
    pub fn take_logs(&mut self) -> Option<JobLogs> {
        self.logs.take()
    }

    /// Returns a way to cancel this job from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Ends the job early, wherever it runs: TERM, its own grace period, KILL. Returns at once;
    /// [`wait`](Self::wait) returns when the job has ended.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Ends the job early with another grace period. Of several, the shortest wins.
    pub fn cancel_within(&self, grace: Duration) {
        self.canceller.cancel_within(grace);
    }

    /// Ends the job without a grace period.
    pub fn kill(&self) {
        self.canceller.kill();
    }

    /// Returns the job's result as soon as it is known. Its output may not yet be read, nor the job
    /// removed from its runner.
    ///
    /// # Cancel safety
    /// Cancel safe: the job goes on, and a further call waits for the same result.
    ///
    /// # Errors
    /// If this process stops following the job before its end.
    pub async fn result(&self) -> Result<JobResult, Stopped> {
        self.seen(State::is_known).await
    }

    /// Returns the job's result once everything is done: its output is read, and the job is removed
    /// from its runner.
    ///
    /// Output that was not taken is dropped. A caller that took the output must keep reading it
    /// meanwhile, or drop it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job goes on, as if the [`Job`] had been dropped.
    /// [`Dispatcher::attach`](crate::Dispatcher::attach) waits for it again.
    ///
    /// # Errors
    /// If this process stops following the job before its end is known:
    /// [`Dispatcher::abandon`](crate::Dispatcher::abandon) was called, the runtime is shut down, or
    /// the job's record can no longer be read.
    pub async fn wait(mut self) -> Result<JobResult, Stopped> {
        drop(self.logs.take());
        drop(self.events.take());
        self.seen(|state| matches!(state, State::Done(_))).await
    }

    /// Waits for a state that is `wanted`, and returns the result that it has.
    async fn seen(&self, wanted: impl Fn(&State) -> bool) -> Result<JobResult, Stopped> {
        let mut state = self.state.clone();
        let over = |state: &State| wanted(state) || matches!(state, State::Stopped(_));
        // If the task is gone, its last state still counts.
        let _ = state.wait_for(over).await;
        self.told(&state.borrow())
    }

    fn told(&self, state: &State) -> Result<JobResult, Stopped> {
        match state {
            State::Known(result) | State::Done(result) => Ok(JobResult::clone(result)),
            State::Stopped(stopped) => Err(stopped.clone()),
            State::Running | State::Left => Err(Stopped::new(
                &self.id,
                "the dispatcher has abandoned its jobs, or its runtime is shut down",
            )),
        }
    }
}

impl State {
    const fn is_known(&self) -> bool {
        matches!(self, Self::Known(_) | Self::Done(_))
    }
}

/// A job that keeps running without its submitter.
#[derive(Debug)]
pub struct DetachedJob(pub(crate) Job);

/// The state of a detached job when its submitter may exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Detached {
    /// The job has started and is left to its runner.
    /// [`Dispatcher::attach`](crate::Dispatcher::attach) follows it from any process.
    Running,
    /// The job is over: no runner took it, it was cancelled, or it has already ended.
    Ended(Box<JobResult>),
}

impl DetachedJob {
    /// The job's identity.
    #[must_use]
    pub const fn id(&self) -> &JobId {
        self.0.id()
    }

    /// Like [`Job::take_events`]. The stream ends when the job is left to its runner.
    pub fn take_events(&mut self) -> Option<JobEvents> {
        self.0.take_events()
    }

    /// Returns a way to cancel this job until it is left to its runner.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.0.canceller()
    }

    /// Waits until the job has started and is left to its runner, or is over.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job goes on.
    ///
    /// # Errors
    /// As [`Job::wait`].
    pub async fn left(mut self) -> Result<Detached, Stopped> {
        drop(self.0.take_events());
        let over = |s: &State| matches!(s, State::Left | State::Done(_) | State::Stopped(_));
        // If the task is gone, its last state still counts.
        let _ = self.0.state.wait_for(over).await;
        let state = self.0.state.borrow();
        match &*state {
            State::Left => Ok(Detached::Running),
            state => Ok(Detached::Ended(Box::new(self.0.told(state)?))),
        }
    }
}

/// A job's progress. Waiting for the next event is cancel safe.
#[derive(Debug)]
pub struct JobEvents(pub(crate) mpsc::Receiver<JobEvent>);

impl Stream for JobEvents {
    type Item = JobEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<JobEvent>> {
        self.0.poll_recv(context)
    }
}

/// A job's output. Waiting for the next piece is cancel safe.
#[derive(Debug)]
pub struct JobLogs(pub(crate) mpsc::Receiver<LogChunk>);

impl JobLogs {
    /// Creates the two ends of a channel if the output is `wanted`.
    pub(crate) fn channel(wanted: bool) -> (Option<mpsc::Sender<LogChunk>>, Option<Self>) {
        let (sender, receiver) = wanted.then(|| mpsc::channel(CHUNKS_KEPT)).unzip();
        (sender, receiver.map(Self))
    }
}

impl Stream for JobLogs {
    type Item = LogChunk;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LogChunk>> {
        self.0.poll_recv(context)
    }
}

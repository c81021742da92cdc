//! The trait that every backend implements.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    AttachSpec, Attachment, Attempt, Capabilities, Capability, Error, ErrorKind, Event, EventSink,
    Exec, ExecSpec, Finding, Handle, ImageRef, InstallationId, JobStdin, LaunchError, LogChunk,
    LogPosition, Outcome, Plan, Report, Result, RunnerName, Signal, Started, Target, TerminalSize,
    TimedChunk,
};

/// What a launch receives besides the attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaunchContext {
    /// When the launch must have returned.
    ///
    /// This is the dispatcher's limit on the whole launch. The job's `timeout` is separate: it
    /// counts from the start, and the runner enforces it.
    pub deadline: Instant,
    /// How long the job may wait to be placed on the backend, from the commit on; and again, once
    /// its image is present, to be set up and started.
    pub start_timeout: Duration,
    /// How long the pull of the image may take, from its beginning. If `retry_pull` is set, a
    /// registry that gives no answer is asked again until then.
    pub pull_timeout: Duration,
    /// Whether a pull is retried if the registry gives no answer. If not, the first failure fails
    /// the launch, because another pull policy is tried next.
    pub retry_pull: bool,
    /// Whether the caller reads the output from its beginning, with `follow`, as soon as the launch
    /// returns. A runner may use this to receive the output as the job writes it.
    pub read_output: bool,
    /// The size of the job's terminal at its start. A runner that cannot set it then leaves it to
    /// [`attach`](Runner::attach).
    pub terminal_size: Option<TerminalSize>,
    /// Fires when the job is cancelled before it has started.
    pub cancel: CancellationToken,
    /// Where to report progress.
    pub events: EventSink,
}

impl LaunchContext {
    /// Creates a context with `deadline` for the launch, and for each of its phases.
    ///
    /// It retries pulls until then, is never cancelled, has no listener, and reads no output.
    #[must_use]
    pub fn new(deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        Self {
            deadline,
            start_timeout: left,
            pull_timeout: left,
            retry_pull: true,
            read_output: false,
            terminal_size: None,
            cancel: CancellationToken::new(),
            events: EventSink::default(),
        }
    }
}

/// The result of [`Runner::probe`]: the backend can take work now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Health {
    /// The backend and its version, such as `Docker Engine 29.0 (API 1.52)`.
    pub version: String,
    /// Facts worth showing, as names and values: address, namespace, identity, permissions.
    pub facts: Vec<(Cow<'static, str>, String)>,
    /// What works, but not as well as it should.
    pub warnings: Vec<String>,
}

impl Health {
    /// Adds a fact.
    pub fn push_fact(&mut self, name: impl Into<Cow<'static, str>>, value: impl fmt::Display) {
        self.facts.push((name.into(), value.to_string()));
    }
}

/// Whether a backend has an image, so that it needs no registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum LocalImage {
    /// The backend has the image.
    Present {
        /// The image's digest in its repository. `None` if it was only loaded or imported.
        digest: Option<String>,
    },
    /// The backend does not have the image.
    Absent,
    /// The backend cannot know: each node of a cluster has its own images.
    #[default]
    Unknown,
}

/// The result of [`Runner::settle`], for an attempt whose launch gave no clear answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Settled {
    /// The attempt never started, and it is fenced: it can no longer start.
    NeverStarted,
    /// The attempt has started, has ended, or may start.
    MayHaveStarted,
}

/// A backend: it runs one attempt of a job and reports how it ended.
///
/// The conformance suite checks each list below line by line. Several tasks may call all methods
/// at once, for different attempts and for the same one. So may a process other than the one that
/// launched the attempt.
///
/// Every method limits its own time. Only the streams last as long as the job.
#[async_trait]
pub trait Runner: fmt::Debug + Send + Sync + 'static {
    /// Returns the name under which this runner is configured.
    fn name(&self) -> &RunnerName;

    /// Returns what this runner can do.
    ///
    /// - Is fixed for the runner's life and needs no backend.
    /// - A job that needs more is never launched on this runner: the dispatcher compares.
    fn capabilities(&self) -> &Capabilities;

    /// Returns how to configure this runner so that it gains a capability that it lacks.
    ///
    /// The text is for a person, such as `set job.kubernetes.persistentVolumeClaimName`.
    ///
    /// - `None` for a capability that the runner has, and for one that no configuration adds.
    fn remedy(&self, _capability: Capability) -> Option<String> {
        None
    }

    /// Checks whether the backend can take work now.
    ///
    /// - Starts nothing and changes nothing.
    /// - Fails with `Unavailable` if the backend cannot be reached, with a reason that a person can
    ///   act on. Fails with `Denied` if the backend denies access.
    async fn probe(&self) -> Result<Health>;

    /// Checks whether the backend can take work now, with no more requests than that needs.
    ///
    /// - Fails as [`probe`](Self::probe) does. It may succeed where `probe` fails, if a launch
    ///   would then be refused for the same reason before anything starts.
    async fn ready(&self) -> Result<()> {
        self.probe().await.map(drop)
    }

    /// Returns what names the server behind this runner, such as its address.
    ///
    /// - Sends no request to the server, and returns within a second. A later answer is not used.
    /// - Two runners with the same name and the same answer talk to the same server: what one of
    ///   them learns about the server's reachability holds for the other, also in another process.
    /// - `None` if there is no server, or if it is not known. Nothing is then shared.
    async fn server(&self) -> Option<String> {
        None
    }

    /// Returns what names the access to the server behind this runner: the server, the place in it,
    /// and the identity. Contains no secret.
    ///
    /// - Sends no request to the server, and returns within a second. A later answer is not used.
    /// - If [`ready`](Self::ready) succeeds, it need not be called for half a minute for any runner with
    ///   the same name and the same answer, also in another process.
    /// - `None` if `ready` costs little, or if the access is not known. Nothing is then shared.
    async fn access(&self) -> Option<String> {
        None
    }

    /// Returns the backend that an attempt which is launched now is on, in the runner's own format. It is
    /// the part of a [`handle`](Self::handle) that configuration outside the runner decides, such as
    /// `DOCKER_HOST` or the current context of a kubeconfig. Contains no secret.
    ///
    /// - Sends no request, and returns within a second. A later answer is not used.
    /// - The dispatcher asks before it records an attempt, and gives the answer to `handle` and
    ///   [`launch`](Self::launch) as [`Attempt::target`]. A launch on another target fails with
    ///   `Refused` and `Unavailable`.
    /// - A handle of another target leads to `Unavailable` errors from every method: what another
    ///   backend does not know proves nothing about the attempt. The streams give an `Err` item and
    ///   try again.
    /// - `None` if the runner's own configuration says it all.
    async fn target(&self) -> Option<Target> {
        None
    }

    /// Checks whether `handle` is of the backend that this runner is configured for; see
    /// [`target`](Self::target).
    ///
    /// - Sends no request, and returns within a second. A later answer is not used.
    /// - Fails with `Unavailable` if the attempt is on another backend. The error names both, and how
    ///   to choose that one again.
    /// - Succeeds if either is not known.
    async fn reach(&self, _handle: &Handle) -> Result<()> {
        Ok(())
    }

    /// Returns whether `image` is on the backend.
    ///
    /// - Asks no registry and changes nothing.
    /// - Returns `Unknown` if the backend cannot know.
    async fn local_image(&self, _image: &ImageRef) -> Result<LocalImage> {
        Ok(LocalImage::Unknown)
    }

    /// Returns what [`launch`](Self::launch) would submit.
    ///
    /// - Starts nothing, changes nothing, and works without a backend.
    /// - Secrets appear as `***`.
    /// - Values that are only known at launch are marked.
    /// - Fails as `launch` would for a job that this runner cannot express: `Unsupported`,
    ///   `InvalidSpec`.
    fn plan(&self, attempt: &Attempt) -> Result<Plan>;

    /// Checks whether the backend would accept `attempt` now, beyond what
    /// [`probe`](Self::probe) checks.
    ///
    /// - Starts nothing and changes nothing.
    /// - What the backend would refuse is a [`Finding`], and so is what could not be checked. A
    ///   runner whose backend has nothing to check finds nothing.
    /// - Fails if the backend gives no answer, and as [`plan`](Self::plan) for a job that this
    ///   runner cannot express.
    async fn check(&self, _attempt: &Attempt) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    /// Returns where to find `attempt` once it is launched.
    ///
    /// - Is pure: computed from the attempt, with its target, and the runner's configuration, and the
    ///   same in every process.
    fn handle(&self, attempt: &Attempt) -> Handle;

    /// Makes the image available as the attempt's pull policy says, and starts the attempt.
    ///
    /// - Returns once the job has started (or has already ended).
    /// - Never starts the same attempt twice. A repeated launch, from any process, returns the
    ///   attempt that exists.
    /// - `Refused`: it is proven that nothing started and nothing can start. What was prepared is
    ///   removed.
    /// - `Indeterminate`: the attempt may have started; see [`settle`](Self::settle).
    /// - An unavailable image is `Refused` with `ImageUnavailable`.
    /// - A command that does not exist or is not executable, or a container that cannot be set up,
    ///   is `Refused` with `Rejected`, even though the backend had accepted the attempt.
    /// - A definite answer about the image (not found, access denied, not an image) ends the launch
    ///   at once.
    /// - A registry that gives no answer (connection refused, timeout, 429, 5xx) is asked again
    ///   for the context's `pull_timeout`. The launch then fails with `ImageUnavailable` and
    ///   `Unreachable`. Without `retry_pull` it fails at the first failure.
    /// - Returns by the context's deadline, and soon after its cancellation: `Refused` with
    ///   `Unavailable` at the deadline, `Refused` with `Cancelled` after a cancel, or
    ///   `Indeterminate`.
    /// - Sends progress to the context's events and never waits for the listener.
    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError>;

    /// Opens the stdin of an attempt that has started, for a job that asks for one.
    ///
    /// - Can be opened once, from any process. Until then, the job waits for input. That of a job
    ///   with `tty` can be opened again, and has no end of file.
    /// - If the process that launched the attempt ends, and no process has opened the stdin, the job
    ///   may receive end of file.
    /// - For an attempt that has ended, returns a stdin whose writes fail with `BrokenPipe`.
    /// - Fails with `Unavailable` if the backend cannot be reached. The job's stdin is then not
    ///   consumed, and the call can be repeated.
    /// - Fails with `Unsupported` on a runner without the capability `stdin`.
    async fn stdin(&self, _handle: &Handle) -> Result<JobStdin> {
        Err(Error::new(ErrorKind::Unsupported, "this runner does not support stdin"))
    }

    /// Finds out whether an attempt has started, and prevents it from starting if it has not.
    ///
    /// - `NeverStarted` is a promise: even a launch in progress, in any process, can no longer
    ///   start the attempt.
    /// - An attempt that was never launched is `NeverStarted` too.
    /// - An attempt that ran is `MayHaveStarted`, even after it ended.
    /// - Returns by `deadline`. If it returns an error, nothing is known.
    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled>;

    /// Returns the attempts of `installation` on this backend: launched and not removed.
    ///
    /// - Finds them on the backend by its labels, in no particular order, including those of
    ///   another process.
    /// - Never returns attempts of another installation.
    /// - Never returns attempts that the backend itself ties to another process, which alone may act
    ///   on them; see [`abandoned`](Self::abandoned).
    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>>;

    /// Returns the attempts of `installation` that the backend itself ties to a process that has
    /// ended, and why each is abandoned, in words for a person. Nothing continues them: they are to
    /// be ended and removed. Default: none.
    ///
    /// - Returns an attempt only with proof that its process has ended.
    async fn abandoned(&self, _installation: &InstallationId) -> Result<Vec<(Handle, String)>> {
        Ok(Vec::new())
    }

    /// Returns what happens to an attempt from now to its end.
    ///
    /// - For an attempt that has started, [`Event::Started`] comes promptly, once, and before
    ///   everything but progress: as soon as the backend has answered, even if the attempt has
    ///   already ended.
    /// - For an attempt that runs, [`Event::Running`] follows promptly, once. It never comes for an
    ///   attempt that had ended before this call.
    /// - The last item is [`Event::Ended`]. It occurs exactly once, even for a job that had already
    ///   ended, and then the stream ends.
    /// - An attempt that is gone (removed by another process or user, or never launched) ends as
    ///   `Lost`.
    /// - A handle that the runner cannot read gives one item, `Lost` with the reason
    ///   ([`unreadable_events`]).
    /// - A failure to reach the backend does not end the stream: it tries again for as long as it
    ///   is polled. An `Err` item is a hint for a person, and the stream continues after it.
    /// - This stream enforces the job's `timeout` while it is polled: a job past its timeout gets
    ///   TERM, its grace period, KILL, and ends as `DeadlineExceeded`. With the capability
    ///   `keep_timeout`, the timeout is enforced even if no process polls the stream.
    /// - A job ended by [`cancel`](Self::cancel) ends as `Cancelled`, regardless of the caller.
    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>>;

    /// Returns the output of an attempt, starting at `since`.
    ///
    /// - Returns the bytes as the job wrote them, each once, in order within a stream.
    /// - With `follow`, the stream continues until the job has ended and all its output has
    ///   arrived. Without it, the stream ends after the output that exists.
    /// - Output that is no longer available is a [`LogChunk::Gap`], never silence. A runner with
    ///   the capability `keep_all_logs` has no gaps, except for an attempt that is gone.
    /// - Works after the job's end until [`remove`](Self::remove).
    /// - The output of an attempt that was removed is a [`LogChunk::Gap`] in each stream, `Stdout`
    ///   and `Stderr`, or in the one stream of a runner without the capability `separate_streams`.
    ///   Then the stream ends.
    /// - A handle that the runner cannot read gives one item, the error ([`unreadable_logs`]).
    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>>;

    /// Returns the output of an attempt as [`logs`](Self::logs) does, with the time of each piece.
    ///
    /// - A piece has one time: that of each line that begins in it. The times of one stream do not
    ///   decrease, if the runner has the capability `separate_streams`.
    /// - Without the capability `log_times`, it gives one item, the error `Unsupported`.
    fn timed_logs(
        &self,
        _handle: &Handle,
        _since: LogPosition,
        _follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        let message = "this runner does not know when a job wrote its output";
        stream::iter([Err(Error::new(ErrorKind::Unsupported, message))]).boxed()
    }

    /// Ends an attempt early: TERM, `grace`, KILL of the whole process tree, container or Pod.
    ///
    /// - Returns once the request is durable on the backend or with the supervisor.
    ///   [`events`](Self::events) reports the end itself.
    /// - Is idempotent. On a runner with the capability `shorten_grace`, a second call with a
    ///   shorter grace shortens the grace period. On other runners it may change nothing.
    /// - With a grace of zero, sends KILL as soon as the backend allows.
    /// - An attempt that had ended keeps its outcome. For an attempt that is gone, returns `Ok`.
    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()>;

    /// Sends a signal to the main process of an attempt that runs.
    ///
    /// - Returns once the signal is sent. An attempt that ends because of it has its own outcome: it
    ///   is not cancelled.
    /// - Fails with `NotFound` for an attempt that does not run: it has ended, or is gone.
    /// - Fails with `Unsupported` on a runner without the capability `signals`.
    async fn signal(&self, _handle: &Handle, _signal: Signal) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "this runner does not support signals"))
    }

    /// Attaches to an attempt that runs, from any process, as often as wanted.
    ///
    /// - The output is what the job writes, as it writes it: an unfinished line too.
    /// - The terminal of a job with `tty` takes input from each attachment that asks for it.
    /// - Fails with `NotFound` for an attempt that does not run: it has ended, or is gone.
    /// - Fails with `Unsupported` on a runner that cannot attach. One with the capability `tty` can.
    async fn attach(&self, _handle: &Handle, _spec: &AttachSpec) -> Result<Attachment> {
        Err(Error::new(ErrorKind::Unsupported, "this runner does not support attaching to a job"))
    }

    /// Runs a command in an attempt that runs, with the job's environment, working directory and
    /// user.
    ///
    /// - Returns once the command has started, or could not be executed: its end then says so. The
    ///   command's output and its end are the [`Exec::events`].
    /// - The outcome and the output of the job do not change. The command ends with the job at the
    ///   latest, in whatever state it is.
    /// - Fails with `NotFound` for an attempt that does not run: it has ended, or is gone.
    /// - Fails with `Unsupported` on a runner without the capability `exec`, and for a field of the
    ///   specification that the backend cannot express.
    async fn exec(&self, _handle: &Handle, _spec: &ExecSpec) -> Result<Exec> {
        Err(Error::new(ErrorKind::Unsupported, "this runner does not support exec"))
    }

    /// Removes an attempt and everything that belongs to it from the backend.
    ///
    /// The dispatcher calls it only after the outcome is recorded.
    ///
    /// - Is idempotent. For an attempt that is gone, returns `Ok`.
    /// - Kills a job that still runs.
    /// - An attempt settled as `NeverStarted` stays fenced: only what the fence does not need is
    ///   removed.
    async fn remove(&self, handle: &Handle) -> Result<()>;
}

/// Returns the events of an attempt whose handle the runner cannot read: only [`Event::Ended`] with
/// [`Outcome::Lost`], because no later look can find the attempt.
#[must_use]
pub fn unreadable_events(error: &Error) -> BoxStream<'static, Result<Event>> {
    let outcome = Outcome::Lost { message: error.to_string() };
    stream::iter([Ok(Event::Ended(Report::new(outcome)))]).boxed()
}

/// Returns the output of an attempt whose handle the runner cannot read: only the error.
#[must_use]
pub fn unreadable_logs<T: Send + 'static>(error: Error) -> BoxStream<'static, Result<T>> {
    stream::iter([Err(error)]).boxed()
}

//! The trait that every backend implements.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Attempt, Capabilities, Capability, Event, EventSink, Handle, ImageRef, InstallationId,
    LaunchError, LogChunk, LogPosition, Plan, Result, RunnerName, Started,
};

/// What a launch is given beside the attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaunchContext {
    /// When the launch must have answered. The dispatcher's clock for pulling and starting; not
    /// the job's `timeout`, which counts from the start and is the runner's to keep.
    pub deadline: Instant,
    /// When the image must be there; at most `deadline`. A registry that gives no answer is asked
    /// again until then, if `retry_pull`.
    pub pull_deadline: Instant,
    /// Whether a pull that got no answer from the registry is tried again; if not, it fails at its
    /// first failure, because another pull policy is to be tried next.
    pub retry_pull: bool,
    /// Fired when the job is cancelled before it has started.
    pub cancel: CancellationToken,
    /// Where to tell progress.
    pub events: EventSink,
}

impl LaunchContext {
    /// A context that ends at `deadline`, for the image as well, retries pulls until then, is never
    /// cancelled, and has no listener.
    #[must_use]
    pub fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            pull_deadline: deadline,
            retry_pull: true,
            cancel: CancellationToken::new(),
            events: EventSink::default(),
        }
    }
}

/// What a runner finds when it is asked whether it may take work now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The backend and its version, such as `Docker Engine 29.0 (API 1.52)`.
    pub version: String,
    /// Facts worth showing: address, namespace, identity, permissions. Names and values.
    pub facts: Vec<(&'static str, String)>,
    /// What works, but not as one would wish.
    pub warnings: Vec<String>,
}

/// Whether a backend has an image, so that no registry would be needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalImage {
    /// It has it.
    Present {
        /// The digest by which its repository knows it; none if it was only loaded or imported.
        digest: Option<String>,
    },
    /// It does not.
    Absent,
    /// That cannot be told: a cluster's nodes each have their own images.
    #[default]
    Unknown,
}

/// What became of an attempt whose launch gave no clear answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It never started, and it is fenced: it cannot start any more.
    NeverStarted,
    /// It has started, has ended, or may start.
    MayHaveStarted,
}

/// A backend: something that runs one attempt of a job and tells how it ended.
///
/// Each list below is checked line by line by the conformance suite. All methods may be called
/// at once from several tasks, for different attempts and for the same one, and from another process than the one that launched.
///
/// Every method is bounded in time by itself; only the streams last as long as the job.
#[async_trait]
pub trait Runner: fmt::Debug + Send + Sync + 'static {
    /// The name under which this runner is configured.
    fn name(&self) -> &RunnerName;

    /// What this runner can do.
    ///
    /// - Fixed for the runner's life; needs no backend.
    /// - A job that needs more is never launched here: the dispatcher compares.
    fn capabilities(&self) -> &Capabilities;

    /// What would give this runner a capability that it lacks as it is configured, in words for a
    /// person, such as `set job.kubernetes.persistentVolumeClaimName`.
    ///
    /// - None for what it has, and for what it lacks by nature.
    fn remedy(&self, _capability: Capability) -> Option<String> {
        None
    }

    /// Asks whether the backend may take work now.
    ///
    /// - Starts nothing and changes nothing.
    /// - Fails with `Unavailable` if the backend cannot be reached, with the reason a person can
    ///   act on; with `Denied` if it refuses us.
    async fn probe(&self) -> Result<Health>;

    /// Whether `image` is on the backend.
    ///
    /// - Asks no registry and changes nothing.
    /// - `Unknown` where it cannot be told.
    async fn local_image(&self, _image: &ImageRef) -> Result<LocalImage> {
        Ok(LocalImage::Unknown)
    }

    /// What [`launch`](Self::launch) would submit.
    ///
    /// - Starts nothing, changes nothing, works without a backend.
    /// - Secrets stand as `***`.
    /// - What is learnt only at launch is marked so.
    /// - Fails as `launch` would for a job that this runner cannot express: `Unsupported`,
    ///   `InvalidSpec`.
    fn plan(&self, attempt: &Attempt) -> Result<Plan>;

    /// Where `attempt` is to be found once launched.
    ///
    /// - Pure: computed from the attempt and the runner's configuration; the same in every
    ///   process.
    fn handle(&self, attempt: &Attempt) -> Handle;

    /// Makes the image available as the attempt's pull policy says, and starts the attempt.
    ///
    /// - Returns once the job has started (or has already ended).
    /// - Launched again with the same attempt, from any process, it never starts it twice: it
    ///   returns the one that is there.
    /// - `Refused`: proven that nothing started and nothing can; what was prepared is removed.
    /// - `Indeterminate`: it may have started; see [`settle`](Self::settle).
    /// - An image that cannot be had is `Refused` with `ImageUnavailable`; a command that is not
    ///   there or not executable, or a container that cannot be set up, with `Rejected`, though
    ///   the backend had accepted it.
    /// - A definite answer about the image (not there, refused, no image) ends the launch at once. A
    ///   registry that gives none (refused, timed out, 429, 5xx) is asked again until the context's
    ///   `pull_deadline`, and then is `ImageUnavailable` with `Unreachable`; without `retry_pull` at
    ///   its first failure.
    /// - Answers by the context's deadline, and soon after its cancellation: `Refused` with
    ///   `Unavailable` at the deadline, with `Internal` ("cancelled") after a cancel, or
    ///   `Indeterminate`.
    /// - Progress goes to the context's events and is never waited for.
    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError>;

    /// Finds out whether an attempt has started, and keeps it from starting if it has not.
    ///
    /// - `NeverStarted` is a promise: also a launch still under way, in any process, cannot start
    ///   it any more.
    /// - An attempt that was never launched is `NeverStarted` too.
    /// - What has run is `MayHaveStarted`, also after it ended.
    /// - Answers by `deadline`, if need be with an error; then nothing is known.
    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled>;

    /// The attempts of `installation` that are on this backend: launched and not removed.
    ///
    /// - Found on the backend by its labels, in no particular order, also those of another
    ///   process.
    /// - Those of another installation are never among them.
    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>>;

    /// What happens to an attempt from now on, to its end.
    ///
    /// - For an attempt that has started, [`Event::Started`] comes first and promptly, once, also if
    ///   the attempt has ended already: as soon as the backend has answered, and after nothing but
    ///   progress.
    /// - The last item is [`Event::Ended`], exactly one, also for a job that had ended before;
    ///   after it the stream is over.
    /// - An attempt that is gone (removed by somebody, never launched) ends as `Lost`.
    /// - A failure to ask the backend is not an end: the stream tries again, for as long as it is
    ///   polled. An `Err` item is a hint for a person, and the stream goes on after it.
    /// - The job's `timeout` is kept by this stream: while somebody polls it, a job past its
    ///   timeout gets TERM, its grace period, KILL, and ends as `DeadlineExceeded`. With the
    ///   capability `keep_timeout` so it does while nobody polls it.
    /// - A job ended by [`cancel`](Self::cancel) ends as `Cancelled`, whoever called that.
    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>>;

    /// The output of an attempt, from `since` on.
    ///
    /// - Bytes as the job wrote them, each once, in order within a stream.
    /// - With `follow` the stream goes on until the job has ended and all its output has come;
    ///   without it, it ends with what is there.
    /// - Output that cannot be had any more is a [`LogChunk::Gap`], never silence. Of a runner with
    ///   the capability `keep_all_logs` there is none, but for an attempt that is gone.
    /// - Works after the job's end until [`remove`](Self::remove).
    /// - The output of an attempt that was removed is a [`LogChunk::Gap`] in each stream, `Stdout`
    ///   and `Stderr`, or in the one stream of a runner without the capability `separate_streams`.
    ///   Then the stream ends.
    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>>;

    /// Ends an attempt early: TERM, `grace`, KILL of the whole process tree, container or Pod.
    ///
    /// - Returns once the request is durable on the backend or with the supervisor; the end
    ///   itself comes through [`events`](Self::events).
    /// - Idempotent; a second call with a shorter grace shortens it, where the runner has the
    ///   capability `shorten_grace`; elsewhere it may change nothing. With a grace of zero it is KILL
    ///   as soon as the backend allows.
    /// - An attempt that had ended keeps its outcome; one that is gone is `Ok`.
    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()>;

    /// Removes an attempt and all that belongs to it from the backend. Called only after its
    /// outcome is recorded.
    ///
    /// - Idempotent; one that is gone is `Ok`.
    /// - A job that still runs is killed.
    /// - What was settled as `NeverStarted` stays fenced: only what that does not need is removed.
    async fn remove(&self, handle: &Handle) -> Result<()>;
}

//! The one place where panics of runners are caught.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use longshore_core::{
    AttachSpec, Attachment, Attempt, Capabilities, Capability, Error, ErrorKind, Event, Exec,
    ExecSpec, Finding, Handle, Health, ImageRef, InstallationId, JobStdin, LaunchContext,
    LaunchError, LocalImage, LogChunk, LogPosition, Plan, Result, Runner, RunnerName, Settled,
    Signal, Started, Target, TimedChunk,
};
use tokio::time::Instant;

/// The most characters of a panic's message that an error repeats.
const LONGEST_MESSAGE: usize = 200;

/// A runner whose panics are `Unavailable` errors, so that a panic in one runner breaks no promise
/// to a job and leaves the other runners alone.
///
/// - A panic in a launch is `Indeterminate`: the job may have started.
/// - A panic in a stream is an `Err` item, the last one of that stream.
/// - A panic in `handle` leads to a handle that no runner can read, and then to a launch that is
///   refused before anything starts.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn Runner>);

impl Guarded {
    /// Makes a call that returns at once.
    fn call<T>(&self, what: &'static str, call: impl FnOnce() -> T) -> Result<T> {
        catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panicked(what, &*panic))
    }

    /// Waits for a call that returns a future.
    async fn wait<T>(&self, what: &'static str, call: impl Future<Output = T>) -> Result<T> {
        AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| panicked(what, &*panic))
    }

    /// Makes a call that returns a stream.
    fn stream<T: Send + 'static>(
        &self,
        what: &'static str,
        call: impl FnOnce() -> BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        match self.call(what, call) {
            Ok(items) => AssertUnwindSafe(items)
                .catch_unwind()
                .map(move |item| item.unwrap_or_else(|panic| Err(panicked(what, &*panic))))
                .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }
}

fn panicked(what: &'static str, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let error = Error::new(ErrorKind::Unavailable, "the runner panicked").with("call", what);
    match text {
        Some(text) => error.caused_by(text.chars().take(LONGEST_MESSAGE).collect::<String>()),
        None => error,
    }
}

// A method with a default must be forwarded too.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Runner for Guarded {
    fn name(&self) -> &RunnerName {
        self.0.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        self.call("remedy", || self.0.remedy(capability)).ok().flatten()
    }

    async fn probe(&self) -> Result<Health> {
        self.wait("probe", async { self.0.probe().await }).await?
    }

    async fn ready(&self) -> Result<()> {
        self.wait("ready", async { self.0.ready().await }).await?
    }

    async fn server(&self) -> Option<String> {
        self.wait("server", async { self.0.server().await }).await.ok().flatten()
    }

    async fn access(&self) -> Option<String> {
        self.wait("access", async { self.0.access().await }).await.ok().flatten()
    }

    async fn target(&self) -> Option<Target> {
        self.wait("target", async { self.0.target().await }).await.ok().flatten()
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        self.wait("reach", async { self.0.reach(handle).await }).await?
    }

    async fn local_image(&self, image: &ImageRef) -> Result<LocalImage> {
        self.wait("local_image", async { self.0.local_image(image).await }).await?
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        self.call("plan", || self.0.plan(attempt))?
    }

    async fn check(&self, attempt: &Attempt) -> Result<Vec<Finding>> {
        self.wait("check", async { self.0.check(attempt).await }).await?
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        self.call("handle", || self.0.handle(attempt)).unwrap_or_else(|_| {
            Handle::new(self.name().clone(), 0, attempt.id.clone(), Default::default())
        })
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        // Without a handle, a started job could not be found again.
        self.call("handle", || self.0.handle(attempt)).map_err(LaunchError::Refused)?;
        let launched = self.wait("launch", async { self.0.launch(attempt, context).await }).await;
        launched.unwrap_or_else(|error| Err(LaunchError::Indeterminate(error)))
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        self.wait("stdin", async { self.0.stdin(handle).await }).await?
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        self.wait("settle", async { self.0.settle(handle, deadline).await }).await?
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        self.wait("adopt", async { self.0.adopt(installation).await }).await?
    }

    async fn abandoned(&self, installation: &InstallationId) -> Result<Vec<(Handle, String)>> {
        self.wait("abandoned", async { self.0.abandoned(installation).await }).await?
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        self.stream("events", || self.0.events(handle))
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        self.stream("logs", || self.0.logs(handle, since, follow))
    }

    fn timed_logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        self.stream("timed_logs", || self.0.timed_logs(handle, since, follow))
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        self.wait("cancel", async { self.0.cancel(handle, grace).await }).await?
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<()> {
        self.wait("signal", async { self.0.signal(handle, signal).await }).await?
    }

    async fn attach(&self, handle: &Handle, spec: &AttachSpec) -> Result<Attachment> {
        let mut attached =
            self.wait("attach", async { self.0.attach(handle, spec).await }).await??;
        attached.output = attached.output.map(|output| self.stream("attach", || output));
        Ok(attached)
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        let started = self.wait("exec", async { self.0.exec(handle, spec).await }).await??;
        let Exec { stdin, events, sizes, .. } = started;
        Ok(Exec::new(stdin, self.stream("exec", || events)).with_sizes(sizes))
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        self.wait("remove", async { self.0.remove(handle).await }).await?
    }
}

//! Runners that change some calls of another runner and forward all others.

use std::fmt;
use std::time::Duration;

use crate::{
    AttachSpec, Attachment, Attempt, Capabilities, Capability, Event, Exec, ExecSpec, Finding,
    Handle, Health, ImageRef, InstallationId, JobStdin, LaunchContext, LaunchError, LocalImage,
    LogChunk, LogPosition, Plan, Result, Runner, RunnerName, Settled, Signal, Started, Target,
    TimedChunk,
};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

/// A runner over another runner. It implements only the methods that it changes; the others forward
/// to [`inner`](Self::inner).
///
/// [`Forwarding`] makes it a [`Runner`]. The methods are those of that trait.
///
/// ```
/// use longshore_core::{Forward, Forwarding, Health, Result, Runner};
///
/// /// A runner that is always well.
/// #[derive(Debug)]
/// struct Well<R>(R);
///
/// #[async_trait::async_trait]
/// impl<R: Runner> Forward for Well<R> {
///     fn inner(&self) -> &dyn Runner {
///         &self.0
///     }
///
///     async fn probe(&self) -> Result<Health> {
///         Ok(Health::default())
///     }
/// }
///
/// fn well(runner: impl Runner) -> impl Runner {
///     Forwarding(Well(runner))
/// }
/// ```
#[expect(missing_docs, reason = "the docs of each method are those of Runner")]
#[async_trait]
pub trait Forward: fmt::Debug + Send + Sync + 'static {
    /// Returns the runner that gets every call that this one does not change.
    fn inner(&self) -> &dyn Runner;

    fn name(&self) -> &RunnerName {
        self.inner().name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner().capabilities()
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        self.inner().remedy(capability)
    }

    async fn probe(&self) -> Result<Health> {
        self.inner().probe().await
    }

    async fn ready(&self) -> Result<()> {
        self.probe().await.map(drop)
    }

    async fn server(&self) -> Option<String> {
        self.inner().server().await
    }

    async fn access(&self) -> Option<String> {
        self.inner().access().await
    }

    async fn target(&self) -> Option<Target> {
        self.inner().target().await
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        self.inner().reach(handle).await
    }

    async fn local_image(&self, image: &ImageRef) -> Result<LocalImage> {
        self.inner().local_image(image).await
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        self.inner().plan(attempt)
    }

    async fn check(&self, attempt: &Attempt) -> Result<Vec<Finding>> {
        self.inner().check(attempt).await
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        self.inner().handle(attempt)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        self.inner().launch(attempt, context).await
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        self.inner().stdin(handle).await
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        self.inner().settle(handle, deadline).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        self.inner().adopt(installation).await
    }

    async fn abandoned(&self, installation: &InstallationId) -> Result<Vec<(Handle, String)>> {
        self.inner().abandoned(installation).await
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        self.inner().events(handle)
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        self.inner().logs(handle, since, follow)
    }

    fn timed_logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        self.inner().timed_logs(handle, since, follow)
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        self.inner().cancel(handle, grace).await
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<()> {
        self.inner().signal(handle, signal).await
    }

    async fn attach(&self, handle: &Handle, spec: &AttachSpec) -> Result<Attachment> {
        self.inner().attach(handle, spec).await
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        self.inner().exec(handle, spec).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        self.inner().remove(handle).await
    }
}

/// A [`Forward`] as a [`Runner`].
#[derive(Clone, Debug)]
pub struct Forwarding<F>(pub F);

// A method of `Runner` with a default must be forwarded too.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<F: Forward> Runner for Forwarding<F> {
    fn name(&self) -> &RunnerName {
        self.0.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    fn remedy(&self, capability: Capability) -> Option<String> {
        self.0.remedy(capability)
    }

    async fn probe(&self) -> Result<Health> {
        self.0.probe().await
    }

    async fn ready(&self) -> Result<()> {
        self.0.ready().await
    }

    async fn server(&self) -> Option<String> {
        self.0.server().await
    }

    async fn access(&self) -> Option<String> {
        self.0.access().await
    }

    async fn target(&self) -> Option<Target> {
        self.0.target().await
    }

    async fn reach(&self, handle: &Handle) -> Result<()> {
        self.0.reach(handle).await
    }

    async fn local_image(&self, image: &ImageRef) -> Result<LocalImage> {
        self.0.local_image(image).await
    }

    fn plan(&self, attempt: &Attempt) -> Result<Plan> {
        self.0.plan(attempt)
    }

    async fn check(&self, attempt: &Attempt) -> Result<Vec<Finding>> {
        self.0.check(attempt).await
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        self.0.handle(attempt)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        self.0.launch(attempt, context).await
    }

    async fn stdin(&self, handle: &Handle) -> Result<JobStdin> {
        self.0.stdin(handle).await
    }

    async fn settle(&self, handle: &Handle, deadline: Instant) -> Result<Settled> {
        self.0.settle(handle, deadline).await
    }

    async fn adopt(&self, installation: &InstallationId) -> Result<Vec<Handle>> {
        self.0.adopt(installation).await
    }

    async fn abandoned(&self, installation: &InstallationId) -> Result<Vec<(Handle, String)>> {
        self.0.abandoned(installation).await
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        self.0.events(handle)
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        self.0.logs(handle, since, follow)
    }

    fn timed_logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<TimedChunk>> {
        self.0.timed_logs(handle, since, follow)
    }

    async fn cancel(&self, handle: &Handle, grace: Duration) -> Result<()> {
        self.0.cancel(handle, grace).await
    }

    async fn signal(&self, handle: &Handle, signal: Signal) -> Result<()> {
        self.0.signal(handle, signal).await
    }

    async fn attach(&self, handle: &Handle, spec: &AttachSpec) -> Result<Attachment> {
        self.0.attach(handle, spec).await
    }

    async fn exec(&self, handle: &Handle, spec: &ExecSpec) -> Result<Exec> {
        self.0.exec(handle, spec).await
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        self.0.remove(handle).await
    }
}

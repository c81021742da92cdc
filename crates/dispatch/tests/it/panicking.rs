//! Runners that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use longshore_conformance::simulated::{Run, Script, SimulatedRunner, What, World, Written};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{
    Attempt, Event, Handle, Health, LaunchContext, LaunchError, LogChunk, LogPosition, Result,
    Runner, Started,
};
use longshore_dispatch::Dispatcher;

use crate::support::*;

/// A call in which a runner panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Handle,
    Probe,
    LaunchBeforeTheStart,
    LaunchAfterTheStart,
    Events,
    Logs,
    Remove,
}

/// A simulated runner that panics in one of its calls, the first time.
#[derive(Debug)]
struct Panics {
    inner: SimulatedRunner,
    call: In,
    done: AtomicBool,
}

impl Panics {
    fn is_due(&self, call: In) -> bool {
        self.call == call && !self.done.swap(true, Ordering::Relaxed)
    }

    fn panic_in(&self, call: In) {
        assert!(!self.is_due(call), "a bug in {call:?}");
    }
}

#[async_trait]
impl Forward for Panics {
    fn inner(&self) -> &dyn Runner {
        &self.inner
    }

    async fn probe(&self) -> Result<Health> {
        self.panic_in(In::Probe);
        self.inner.probe().await
    }

    fn handle(&self, attempt: &Attempt) -> Handle {
        // Pure code fails every time.
        assert!(self.call != In::Handle, "a bug in {:?}", self.call);
        self.inner.handle(attempt)
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        self.panic_in(In::LaunchBeforeTheStart);
        let launched = self.inner.launch(attempt, context).await;
        self.panic_in(In::LaunchAfterTheStart);
        launched
    }

    fn events(&self, handle: &Handle) -> BoxStream<'static, Result<Event>> {
        let due = self.is_due(In::Events);
        let bug = stream::once(async move {
            assert!(!due, "a bug in events");
            Ok(Event::Scheduled)
        });
        bug.chain(self.inner.events(handle)).boxed()
    }

    fn logs(
        &self,
        handle: &Handle,
        since: LogPosition,
        follow: bool,
    ) -> BoxStream<'static, Result<LogChunk>> {
        let due = self.is_due(In::Logs);
        let chunks = self.inner.logs(handle, since, follow);
        let mut chunks = chunks.enumerate();
        stream::poll_fn(move |context| {
            let next = chunks.poll_next_unpin(context);
            assert!(
                !(due && matches!(next, std::task::Poll::Ready(Some((1, _))))),
                "a bug in logs"
            );
            next.map(|item| item.map(|(_, chunk)| chunk))
        })
        .boxed()
    }

    async fn remove(&self, handle: &Handle) -> Result<()> {
        self.panic_in(In::Remove);
        self.inner.remove(handle).await
    }
}

/// Creates a runner `first` that panics in `call`, and a runner `second` that does not. A job runs
/// for a minute, writes three times and exits with code 3.
fn panics_in(call: In) -> Scene {
    let script = || {
        let output = (0..3).map(|i| Written::stdout(SECOND * i, Bytes::from(format!("{i} "))));
        let mut script = Script::default();
        script.runs.push_back(Run::exits(3, MINUTE).writing(output));
        script
    };
    let world = World::new();
    let runners =
        vec![world.runner(name("first"), script()), world.runner(name("second"), script())];
    let first = Panics { inner: runners[0].clone(), call, done: AtomicBool::default() };
    let dispatcher = Dispatcher::builder()
        .jitter_seed(1)
        .runner(Arc::new(Forwarding(first)))
        .runner(Arc::new(runners[1].clone()))
        .build()
        .unwrap();
    Scene { world, runners, dispatcher }
}

/// Runs a job, and checks that it ran once, on `runner`, with all its output and nothing left.
/// Returns the reason why a runner was passed over.
async fn runs_once_on(scene: &Scene, runner: &str) -> Option<String> {
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let logs = job.take_logs().unwrap();
    let ((output, gap), result) = tokio::join!(read(logs), job.result());
    let result = result.unwrap();
    assert_eq!((output.as_str(), gap), ("0 1 2 ", false));
    job.end().await;
    assert_eq!(result.outcome.exit_code(), 3, "{:?}", result.outcome);
    assert_eq!(result.runner, Some(name(runner)));
    assert_eq!(scene.count(|what| matches!(what, What::Started)), 1);
    scene.shut_down().await;
    result.passed_over.first().map(|passed| passed.message.clone())
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_panics_before_anything_has_started_is_passed_over() {
    for call in [In::Handle, In::Probe, In::LaunchBeforeTheStart] {
        let scene = panics_in(call);
        let why = runs_once_on(&scene, "second").await.unwrap();
        assert!(why.contains("the runner panicked"), "{call:?}: {why}");
        assert!(why.contains("a bug in"), "{call:?}: {why}");
        assert_eq!(scene.present(), 0, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_followed_to_its_end_whatever_panics_after_its_start() {
    for call in [In::LaunchAfterTheStart, In::Events, In::Logs, In::Remove] {
        let scene = panics_in(call);
        assert_eq!(runs_once_on(&scene, "first").await, None, "{call:?}");
        assert_eq!(scene.present(), 0, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn doctor_reports_a_panic_and_still_asks_the_other_runners() {
    let scene = panics_in(In::Probe);
    let health = scene.dispatcher.examine(&job()).await.unwrap().runners;
    let [first, second] = &health[..] else { panic!("{health:?}") };
    assert!(first.result.as_ref().unwrap_err().to_string().contains("the runner panicked"));
    assert!(second.result.is_ok());
}

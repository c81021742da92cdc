//! The stdin of jobs.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use longshore_conformance::simulated::{Run, Script, SimulatedRunner, What, World};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{
    Capabilities, Capability, Error, ErrorKind, Handle, JobResult, JobStdin, Result, Runner,
};
use longshore_dispatch::{Detached, Dispatcher, JobEvent, Submission};
use longshore_journal::Journal;
use parking_lot::Mutex;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex, empty, join, repeat, sink,
};
use tokio::time::Instant;

use crate::support::*;

/// What a runner answers to the opening of a stdin.
type Answer = Box<dyn FnOnce() -> Result<JobStdin> + Send>;

/// A simulated runner whose jobs have a stdin.
struct Fed {
    inner: SimulatedRunner,
    answers: Mutex<VecDeque<Answer>>,
    opened: AtomicBool,
}

impl std::fmt::Debug for Fed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fed")
    }
}

#[async_trait]
impl Forward for Fed {
    fn inner(&self) -> &dyn Runner {
        &self.inner
    }

    async fn stdin(&self, _handle: &Handle) -> Result<JobStdin> {
        self.opened.store(true, Ordering::SeqCst);
        let answer = self.answers.lock().pop_front();
        answer.map_or_else(|| Err(Error::new(ErrorKind::NotFound, "it is open")), |answer| answer())
    }
}

/// A runner on which one job runs for `duration`, and a journal.
struct Setup {
    world: World,
    runner: Arc<Forwarding<Fed>>,
    journal: Journal,
}

impl Setup {
    fn new(duration: Duration, answers: impl IntoIterator<Item = Answer>) -> Self {
        let world = World::new();
        let mut script = Script::default();
        script.runs.push_back(Run::exits(0, duration));
        let inner = world.runner(name("last"), script);
        let answers = Mutex::new(answers.into_iter().collect());
        let runner = Fed { inner, answers, opened: AtomicBool::new(false) };
        Self { world, runner: Arc::new(Forwarding(runner)), journal: Journal::in_memory().unwrap() }
    }

    /// Creates the dispatcher of another process, with `before` as its first runners.
    fn dispatcher(&self, before: &[SimulatedRunner]) -> Dispatcher {
        let mut builder = Dispatcher::builder();
        for runner in before {
            builder = builder.runner(Arc::new(runner.clone()));
        }
        let runner: Arc<dyn Runner> = Arc::clone(&self.runner) as _;
        let builder = builder.runner(runner).installation("here".parse().unwrap()).jitter_seed(1);
        builder.journal(self.journal.clone()).build().unwrap()
    }

    /// Runs a job with `source` as its stdin.
    async fn run(&self, source: impl AsyncRead + Send + Unpin + 'static) -> JobResult {
        let submission = Submission::new(job()).with_stdin(source);
        self.dispatcher(&[]).submit(submission).await.unwrap().end().await
    }

    fn was_opened(&self) -> bool {
        self.runner.0.opened.load(Ordering::SeqCst)
    }
}

/// Returns an answer, and what the job reads from its stdin, which holds `bytes`.
fn pipe(bytes: usize) -> (Answer, DuplexStream) {
    let (ours, theirs) = duplex(bytes);
    (Box::new(move || Ok(Box::new(ours) as JobStdin)), theirs)
}

fn refusal(kind: ErrorKind) -> Answer {
    Box::new(move || Err(Error::new(kind, "not now")))
}

/// Writes and reads that fail.
struct Fails(io::ErrorKind);

impl AsyncWrite for Fails {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(self.0.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Fails {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(self.0.into()))
    }
}

fn failing(kind: io::ErrorKind) -> Answer {
    Box::new(move || Ok(Box::new(Fails(kind))))
}

#[tokio::test(start_paused = true)]
async fn a_job_receives_its_stdin_and_then_end_of_file() {
    let (answer, mut job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [answer]);
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut received = Vec::new();
    let (result, read) =
        tokio::join!(setup.run(io::Cursor::new(bytes.clone())), job_end.read_to_end(&mut received));
    read.unwrap();
    assert!(received == bytes, "{} bytes", received.len());
    assert_eq!(result.stdin_error, None);
    assert!(setup.was_opened());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_for_a_runner_that_does_not_take_the_job() {
    let (answer, mut job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [answer]);
    let without = setup.world.runner(name("first"), Script::default());
    let without = without.with_capabilities(Capabilities::default().with(Capability::Container));
    let saturated = setup.world.runner(name("second"), refuses(ErrorKind::Saturated));
    let submission = Submission::new(job()).with_stdin(io::Cursor::new(b"data"));
    let dispatcher = setup.dispatcher(&[without, saturated]);
    let mut received = String::new();
    let submitted = dispatcher.submit(submission).await.unwrap();
    let (result, read) = tokio::join!(submitted.end(), job_end.read_to_string(&mut received));
    read.unwrap();
    assert_eq!((received.as_str(), result.stdin_error), ("data", None));
    let reasons: Vec<_> = result.passed_over.iter().map(|it| it.message.as_str()).collect();
    assert!(reasons[0].contains("it does not support stdin"), "{reasons:?}");
    assert_eq!(reasons.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_input_needs_no_runner_that_supports_stdin() {
    let setup = Setup::new(MINUTE, []);
    let without = setup.world.runner(name("first"), Script::default());
    let without = without.with_capabilities(Capabilities::default().with(Capability::Container));
    let mut spec = job();
    spec.stdin = true;
    let result = setup.dispatcher(&[without]).submit(spec).await.unwrap().end().await;
    assert_eq!(result.runner, Some(name("first")));
}

#[tokio::test(start_paused = true)]
async fn input_that_cannot_be_read_is_in_the_result_and_the_job_gets_end_of_file() {
    let (answer, mut job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [answer]);
    let source = AsyncReadExt::chain(io::Cursor::new(b"data"), Fails(io::ErrorKind::Other));
    let submission = Submission::new(job()).with_stdin(source);
    let mut submitted = setup.dispatcher(&[]).submit(submission).await.unwrap();
    let events = submitted.take_events().unwrap();
    let mut received = String::new();
    let (result, read, events) = tokio::join!(
        submitted.end(),
        job_end.read_to_string(&mut received),
        events.collect::<Vec<_>>()
    );
    read.unwrap();
    assert_eq!(received, "data");
    let reason = result.stdin_error.unwrap();
    assert!(reason.contains("failed to read it"), "{reason}");
    let warned = |event: &JobEvent| matches!(event, JobEvent::Warning { message } if message.contains(&reason));
    assert!(events.iter().any(warned), "{events:?}");
    assert!(result.outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_closes_its_stdin_received_as_much_as_it_wanted() {
    let setup = Setup::new(MINUTE, [failing(io::ErrorKind::BrokenPipe)]);
    assert_eq!(setup.run(repeat(b'y')).await.stdin_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_in_the_result_unless_the_job_ends_with_it() {
    let setup = Setup::new(SECOND, [failing(io::ErrorKind::ConnectionReset)]);
    assert_eq!(setup.run(repeat(b'y')).await.stdin_error, None);
    let setup = Setup::new(MINUTE, [failing(io::ErrorKind::ConnectionReset)]);
    let reason = setup.run(repeat(b'y')).await.stdin_error.unwrap();
    assert!(reason.contains("failed to pass it on"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn input_that_never_comes_keeps_no_job() {
    let (answer, _job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [answer]);
    let (_nothing, source) = duplex(1);
    let begun = Instant::now();
    assert_eq!(setup.run(source).await.stdin_error, None);
    assert_eq!(begun.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_never_reads_ends_all_the_same() {
    let (answer, _job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [answer]);
    let begun = Instant::now();
    assert_eq!(setup.run(repeat(b'y')).await.stdin_error, None);
    assert_eq!(begun.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_backend_out_of_reach_is_asked_again_for_the_stdin() {
    let (answer, mut job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [refusal(ErrorKind::Unavailable), answer]);
    let mut received = String::new();
    let (result, read) =
        tokio::join!(setup.run(io::Cursor::new(b"data")), job_end.read_to_string(&mut received));
    read.unwrap();
    assert_eq!((received.as_str(), result.stdin_error), ("data", None));
}

#[tokio::test(start_paused = true)]
async fn a_stdin_that_cannot_be_opened_is_in_the_result() {
    let setup = Setup::new(MINUTE, [refusal(ErrorKind::Denied)]);
    let reason = setup.run(io::Cursor::new(b"data")).await.stdin_error.unwrap();
    assert!(reason.contains("not now"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_taken_up_gets_end_of_file_and_its_result_says_so() {
    let opens: Answer = Box::new(|| Ok(Box::new(join(empty(), sink())) as JobStdin));
    let (answer, mut job_end) = pipe(1000);
    let setup = Setup::new(10 * MINUTE, [opens, answer]);
    let (_nothing, source) = duplex(1);
    let submitter = setup.dispatcher(&[]);
    let mut submitted = submitter.submit(Submission::new(job()).with_stdin(source)).await.unwrap();
    let id = submitted.id().clone();
    let mut events = submitted.take_events().unwrap();
    while !matches!(events.next().await.unwrap(), JobEvent::Started { .. }) {}
    submitter.abandon();
    submitter.shutdown().await;
    let mut received = String::new();
    let heir = setup.dispatcher(&[]);
    let taken_up = heir.attach(&id).await.unwrap();
    let (result, read) = tokio::join!(taken_up.end(), job_end.read_to_string(&mut received));
    read.unwrap();
    assert_eq!(received, "");
    let reason = result.stdin_error.unwrap();
    assert!(reason.contains("ended before the job"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_detached_job_gets_its_stdin_from_the_process_that_attaches() {
    let (answer, mut job_end) = pipe(1000);
    let setup = Setup::new(MINUTE, [answer]);
    let submitter = setup.dispatcher(&[]);
    let refused = submitter.submit_detached(Submission::new(job()).with_stdin(empty())).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidSpec);
    let detached =
        submitter.submit_detached(Submission::new(job()).with_stdin_later()).await.unwrap();
    let id = detached.id().clone();
    assert_eq!(detached.left().await.unwrap(), Detached::Running);
    assert!(!setup.was_opened());
    let source = AsyncReadExt::chain(io::Cursor::new(b"data"), Fails(io::ErrorKind::Other));
    let follower = setup.dispatcher(&[]).attach_with_stdin(&id, source).await.unwrap();
    assert!(setup.was_opened());
    let mut received = String::new();
    let (result, read) = tokio::join!(follower.end(), job_end.read_to_string(&mut received));
    read.unwrap();
    assert_eq!(received, "data");
    let reason = result.stdin_error.unwrap();
    assert!(reason.contains("failed to read it"), "{reason}");
    let again = setup.dispatcher(&[]).attach_with_stdin(&id, empty()).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    let starts = setup.world.ledger().iter().filter(|entry| entry.what == What::Started).count();
    assert_eq!(starts, 1);
}

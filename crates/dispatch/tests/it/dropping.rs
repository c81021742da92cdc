//! Drops each future of the library at each of its awaits.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use longshore_conformance::simulated::{LaunchStep, Run, Script};
use longshore_core::{JobId, LogPosition, Outcome, SecretSource};
use longshore_dispatch::{Dispatcher, Submission};
use longshore_journal::{Filter, Journal, JournalError, Options, Record, State};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::recovering::{Setup, kill};
use crate::support::*;

/// Polls `future` at most `polls` times, and then drops it. Returns its output if it was ready.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    let output = poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let output = output.await;
    drop(future);
    output
}

/// A backend, and a journal on the disk: each of its steps is an await.
struct Place {
    setup: Setup,
    folder: TempDir,
}

impl Place {
    async fn new(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut setup = Setup::new(script);
        setup.journal = Journal::open(folder.path(), Options::default()).await.unwrap();
        Self { setup, folder }
    }

    async fn running(run: Run) -> Self {
        let mut script = Script::default();
        script.runs.push_back(run);
        Self::new(script).await
    }

    /// Returns the records once nothing is under way in `dispatcher`.
    async fn rest(&self, dispatcher: &Dispatcher) -> Vec<Record> {
        timeout(MINUTE, dispatcher.shutdown()).await.expect("something is still under way");
        // Written after what the dropped future may still have been writing.
        let barrier = self.setup.journal.request_cancel(&JobId::random(), SECOND).await;
        assert!(matches!(barrier, Err(JournalError::NoSuchJob(_))), "{barrier:?}");
        let records = self.setup.journal.list(Filter::default()).await.unwrap();
        for record in &records {
            assert!(!self.setup.journal.is_claimed(&record.id).unwrap(), "{record:?}");
        }
        records
    }

    /// Runs a job to its end, and leaves it on its runner.
    async fn ended(&self) -> JobId {
        let job = self.setup.orphan().await;
        let dispatcher = self.setup.dispatcher();
        dispatcher.attach(&job).await.unwrap().end().await;
        self.rest(&dispatcher).await;
        job
    }
}

fn short() -> Run {
    Run::exits(0, SECOND / 100)
}

#[tokio::test]
async fn a_submission_dropped_at_any_await_leaves_no_job_that_nobody_runs() {
    for (detached, polls) in [false, true].into_iter().flat_map(|d| (0..100).map(move |n| (d, n))) {
        let place = Place::running(short()).await;
        let secret = place.folder.path().join("token");
        std::fs::write(&secret, "hunter2").unwrap();
        let mut spec = job();
        spec.secret_env.insert("TOKEN".to_owned(), SecretSource::File(secret));
        let dispatcher = place.setup.dispatcher();
        let done = if detached {
            let submitted = dropped_after(polls, dispatcher.submit_detached(spec)).await;
            submitted.map(|job| drop(job.unwrap()))
        } else {
            dropped_after(polls, dispatcher.submit(spec)).await.map(|job| drop(job.unwrap()))
        };
        let records = place.rest(&dispatcher).await;
        let expected = if detached { State::Running } else { State::Ended };
        assert!(records.iter().all(|r| r.state() == expected), "{polls}: {records:?}");
        assert_eq!(place.setup.starts(), records.len(), "{polls}");
        if done.is_some() {
            assert_eq!(records.len(), 1);
            assert!(polls > 1, "no await was reached");
            if detached {
                return;
            }
        }
    }
    panic!("the submission never returned");
}

#[tokio::test]
async fn a_second_submission_dropped_at_any_await_is_still_the_same_job() {
    for polls in 0..100 {
        let place = Place::running(short()).await;
        let submission = || Submission::new(job()).with_key("nightly");
        let first = place.setup.dispatcher().submit(submission()).await.unwrap().end().await;
        let dispatcher = place.setup.dispatcher();
        let done = dropped_after(polls, dispatcher.submit(submission())).await;
        let records = place.rest(&dispatcher).await;
        assert_eq!(records.len(), 1, "{polls}: {records:?}");
        assert_eq!((&records[0].id, place.setup.starts()), (&first.job, 1));
        if done.is_some() {
            return;
        }
    }
    panic!("the submission never returned");
}

#[tokio::test]
async fn a_look_that_is_dropped_still_records_what_it_fenced() {
    for polls in 0..100 {
        let place = Place::new(launches([LaunchStep::Hang { effect: None }])).await;
        let first = place.setup.dispatcher();
        let id = first.submit(job()).await.unwrap().id().clone();
        while place.setup.journal.record(&id).await.unwrap().state() != State::Launching {
            tokio::task::yield_now().await;
        }
        kill(&first).await;
        let dispatcher = place.setup.dispatcher();
        let done = dropped_after(polls, dispatcher.look(&id)).await;
        let records = place.rest(&dispatcher).await;
        let expected = if polls == 0 { State::Launching } else { State::Ended };
        assert_eq!(records[0].state(), expected, "{polls}");
        if done.is_some() {
            return;
        }
    }
    panic!("the look never returned");
}

#[tokio::test]
async fn a_cancel_that_is_dropped_still_ends_the_job() {
    for polls in 1..100 {
        let place = Place::running(Run::endless()).await;
        let dispatcher = place.setup.dispatcher();
        let job = dispatcher.submit(job()).await.unwrap();
        let done = dropped_after(polls, dispatcher.cancel(job.id(), None)).await;
        let result = timeout(10 * SECOND, job.end()).await.expect("the cancel was forgotten");
        let outcome = result.outcome;
        assert!(matches!(outcome, Outcome::Cancelled { .. }), "{polls}: {outcome:?}");
        if done.is_some() {
            return;
        }
    }
    panic!("the cancel never returned");
}

#[tokio::test]
async fn a_removal_that_is_dropped_removes_the_job_and_its_record_or_neither() {
    for polls in 0..100 {
        let place = Place::running(short()).await;
        let id = place.ended().await;
        let dispatcher = place.setup.dispatcher();
        let done = dropped_after(polls, dispatcher.remove(&id)).await;
        let records = place.rest(&dispatcher).await;
        let expected = usize::from(polls == 0);
        assert_eq!((records.len(), place.setup.runner.present()), (expected, expected), "{polls}");
        if done.is_some() {
            return;
        }
    }
    panic!("the removal never returned");
}

#[tokio::test]
async fn a_clean_up_that_is_dropped_goes_on() {
    for polls in 0..100 {
        let place = Place::running(short()).await;
        place.ended().await;
        let dispatcher = place.setup.dispatcher();
        let done = dropped_after(polls, dispatcher.gc(Some(Duration::ZERO), false)).await;
        place.rest(&dispatcher).await;
        assert_eq!(place.setup.runner.present(), usize::from(polls == 0), "{polls}");
        if done.is_some() {
            return;
        }
    }
    panic!("the clean-up never returned");
}

#[tokio::test]
async fn waiting_for_a_job_may_be_given_up_at_any_await_and_repeated() {
    for polls in 0..100 {
        let place = Place::running(short()).await;
        let id = place.setup.orphan().await;
        let dispatcher = place.setup.dispatcher();
        let attached = dropped_after(polls, dispatcher.attach(&id)).await;
        let log = dropped_after(polls, dispatcher.logs(&id, LogPosition::START, true)).await;
        let all_returned = attached.is_some() && log.is_some();
        if let Some(job) = attached {
            let job = job.unwrap();
            dropped_after(polls, job.result()).await;
            dropped_after(polls, job.wait()).await;
        }
        let again = dispatcher.attach(&id).await.unwrap().end().await;
        assert!(again.outcome.is_success(), "{polls}: {again:?}");
        let records = place.rest(&dispatcher).await;
        assert_eq!((records[0].state(), place.setup.starts()), (State::Ended, 1), "{polls}");
        if all_returned {
            return;
        }
    }
    panic!("the calls never returned");
}

//! What a service stores or sends as JSON, and reads again.

use std::fmt::Debug;
use std::sync::Arc;

use futures::StreamExt;
use longshore_conformance::simulated::{Script, World};
use longshore_core::{ErrorKind, JobSpec, LaunchError};
use longshore_dispatch::{Dispatcher, Lagged, SpecPolicy, Stopped, Submission};
use longshore_journal::{Filter, Journal, Record, State};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::*;

/// Writes `value`, reads it again, and returns what was read.
fn again<T: Serialize + DeserializeOwned + Debug>(value: &T) -> T {
    let written = serde_json::to_string(value).unwrap();
    let read: T = serde_json::from_str(&written).unwrap_or_else(|e| panic!("{e} in {written}"));
    assert_eq!(serde_json::to_string(&read).unwrap(), written);
    assert_eq!(format!("{read:?}"), format!("{value:?}"));
    read
}

/// A dispatcher with a journal. Its first runner refuses every job, its second runs it.
fn dispatcher() -> Dispatcher {
    let world = World::new();
    Dispatcher::builder()
        .runner(Arc::new(world.runner(name("first"), refuses(ErrorKind::Saturated))))
        .runner(Arc::new(world.runner(name("second"), Script::default())))
        .journal(Journal::in_memory().unwrap())
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_result_its_events_and_its_record_are_written_and_read_again() {
    let dispatcher = dispatcher();
    let mut events = dispatcher.subscribe();
    let mut spec = job();
    spec.labels.insert("a".to_owned(), "b".to_owned());
    let submission = Submission::new(spec).kept().with_key("order-4711");
    let job = dispatcher.submit(submission).await.unwrap();
    job.cancel_within(SECOND / 4);
    let result = job.end().await;
    assert_eq!(again(&result), result);
    dispatcher.cancel(&result.job, None).await.unwrap();
    dispatcher.note_undelivered(&result.job, "its output").await.unwrap();
    let records = dispatcher.records(Filter::default()).await.unwrap();
    let read: Vec<Record> = again(&records);
    assert_eq!(read, records);
    assert_eq!(again(&records[0].cursor()), records[0].cursor());
    let filter = Filter::default().label("a", "b").state(State::Ended).limit(3);
    assert_eq!(again(&filter), filter);
    assert_eq!(State::ALL.map(|state| again(&state)), State::ALL);
    dispatcher.shutdown().await;
    drop(dispatcher);
    let mut seen = 0;
    while let Some(event) = events.next().await {
        let (_, event) = event.unwrap();
        assert_eq!(again(&event), event);
        seen += 1;
    }
    assert!(seen > 3, "{seen}");
}

#[tokio::test(start_paused = true)]
async fn plans_health_and_states_of_runners_are_written_and_read_again() {
    let dispatcher = dispatcher();
    dispatcher.submit(job()).await.unwrap().end().await;
    let plans = dispatcher.plan(&job(), None).unwrap();
    assert_eq!(again(&plans), plans);
    let examination = dispatcher.examine(&job()).await.unwrap();
    assert!(examination.runners[1].result.is_ok(), "{examination:?}");
    let read = again(&examination);
    assert_eq!(read.runners[1].result.as_ref().ok(), examination.runners[1].result.as_ref().ok());
    let status = dispatcher.runner_status();
    assert_eq!(again(&status), status);
    let reaped = dispatcher.gc(None, true).await.unwrap();
    assert_eq!(again(&reaped), reaped);
}

#[tokio::test(start_paused = true)]
async fn errors_are_written_and_read_again() {
    let dispatcher = dispatcher();
    let mut spec = job();
    spec.runners = Some(vec![name("nowhere")]);
    let error = dispatcher.submit(spec).await.unwrap_err();
    assert_eq!(again(&error).to_string(), error.to_string());
    again(&LaunchError::Indeterminate(error));
    let refused = SpecPolicy::default().check(&JobSpec::process(["true"]));
    let refused = refused.unwrap_err();
    assert_eq!(again(&refused), refused);
    assert_eq!(again(&Lagged(3)), Lagged(3));
    let job = dispatcher.submit(job()).await.unwrap();
    dispatcher.abandon();
    let stopped: Stopped = job.wait().await.unwrap_err();
    assert_eq!(again(&stopped), stopped);
}

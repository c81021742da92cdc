//! Observers of everything that happens.

use std::sync::Arc;

use longshore_conformance::simulated::{LaunchStep, ProbeStep, Refusal, Script, World};
use longshore_core::{ErrorKind, JobId, RunnerName};
use longshore_dispatch::{Dispatcher, JobEvent, Observer, RunnerEvent};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::support::*;

/// Notes the name of each event with a shared number, to compare the order.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn of(&self, subject: &str) -> Vec<String> {
        let notes = self.0.lock();
        let of = notes.iter().filter_map(|line| line.strip_prefix(subject));
        of.map(|line| line.trim_start_matches(": ").to_owned()).collect()
    }
}

impl Observer for Notes {
    fn job_event(&self, job: &JobId, event: &JobEvent) {
        let line = match event {
            JobEvent::Submitted { .. } => "submitted".to_owned(),
            JobEvent::Ended(result) => format!("ended {}", result.outcome.kind()),
            JobEvent::Runner { .. } => return,
            event => word(event),
        };
        self.0.lock().push(format!("{job}: {line}"));
    }

    fn runner_event(&self, runner: &RunnerName, event: &RunnerEvent) {
        let line = match event {
            RunnerEvent::Probed(probe) => format!("probed, well: {}", probe.error.is_none()),
            RunnerEvent::Opened { error, .. } => format!("opened: {}", error.kind),
            RunnerEvent::Closed => "closed".to_owned(),
            _ => "?".to_owned(),
        };
        self.0.lock().push(format!("{runner}: {line}"));
    }
}

/// Panics at each event.
#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn job_event(&self, _: &JobId, _: &JobEvent) {
        panic!("an observer's own defect");
    }

    fn runner_event(&self, _: &RunnerName, _: &RunnerEvent) {
        panic!("an observer's own defect");
    }
}

fn observed<const N: usize>(scripts: [Script; N], observers: Vec<Arc<dyn Observer>>) -> Dispatcher {
    let world = World::new();
    let mut builder = Dispatcher::builder().jitter_seed(1);
    for (text, script) in ["first", "second"].into_iter().zip(scripts) {
        builder = builder.runner(Arc::new(world.runner(name(text), script)));
    }
    for observer in observers {
        builder = builder.observer(observer);
    }
    builder.build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_observer_has_seen_the_end_of_a_job_when_its_result_is_there() {
    let notes = Arc::new(Notes::default());
    let full = LaunchStep::Refuse(Refusal::new(ErrorKind::Saturated));
    let dispatcher = observed([launches([full]), Script::default()], vec![notes.clone()]);
    let job = dispatcher.submit(job()).await.unwrap();
    let id = job.id().to_string();
    job.result().await.unwrap();
    let expected = [
        "submitted",
        "probing first",
        "launching first",
        "passed over first",
        "probing second",
        "launching second",
        "started second",
        "ended Exited",
    ];
    assert_eq!(notes.of(&id), expected);
    assert_eq!(notes.of("first"), ["probed, well: true"]);
}

#[tokio::test(start_paused = true)]
async fn all_observers_see_the_same_order_of_many_jobs() {
    let (one, other) = (Arc::new(Notes::default()), Arc::new(Notes::default()));
    let dispatcher = observed([Script::default()], vec![one.clone(), other.clone()]);
    let jobs = (0..50).map(|_| async { dispatcher.submit(job()).await.unwrap().end().await });
    futures::future::join_all(jobs).await;
    assert_eq!(*one.0.lock(), *other.0.lock());
    assert_eq!(one.0.lock().iter().filter(|line| line.ends_with("ended Exited")).count(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_observer_harms_neither_the_job_nor_the_next_observer() {
    let notes = Arc::new(Notes::default());
    let dispatcher = observed([Script::default()], vec![Arc::new(Panics), notes.clone()]);
    for _ in 0..2 {
        let job = dispatcher.submit(job()).await.unwrap();
        let id = job.id().to_string();
        assert!(job.end().await.outcome.is_success());
        assert_eq!(notes.of(&id).last().map(String::as_str), Some("ended Exited"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_goes_away_and_comes_back_is_reported_once_each() {
    let notes = Arc::new(Notes::default());
    let away = ProbeStep::Fail(Refusal::new(ErrorKind::Unavailable).retry_after(10 * SECOND));
    let probes = [away, away, ProbeStep::Well].into();
    let script = Script { probes, ..Script::default() };
    let dispatcher = observed([script, Script::default()], vec![notes.clone()]);
    for _ in 0..3 {
        dispatcher.submit(job()).await.unwrap().end().await;
    }
    sleep(MINUTE).await;
    let expected = [
        "probed, well: false",
        "opened: Unavailable",
        "probed, well: false",
        "probed, well: true",
        "closed",
    ];
    assert_eq!(notes.of("first"), expected);
}

/// Asks the dispatcher while it is called.
#[derive(Debug, Default)]
struct Curious(Mutex<Option<Dispatcher>>, Mutex<usize>);

impl Observer for Curious {
    fn job_event(&self, _: &JobId, event: &JobEvent) {
        if let (JobEvent::Started { .. }, Some(dispatcher)) = (event, &*self.0.lock()) {
            *self.1.lock() = dispatcher.runner_status().len();
            drop(dispatcher.subscribe());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_ask_the_dispatcher() {
    let curious = Arc::new(Curious::default());
    let dispatcher = observed([Script::default()], vec![curious.clone()]);
    *curious.0.lock() = Some(dispatcher.clone());
    dispatcher.submit(job()).await.unwrap().end().await;
    assert_eq!(*curious.1.lock(), 1);
    *curious.0.lock() = None;
}

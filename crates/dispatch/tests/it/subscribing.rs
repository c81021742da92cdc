//! Subscribers to what happens to all jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use longshore_conformance::simulated::{LaunchStep, Refusal, Run, Script, World};
use longshore_core::{ErrorKind, JobId, Outcome};
use longshore_dispatch::{Detached, Dispatcher, JobEvent, Lagged};
use tokio::time::{Instant, timeout};

use crate::recovering::Setup;
use crate::support::*;

type Events = BoxStream<'static, Result<(JobId, JobEvent), Lagged>>;

/// Returns the next event of a job that ends soon.
async fn next(events: &mut Events) -> Result<(JobId, JobEvent), Lagged> {
    timeout(MINUTE, events.next()).await.expect("no event").expect("the stream has ended")
}

/// Returns the words of all events of `job` up to its end.
async fn story_of(job: &JobId, events: &mut Events) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        let (of, event) = next(events).await.expect("no event is lost");
        if of == *job {
            words.push(line(&event));
        }
        if of == *job && matches!(event, JobEvent::Ended(_)) {
            return words;
        }
    }
}

fn line(event: &JobEvent) -> String {
    match event {
        JobEvent::Submitted { .. } => "submitted".to_owned(),
        JobEvent::TakenUp => "taken up".to_owned(),
        JobEvent::Left { runner, .. } => format!("left to {runner}"),
        JobEvent::Ended(result) => format!("ended: {}", result.outcome.kind()),
        JobEvent::Runner { .. } => "progress".to_owned(),
        event => word(event),
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_sees_all_jobs_from_their_submission_to_their_end() {
    let full = || LaunchStep::Refuse(Refusal::new(ErrorKind::Saturated));
    let scene = scene([launches([full(), full()]), Script::default()]);
    let mut events = scene.dispatcher.subscribe();
    let mut spec = job();
    spec.labels.insert("team".to_owned(), "red".to_owned());
    let first = scene.dispatcher.submit(spec.clone()).await.unwrap();
    let second = scene.dispatcher.submit(job()).await.unwrap();
    let ids = [first.id().clone(), second.id().clone()];
    let (first, second) = (first.end().await, second.end().await);
    let mut seen: BTreeMap<JobId, Vec<JobEvent>> = BTreeMap::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        let (job, event) = event.unwrap();
        seen.entry(job).or_default().push(event);
    }
    for (id, result) in ids.iter().zip([first, second]) {
        let of_job = &seen[id];
        let JobEvent::Submitted { .. } = &of_job[0] else { panic!("{of_job:?}") };
        assert_eq!(of_job.last(), Some(&JobEvent::Ended(Box::new(result))), "{of_job:?}");
        let place = |wanted: &str| of_job.iter().position(|e| line(e) == wanted);
        assert!(place("passed over first") < place("launching second"), "{of_job:?}");
        assert!(place("launching second") < place("started second"), "{of_job:?}");
    }
    for event in seen.values().flatten() {
        let written = serde_json::to_string(event).unwrap();
        assert_eq!(serde_json::from_str::<JobEvent>(&written).unwrap(), *event, "{written}");
    }
    assert_eq!(seen[&ids[0]][0], JobEvent::Submitted { spec: Arc::new(spec) });
    assert_eq!(seen.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_reader_of_one_job_gets_no_event_that_only_subscribers_need() {
    let scene = scene([Script::default()]);
    let mut job = scene.dispatcher.submit(job()).await.unwrap();
    let events = job.take_events().unwrap();
    job.end().await;
    let words: Vec<String> = events.map(|event| line(&event)).collect().await;
    assert_eq!(words.first().map(String::as_str), Some("probing first"));
    assert!(!words.iter().any(|w| w.contains("submitted") || w.contains("ended")), "{words:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_learns_how_much_it_lost_and_delays_no_job() {
    let scene = scene([Script::default()]);
    let mut slow = scene.dispatcher.subscribe();
    let mut fast = scene.dispatcher.subscribe();
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while let Some(event) = fast.next().await {
            event.unwrap();
            count += 1;
        }
        count
    });
    let alone = Instant::now();
    scene.run(job()).await;
    let alone = alone.elapsed();
    let begun = Instant::now();
    for _ in 0..1200 {
        scene.run(job()).await;
    }
    assert!(begun.elapsed() <= alone * 1200, "{:?} each", begun.elapsed() / 1200);
    let Err(Lagged(lost)) = next(&mut slow).await else { panic!("nothing is lost") };
    drop(scene);
    let kept: Vec<_> = slow.collect().await;
    assert!(kept.iter().all(Result::is_ok), "it lags only once");
    let ended =
        |item: &Result<(JobId, JobEvent), Lagged>| matches!(item, Ok((_, JobEvent::Ended(_))));
    assert!(ended(kept.last().unwrap()), "the newest events are kept");
    assert_eq!(lost + kept.len() as u64, counting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_begins_now_and_ends_with_the_dispatcher_and_its_jobs() {
    let setup = Setup::running(Run::exits(7, MINUTE));
    let dispatcher = setup.dispatcher();
    let job = dispatcher.submit(job()).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let events = dispatcher.subscribe();
    // The job is still followed.
    drop((dispatcher, job));
    let seen: Vec<_> = timeout(2 * MINUTE, events.collect()).await.expect("no end");
    let words: Vec<String> = seen.into_iter().map(|event| line(&event.unwrap().1)).collect();
    assert_eq!(words, ["ended: Exited"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_left_to_its_runner_is_seen_again_when_it_is_taken_up() {
    let setup = Setup::running(Run::exits(0, MINUTE));
    let dispatcher = setup.dispatcher();
    let mut events = dispatcher.subscribe();
    let detached = dispatcher.submit_detached(job()).await.unwrap();
    let id = detached.id().clone();
    assert_eq!(detached.left().await, Ok(Detached::Running));
    let other = setup.dispatcher();
    let mut others = other.subscribe();
    let job = other.attach(&id).await.unwrap();
    assert!(matches!(job.end().await.outcome, Outcome::Exited { code: 0, .. }));
    let words = story_of(&id, &mut others).await;
    assert_eq!(words.first().map(String::as_str), Some("taken up"));
    drop((dispatcher, other));
    let seen: Vec<_> = events.by_ref().collect().await;
    let words: Vec<String> = seen.into_iter().map(|event| line(&event.unwrap().1)).collect();
    assert_eq!(words.first().map(String::as_str), Some("submitted"));
    assert_eq!(words.last().map(String::as_str), Some("left to first"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_cannot_be_followed_any_more_is_reported_as_stopped() {
    let setup = Setup::running(Run::exits(0, MINUTE));
    let id = setup.orphan().await;
    // While another process owns the job, its runner need not be configured here.
    let owner = setup.dispatcher();
    let job = owner.attach(&id).await.unwrap();
    tokio::time::sleep(SECOND).await;
    let runner = World::new().runner(name("other"), Script::default());
    let builder = Dispatcher::builder().runner(Arc::new(runner));
    let stranger = builder.journal(setup.journal.clone()).build().unwrap();
    let mut events = stranger.subscribe();
    let followed = stranger.attach(&id).await.unwrap();
    crate::recovering::kill(&owner).await;
    drop(job);
    followed.wait().await.unwrap_err();
    let (of, event) = next(&mut events).await.unwrap();
    assert_eq!(of, id);
    let JobEvent::Stopped { message } = event else { panic!("{event:?}") };
    assert!(message.contains("`first`"), "{message}");
}

//! One stream of the engine's events for all attempts of a runner, shared by their followers.
//!
//! The engine drops events to a client that lags behind, and a connection may die silently. So the
//! informer periodically compares a listing with what is known, as Kubernetes' informers do.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard_stubs::models::{ContainerSummary, ContainerSummaryStateEnum as State, EventMessage};
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use longshore_core::{AttemptId, Backoff};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{Answer, Engine};
use crate::container::{Container, is_named};
use crate::container_event::ContainerEvent;
use crate::labels::{ATTEMPT, INSTALLATION, Mark};
use crate::location::object_name;
use crate::snapshot::Snapshot;

/// How often a listing is compared with what is known: the event stream has no heartbeat, so an end
/// behind a connection that died silently is visible only there.
const RESYNC: Duration = Duration::from_secs(20);
/// When the first listing is due: it includes attempts launched just before the stream connected.
const FIRST_RESYNC: Duration = Duration::from_secs(5);
/// How long after a listing that differs the event that explains it may arrive. Without one the
/// stream counts as dead.
const EXPLAINED: Duration = Duration::from_secs(2);
/// How much later than others an event may arrive. An engine drops events, without a word, when its
/// client does not read for a while. Those that it still had in its buffer then arrive late.
const LATE: SignedDuration = SignedDuration::from_secs(2);
/// The first and the longest pause between two tries to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What is known about each attempt, updated from the engine's events.
#[derive(Debug)]
pub(crate) struct Informer {
    engine: Arc<Engine>,
    snapshots: Arc<Snapshots>,
    running: OnceLock<DropGuard>,
}

#[derive(Debug, Default)]
struct Snapshots(Mutex<HashMap<String, watch::Sender<Snapshot>>>);

impl Informer {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, snapshots: Arc::default(), running: OnceLock::new() }
    }

    /// Subscribes to what is known about `attempt`. The first call connects.
    pub(crate) fn subscribe(&self, attempt: &AttemptId) -> watch::Receiver<Snapshot> {
        self.running.get_or_init(|| {
            let ended = CancellationToken::new();
            let (engine, snapshots, end) =
                (Arc::clone(&self.engine), Arc::clone(&self.snapshots), ended.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = run(&engine, &snapshots) => {}
                    () = end.cancelled() => {}
                }
            });
            ended.drop_guard()
        });
        let mut snapshots = self.snapshots.0.lock();
        snapshots
            .entry(attempt.to_string())
            .or_insert_with(|| watch::Sender::new(Snapshot::default()))
            .subscribe()
    }

    /// Records the result of an inspection of `attempt`.
    pub(crate) fn record_inspection(
        &self,
        attempt: &AttemptId,
        container: Option<&Container>,
        mark: Option<Mark>,
    ) {
        if let Some(snapshot) = self.snapshots.0.lock().get(attempt.as_str()) {
            snapshot.send_modify(|snapshot| snapshot.apply_inspection(container, mark));
        }
    }

    /// Records what the engine remembered of `attempt`'s container.
    pub(crate) fn record_past_events(&self, attempt: &AttemptId, past: &[ContainerEvent]) {
        if let Some(snapshot) = self.snapshots.0.lock().get(attempt.as_str()) {
            snapshot.send_modify(|snapshot| snapshot.apply_past_events(past));
        }
    }

    /// What is known about `attempt` now, without following it.
    pub(crate) fn snapshot(&self, attempt: &AttemptId) -> Option<Snapshot> {
        self.snapshots.0.lock().get(attempt.as_str()).map(|snapshot| snapshot.borrow().clone())
    }

    /// Forgets `attempt`, which was not launched, unless it is followed.
    pub(crate) fn discard(&self, attempt: &AttemptId) {
        let mut snapshots = self.snapshots.0.lock();
        if snapshots.get(attempt.as_str()).is_some_and(|snapshot| snapshot.receiver_count() == 0) {
            snapshots.remove(attempt.as_str());
        }
    }

    /// Forgets `attempt`, which was removed. Its followers learn of the removal first.
    pub(crate) fn forget(&self, attempt: &AttemptId) {
        if let Some(snapshot) = self.snapshots.0.lock().remove(attempt.as_str()) {
            snapshot.send_modify(|snapshot| snapshot.removed = true);
        }
    }
}

impl Snapshots {
    fn apply(&self, event: ContainerEvent) {
        if let Some(snapshot) = self.0.lock().get(&event.attempt) {
            snapshot.send_modify(|snapshot| snapshot.apply(event));
        }
    }

    /// Records that events may have been missed: each follower inspects its attempt.
    fn invalidate_all(&self) {
        for snapshot in self.0.lock().values() {
            snapshot.send_modify(Snapshot::invalidate);
        }
    }

    /// Invalidates every snapshot that differs from the listing; returns whether there is any.
    fn compare_with_listing(&self, listed: &[ContainerSummary]) -> bool {
        let mut differs = false;
        let runs = |c: &ContainerSummary| {
            matches!(c.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING))
        };
        let by_id: HashMap<&str, bool> =
            listed.iter().filter_map(|c| Some((c.id.as_deref()?, runs(c)))).collect();
        let by_name = |attempt: &str| {
            let name = object_name(attempt);
            listed.iter().find(|c| is_named(c.names.as_deref(), &name)).map(runs)
        };
        for (attempt, snapshot) in &*self.0.lock() {
            let known = snapshot.borrow().clone();
            let running = match &known.id {
                Some(id) => by_id.get(id.as_str()).copied(),
                None => by_name(attempt),
            };
            let agrees = match running {
                // An attempt that is over stays so, whatever happens to its container.
                _ if known.is_over() => true,
                Some(running) => running == known.started,
                None => known.id.is_none(),
            };
            if !agrees {
                differs = true;
                snapshot.send_modify(Snapshot::invalidate);
            }
        }
        differs
    }

    fn is_followed(&self) -> bool {
        self.0.lock().values().any(|s| s.receiver_count() > 0 && !s.borrow().is_over())
    }
}

/// Connects again and again. The engine repeats the events in between that it remembers; because it
/// may have forgotten some, all snapshots are invalidated.
async fn run(engine: &Engine, snapshots: &Snapshots) {
    let mut since = None;
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    loop {
        if let Ok(events) = events(engine, since).await
            && let Some(last) = listen(engine, snapshots, events).await
        {
            since = Some(last);
            backoff.reset();
        }
        snapshots.invalidate_all();
        sleep(backoff.next_pause()).await;
    }
}

async fn events(
    engine: &Engine,
    since: Option<i64>,
) -> Answer<impl Stream<Item = Answer<EventMessage>> + Unpin> {
    let filters = [("type", "container"), ("label", INSTALLATION)];
    let since = since.map(|since| since.to_string());
    let range: Vec<_> = since.iter().map(|since| ("since", since.as_str())).collect();
    engine.events(&filters, &range).await
}

/// How long events are under way, by the clocks of the engine and of this machine.
#[derive(Debug, Default)]
struct Delay {
    least: Option<SignedDuration>,
}

impl Delay {
    /// Whether an event of `at` arrives late at `now`.
    fn is_late(&mut self, at: Timestamp, now: Timestamp) -> bool {
        let took = now.duration_since(at);
        let least = self.least.map_or(took, |least| least.min(took));
        self.least = Some(least);
        took.saturating_sub(least) > LATE
    }
}

/// Applies events until the connection breaks, or until events may have been dropped; returns the
/// engine's time of the last one.
async fn listen(
    engine: &Engine,
    snapshots: &Snapshots,
    mut events: impl Stream<Item = Answer<EventMessage>> + Unpin,
) -> Option<i64> {
    let mut last = None;
    let mut resync = interval_at(Instant::now() + FIRST_RESYNC, RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut suspect = None;
    let mut delay = Delay::default();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    suspect = None;
                    last = event.time.or(last);
                    let Some(event) = ContainerEvent::read(event) else { continue };
                    if event.at.is_some_and(|at| delay.is_late(at, Timestamp::now())) {
                        // The engine repeats it.
                        return last;
                    }
                    snapshots.apply(event);
                }
                Some(Err(_)) | None => return last,
            },
            _ = resync.tick() => {
                // Checked only now, so that a follower that arrived since the last event counts.
                if snapshots.is_followed()
                    && let Ok(listed) = engine.list(vec![ATTEMPT.to_owned()]).await
                    && snapshots.compare_with_listing(&listed)
                {
                    suspect.get_or_insert_with(|| Instant::now() + EXPLAINED);
                }
            }
            () = sleep_until(suspect.unwrap_or_else(Instant::now)), if suspect.is_some() => {
                return last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use longshore_core::{RequestCounter, RunnerName};
    use tokio::time::timeout;

    use super::*;
    use crate::DockerConfig;

    /// An event about the attempt `a-1` of `age` ago.
    fn event(action: &str, age: Duration) -> Answer<EventMessage> {
        let at = Timestamp::now() - age;
        let event = serde_json::json!({
            "Type": "container", "Action": action,
            "Actor": {"ID": "c", "Attributes": {
                "name": "longshore-a-1", ATTEMPT: "a-1", "exitCode": "0", "signal": "15",
            }},
            "time": at.as_second(), "timeNano": i64::try_from(at.as_nanosecond()).unwrap(),
        });
        Ok(serde_json::from_value(event).unwrap())
    }

    /// A process that had been stopped for a while took a job that `docker stop` had ended for one that
    /// had ended by itself: the engine had dropped the event of the signal.
    #[tokio::test(start_paused = true)]
    async fn events_that_arrive_late_were_taken_for_all_that_there_were() {
        let engine =
            Engine::new(DockerConfig::default(), RequestCounter::new(&RunnerName::docker()));
        let late = Duration::from_secs(10);
        for (age, is_cut) in [(Duration::ZERO, false), (late, true)] {
            let snapshots = Snapshots::default();
            let sender = watch::Sender::new(Snapshot::default());
            let known = sender.subscribe();
            snapshots.0.lock().insert("a-1".to_owned(), sender);
            let life = [
                event("create", Duration::ZERO),
                event("start", Duration::ZERO),
                event("die", age),
            ];
            let events = stream::iter(life).chain(stream::pending());
            let listened =
                timeout(Duration::from_secs(1), listen(&engine, &snapshots, events)).await;
            assert_eq!(listened.is_ok(), is_cut);
            assert_eq!(known.borrow().death.is_some(), !is_cut);
        }
    }

    #[test]
    fn an_engine_with_another_clock_is_not_late() {
        let mut delay = Delay::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        // Events from before the connection, which the engine repeats, and the first new one.
        assert_eq!([100, 150, 199, 200].map(|then| delay.is_late(at(then), at(500))), [false; 4]);
        assert!(!delay.is_late(at(210), at(511)));
        assert!(delay.is_late(at(220), at(530)));
    }
}

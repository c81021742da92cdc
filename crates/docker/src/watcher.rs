//! One stream of the engine's events for all attempts of a runner, handed out to those who follow
//! them.
//!
//! The engine drops events to a client that lags behind, and a connection may die without a word;
//! so now and then, as Kubernetes' informers do, one listing is compared with what is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State, EventMessage};
use bollard::query_parameters::EventsOptionsBuilder;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use longshore_core::AttemptId;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{Answer, Engine};
use crate::labels::{ATTEMPT, INSTALLATION, Mark};
use crate::place::Seen;
use crate::sight::{Happening, Sight};

/// How often what is known is compared with a listing: the events have no sign of life of their
/// own, so an end behind a connection that died without a word shows only there.
const RESYNC: Duration = Duration::from_secs(20);
/// When the first listing is due: what was launched just before the events came is in it.
const FIRST_RESYNC: Duration = Duration::from_secs(5);
/// How long after a listing that tells another story the event that explains it may come. If none
/// does, the stream counts as dead.
const EXPLAINED: Duration = Duration::from_secs(2);
/// The bounds of the time between two tries to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The attempts that somebody follows.
#[derive(Debug)]
pub(crate) struct Watcher {
    engine: Arc<Engine>,
    sights: Arc<Sights>,
    running: OnceLock<DropGuard>,
}

#[derive(Debug, Default)]
struct Sights(Mutex<HashMap<String, watch::Sender<Sight>>>);

impl Watcher {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, sights: Arc::default(), running: OnceLock::new() }
    }

    /// What is known of `attempt`, from now on. The first call connects.
    pub(crate) fn watch(&self, attempt: &AttemptId) -> watch::Receiver<Sight> {
        self.running.get_or_init(|| {
            let ended = CancellationToken::new();
            let (engine, sights, end) =
                (Arc::clone(&self.engine), Arc::clone(&self.sights), ended.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = run(&engine, &sights) => {}
                    () = end.cancelled() => {}
                }
            });
            ended.drop_guard()
        });
        let mut sights = self.sights.lock();
        sights
            .entry(attempt.to_string())
            .or_insert_with(|| watch::Sender::new(Sight::default()))
            .subscribe()
    }

    /// Notes what somebody saw of `attempt` when he looked.
    pub(crate) fn saw(&self, attempt: &AttemptId, seen: Option<&Seen>, mark: Option<Mark>) {
        if let Some(sight) = self.sights.lock().get(attempt.as_str()) {
            sight.send_modify(|sight| sight.look(seen, mark));
        }
    }

    /// What is known of `attempt` now, without following it.
    pub(crate) fn known(&self, attempt: &AttemptId) -> Option<Sight> {
        self.sights.lock().get(attempt.as_str()).map(|sight| sight.borrow().clone())
    }

    /// Forgets `attempt`, which was not launched, unless somebody follows it.
    pub(crate) fn discard(&self, attempt: &AttemptId) {
        let mut sights = self.sights.lock();
        if sights.get(attempt.as_str()).is_some_and(|sight| sight.receiver_count() == 0) {
            sights.remove(attempt.as_str());
        }
    }

    /// Forgets `attempt`, which was removed. Those who still follow it are told so.
    pub(crate) fn forget(&self, attempt: &AttemptId) {
        if let Some(sight) = self.sights.lock().remove(attempt.as_str()) {
            sight.send_modify(|sight| sight.removed = true);
        }
    }
}

impl Sights {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, watch::Sender<Sight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, happening: Happening) {
        if let Some(sight) = self.lock().get(&happening.attempt) {
            sight.send_modify(|sight| sight.take(happening));
        }
    }

    /// Notes that something may have been missed: whoever follows looks for himself.
    fn doubt_all(&self) {
        for sight in self.lock().values() {
            sight.send_modify(Sight::doubt);
        }
    }

    /// Doubts those of which the listing tells another story, and tells whether there are any.
    fn compare(&self, listed: &[ContainerSummary]) -> bool {
        let mut differs = false;
        let label = |c: &ContainerSummary| c.labels.as_ref()?.get(ATTEMPT).cloned();
        let running: HashMap<String, bool> = listed
            .iter()
            .filter_map(|c| Some((label(c)?, c.state == Some(State::RUNNING))))
            .collect();
        for (attempt, sight) in &*self.lock() {
            let known = sight.borrow().clone();
            let agrees = match running.get(attempt) {
                Some(true) => known.started && !known.is_over(),
                Some(false) => known.is_over() || !known.started,
                None => known.is_over() || known.id.is_none(),
            };
            if !agrees {
                differs = true;
                sight.send_modify(Sight::doubt);
            }
        }
        differs
    }

    fn is_followed(&self) -> bool {
        self.lock().values().any(|s| s.receiver_count() > 0 && !s.borrow().is_over())
    }
}

/// Connects again and again. What happened in between the engine tells again, as far as it
/// remembers; for the rest the attempts are doubted.
async fn run(engine: &Engine, sights: &Sights) {
    let mut since = None;
    let mut backoff = BACKOFF.0;
    loop {
        if let Ok(events) = events(engine, since).await
            && let Some(last) = listen(engine, sights, events).await
        {
            since = Some(last);
            backoff = BACKOFF.0;
        }
        sights.doubt_all();
        // Not to go on at the same instant as everybody else after the engine came back.
        let jitter = f64::from(Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000) / 2000.0;
        sleep(backoff.mul_f64(0.75 + jitter)).await;
        backoff = (backoff * 2).min(BACKOFF.1);
    }
}

type Cause = bollard::errors::Error;

async fn events(
    engine: &Engine,
    since: Option<i64>,
) -> Answer<impl Stream<Item = Result<EventMessage, Cause>> + Unpin + use<>> {
    let one = |value: &str| vec![value.to_owned()];
    let filters = HashMap::from([
        ("type".to_owned(), one("container")),
        ("label".to_owned(), one(INSTALLATION)),
    ]);
    let mut options = EventsOptionsBuilder::default().filters(&filters);
    if let Some(since) = since {
        options = options.since(&since.to_string());
    }
    let options = options.build();
    let docker = engine.docker().await?.clone();
    Ok(Box::pin(async_stream::stream! {
        let mut events = std::pin::pin!(docker.events(Some(options)));
        while let Some(event) = events.next().await {
            yield event;
        }
    }))
}

/// Takes in events until the connection breaks; gives the engine's time of the last one.
async fn listen(
    engine: &Engine,
    sights: &Sights,
    mut events: impl Stream<Item = Result<EventMessage, Cause>> + Unpin,
) -> Option<i64> {
    let mut last = None;
    let mut resync = interval_at(Instant::now() + FIRST_RESYNC, RESYNC);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut suspect = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    suspect = None;
                    last = event.time.or(last);
                    if let Some(happening) = Happening::read(event) {
                        sights.take(happening);
                    }
                }
                Some(Err(_)) | None => return last,
            },
            _ = resync.tick() => {
                // Asked only now: whoever comes while nothing is heard shall be counted.
                if sights.is_followed()
                    && let Ok(listed) = engine.list(vec![ATTEMPT.to_owned()]).await
                    && sights.compare(&listed)
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

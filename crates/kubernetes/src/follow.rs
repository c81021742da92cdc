//! Following an attempt to its end.

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use futures::Stream;
use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, Event, Outcome, Report, Result};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::Cluster;
use crate::ending;
use crate::hub::Subscription;
use crate::names::Ending;
use crate::outcome::conclude;
use crate::place::Place;
use crate::runner::Inner;
use crate::start::Narrator;
use crate::view::{Presence, Snapshot};
use crate::watching::Pause;

/// How long the end waits for the Events that tell whether the image was pulled. The kubelet sends
/// them beside the status, in no order.
const EVIDENCE: Duration = Duration::from_millis(500);
/// After how long a mark whose maker did not end the job is carried out by who follows it.
const OTHERS: Duration = Duration::from_secs(5);

/// What happens at `place` from now on, to the end.
pub(crate) fn events(inner: Arc<Inner>, place: Place) -> impl Stream<Item = Result<Event>> + Send {
    stream! {
        let mut news = inner.hub.subscribe(&place);
        let mut narrator = Narrator::default();
        let mut clock = Clock::default();
        let mut pause = Pause::default();
        let mut told = None;
        loop {
            let snapshot = news.now();
            for event in narrator.tell(&snapshot) {
                yield Ok(event);
            }
            if let Some(report) = conclude(&snapshot) {
                yield Ok(Event::Ended(with_evidence(report, &mut news).await));
                return;
            }
            let trouble = news.health().trouble;
            if trouble != told {
                if let Some(trouble) = &trouble {
                    yield Err(watch_trouble(trouble));
                }
                told = trouble;
            }
            match is_absent(&inner, &place, &snapshot, &mut news).await {
                Ok(true) => {
                    let message = "it is not on the cluster: never launched, or removed";
                    let outcome = Outcome::Lost { message: message.to_owned() };
                    yield Ok(Event::Ended(Report::new(outcome)));
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    yield Err(error);
                    pause.wait().await;
                    continue;
                }
            }
            let due = clock.due(&snapshot);
            let alarm = due.map(|(at, _)| at).unwrap_or_else(far_away);
            tokio::select! {
                () = news.changed() => {}
                () = sleep_until(alarm), if due.is_some() => {
                    let Some((_, ending)) = due else { continue };
                    match end(&inner, &place, ending).await {
                        Ok(()) => clock.done(),
                        Err(error) => {
                            yield Err(error);
                            pause.wait().await;
                        }
                    }
                }
            }
        }
    }
}

/// The end of an attempt whose handle makes no sense.
pub(crate) fn unreadable() -> Event {
    let message = "its handle cannot be read".to_owned();
    Event::Ended(Report::new(Outcome::Lost { message }))
}

fn watch_trouble(trouble: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("failed to watch the job: {trouble}"))
}

fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

async fn end(inner: &Inner, place: &Place, ending: Ending) -> Result<()> {
    let cluster = inner.connection.cluster().await?;
    ending::end(&cluster, place, ending, None).await
}

/// When the job is to be ended by whoever follows it.
#[derive(Debug, Default)]
struct Clock {
    done: bool,
    marked: Option<Instant>,
}

impl Clock {
    /// When, and why; none if nothing is to be done.
    fn due(&mut self, snapshot: &Snapshot) -> Option<(Instant, Ending)> {
        let job = snapshot.job.as_ref()?;
        let pod = &snapshot.pod()?.pod;
        let running = pod.container.running?;
        if self.done || pod.deletion_asked.is_some() {
            return None;
        }
        if job.ending != Ending::None {
            let marked = *self.marked.get_or_insert_with(Instant::now);
            return Some((marked + OTHERS, job.ending));
        }
        let timeout = job.timeout?;
        let at = match (snapshot.seen_starting, running) {
            // Our own clock, if we saw it start.
            (Some(seen), _) => seen + timeout,
            (None, Some(started)) => {
                let ran = Timestamp::now().duration_since(started);
                let ran = Duration::try_from(ran).unwrap_or_default();
                Instant::now() + timeout.saturating_sub(ran)
            }
            (None, None) => Instant::now() + timeout,
        };
        Some((at, Ending::Deadline))
    }

    /// It has been done.
    const fn done(&mut self) {
        self.done = true;
    }
}

/// `report` with what the Pod's Events say about its image, if they come soon.
async fn with_evidence(mut report: Report, news: &mut Subscription) -> Report {
    let missing = |report: &Report| {
        report.image.as_ref().is_some_and(|i| i.pulled.is_none() && i.resolved.is_some())
    };
    let waiting = async {
        while missing(&report) {
            news.changed().await;
            if let Some(image) = &mut report.image {
                image.pulled = news.now().pulled;
            }
        }
    };
    // Without it the evidence is gone, which the report may say.
    let _ = timeout(EVIDENCE, waiting).await;
    report
}

/// Whether the attempt is not on the cluster at all. The watch tells what there is, but a Job may
/// be younger than its news: the API server is asked once more.
pub(crate) async fn is_absent(
    inner: &Inner,
    place: &Place,
    snapshot: &Snapshot,
    news: &mut Subscription,
) -> Result<bool> {
    let health = news.health();
    let unknown = snapshot.job_presence == Presence::Unknown && snapshot.pods.is_empty();
    if !unknown || !health.jobs || !health.pods {
        return Ok(false);
    }
    let cluster = inner.connection.cluster().await?;
    absent_now(&cluster, place).await
}

async fn absent_now(cluster: &Cluster, place: &Place) -> Result<bool> {
    Ok(cluster.get_job(place).await?.is_none())
}

//! Follows an attempt that has started, or may have started, to its end.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use longshore_core::{Backoff, Event, Outcome, Report};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::attempt_client::{AttemptClient, EventStream};
use crate::expected_end::{ExpectedEnd, Overdue};
use crate::patience::Patience;

/// How the following of an attempt ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The attempt ended.
    Ended(Report),
    /// The backend did not report about the attempt for `lostAfter`. It may still run.
    OutOfReach(Report),
}

/// Follows the attempt to its end, and passes each cancel request on. An attempt without `on_start` is
/// known to have started; else `on_start` receives the time when it has.
pub(crate) async fn follow(
    client: &AttemptClient,
    graces: watch::Receiver<Option<Duration>>,
    patience: Patience,
    mut on_start: Option<oneshot::Sender<Option<Timestamp>>>,
) -> Followed {
    let mut cancel = std::pin::pin!(client.forward_cancel(graces.clone()));
    let mut contact = Contact::new(client, patience);
    let mut end = ExpectedEnd::new(graces, patience, on_start.is_none());
    let mut feed = EventStream::open(client);
    loop {
        tokio::select! {
            biased;
            never = &mut cancel => match never {},
            overdue = end.overdue() => match overdue {
                Overdue::Listen => feed = EventStream::open(client),
                Overdue::GiveUp(waited) => return Followed::OutOfReach(no_end(client, waited)),
            },
            change = contact.changes() => match change {
                Change::Reachable => {
                    feed = EventStream::open(client);
                    contact.listens();
                    end.put_off();
                }
                Change::Quiet => contact.is_well(),
                Change::Overdue => return Followed::OutOfReach(contact.lost()),
            },
            event = feed.next() => match event {
                Ok(Event::Ended(report)) => return Followed::Ended(report),
                Ok(event) => {
                    contact.is_well();
                    end.heard(&event);
                    if let Event::Started(at) = event
                        && let Some(on_start) = on_start.take()
                    {
                        let _ = on_start.send(at);
                    }
                    client.report(event);
                }
                Err(error) => {
                    contact.is_broken(error.to_string());
                    client.trouble(&error);
                }
            },
        }
    }
}

fn no_end(client: &AttemptClient, waited: Duration) -> Report {
    let message = format!(
        "{} did not report the end of the job within {waited:?} after the job should have ended; \
         the job may still run",
        client.runner.name(),
    );
    Report::new(Outcome::Lost { message })
}

/// Whether the runner still reports about the attempt. A job that runs for hours can be silent for
/// hours. Only an error of its event stream raises the question. An event answers it. A successful
/// probe does not, because a backend that answers may still be unable to read this attempt: the
/// events are opened again, and must then come without an error.
struct Contact<'a> {
    client: &'a AttemptClient,
    patience: Patience,
    broken: Option<Broken>,
}

struct Broken {
    give_up: Instant,
    reason: String,
    /// Whether the runner has answered a probe since the last error.
    reachable: bool,
    backoff: Backoff,
    next: BoxFuture<'static, Change>,
}

/// What happened while the runner did not report about the attempt.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The runner answers probes again. The events must be opened again.
    Reachable,
    /// The events that were opened again came without an error.
    Quiet,
    /// No report came for `lostAfter`.
    Overdue,
}

impl<'a> Contact<'a> {
    const fn new(client: &'a AttemptClient, patience: Patience) -> Self {
        Self { client, patience, broken: None }
    }

    fn is_well(&mut self) {
        self.broken = None;
    }

    fn is_broken(&mut self, reason: String) {
        let mut broken = self.broken.take().unwrap_or_else(|| Broken {
            give_up: Instant::now() + self.patience.lost_after,
            reason: String::new(),
            reachable: true,
            backoff: self.client.backoff(),
            next: std::future::pending().boxed(),
        });
        broken.reason = reason;
        if broken.reachable {
            broken.reachable = false;
            let pause = broken.backoff.next_pause();
            broken.next = probe(self.client.clone(), self.patience.connect_timeout, pause).boxed();
        }
        self.broken = Some(broken);
    }

    /// Waits for an error of the events that were opened again.
    fn listens(&mut self) {
        if let Some(broken) = &mut self.broken {
            broken.reachable = true;
            broken.next = sleep(self.patience.connect_timeout).map(|()| Change::Quiet).boxed();
        }
    }

    /// Waits for a change while the runner does not report about the attempt.
    async fn changes(&mut self) -> Change {
        let Some(broken) = &mut self.broken else { return std::future::pending().await };
        tokio::select! {
            biased;
            change = &mut broken.next => change,
            () = sleep_until(broken.give_up) => Change::Overdue,
        }
    }

    fn lost(&self) -> Report {
        let reason = self.broken.as_ref().map_or("", |b| b.reason.as_str());
        let message = format!(
            "no answer about the job from {} for {:?} (lostAfter); the job may still run: {reason}",
            self.client.runner.name(),
            self.patience.lost_after,
        );
        Report::new(Outcome::Lost { message })
    }
}

/// Waits for `pause`, and then until the runner answers a probe.
async fn probe(client: AttemptClient, connect_timeout: Duration, pause: Duration) -> Change {
    sleep(pause).await;
    let mut backoff = client.backoff();
    loop {
        if let Ok(Ok(())) = timeout(connect_timeout, client.runner.ready()).await {
            return Change::Reachable;
        }
        sleep(backoff.next_pause()).await;
    }
}

//! Follows an attempt that has started, or may have started, to its end.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use longshore_core::{Event, Outcome, Report};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::watched::{Feed, Pauses, Watched};

/// How the following of an attempt ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The attempt ended.
    Ended(Report),
    /// The backend was out of reach for `lostAfter`. The attempt may still run.
    OutOfReach(Report),
}

/// The time limits for following an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) connect_timeout: Duration,
    pub(crate) lost_after: Duration,
}

/// Follows the attempt to its end, and passes each cancel request on.
pub(crate) async fn follow(
    watched: &Watched,
    graces: watch::Receiver<Option<Duration>>,
    patience: Patience,
) -> Followed {
    let mut cancel = std::pin::pin!(watched.pass_on_cancel(graces));
    let mut contact = Contact::new(watched, patience);
    let mut feed = Feed::open(watched);
    loop {
        tokio::select! {
            biased;
            never = &mut cancel => match never {},
            lost = contact.changes() => {
                if lost {
                    return Followed::OutOfReach(contact.lost());
                }
                contact.is_well();
            }
            event = feed.next() => match event {
                Ok(Event::Ended(report)) => return Followed::Ended(report),
                Ok(event) => {
                    contact.is_well();
                    watched.tell(event);
                }
                Err(error) => {
                    contact.is_broken(error.to_string());
                    watched.trouble(&error);
                }
            },
        }
    }
}

/// Whether the backend can be reached. A job that runs for hours can be silent for hours. Only an
/// error of its event stream raises the question; an event or a successful probe answers it.
struct Contact<'a> {
    watched: &'a Watched,
    patience: Patience,
    broken: Option<Broken>,
}

struct Broken {
    give_up: Instant,
    reason: String,
    well_again: BoxFuture<'static, ()>,
}

impl<'a> Contact<'a> {
    const fn new(watched: &'a Watched, patience: Patience) -> Self {
        Self { watched, patience, broken: None }
    }

    fn is_well(&mut self) {
        self.broken = None;
    }

    fn is_broken(&mut self, reason: String) {
        match &mut self.broken {
            Some(broken) => broken.reason = reason,
            None => {
                self.broken = Some(Broken {
                    give_up: Instant::now() + self.patience.lost_after,
                    reason,
                    well_again: probe(self.watched.clone(), self.patience.connect_timeout).boxed(),
                });
            }
        }
    }

    /// Waits for a change while out of contact. Returns false once the backend is back, and true
    /// once it was away for too long.
    async fn changes(&mut self) -> bool {
        let Some(broken) = &mut self.broken else { return std::future::pending().await };
        tokio::select! {
            biased;
            () = &mut broken.well_again => false,
            () = sleep_until(broken.give_up) => true,
        }
    }

    fn lost(&self) -> Report {
        let reason = self.broken.as_ref().map_or("", |b| b.reason.as_str());
        let message = format!(
            "no answer from {} for {:?} (lostAfter); the job may still run: {reason}",
            self.watched.runner.name(),
            self.patience.lost_after,
        );
        Report::new(Outcome::Lost { message })
    }
}

/// Returns once the runner answers a probe.
async fn probe(watched: Watched, connect_timeout: Duration) {
    let mut pauses = Pauses::default();
    loop {
        sleep(pauses.next()).await;
        if let Ok(Ok(_)) = timeout(connect_timeout, watched.runner.probe()).await {
            return;
        }
    }
}

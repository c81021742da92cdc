//! Settles an attempt whose launch gave no clear answer.

use std::time::Duration;

use longshore_core::{Event, Outcome, Report, Settled};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::attempt_client::{AttemptClient, EventStream};

/// How long the runner may take to settle an attempt, per call.
const SETTLE: Duration = Duration::from_secs(30);

/// The result of settling an attempt.
#[derive(Debug)]
pub(crate) enum Settlement {
    /// It never started and can no longer start.
    NeverStarted,
    /// It has started or may start. It must be followed.
    MayHaveStarted,
    /// It has ended.
    Ended(Report),
    /// The runner could not determine it for `lostAfter`.
    Unknown,
}

/// Settles the attempt. If the runner cannot settle it, watches its events and asks again until
/// `lost_after` has passed. Never starts anything.
pub(crate) async fn settle(
    client: &AttemptClient,
    graces: watch::Receiver<Option<Duration>>,
    lost_after: Duration,
) -> Settlement {
    let give_up = Instant::now() + lost_after;
    if let Some(settled) = ask(client).await {
        return settled.into();
    }
    let mut again = std::pin::pin!(ask_again(client));
    let mut cancel = std::pin::pin!(client.forward_cancel(graces));
    let mut feed = EventStream::open(client);
    loop {
        tokio::select! {
            biased;
            settled = &mut again => return settled.into(),
            never = &mut cancel => match never {},
            () = sleep_until(give_up) => return Settlement::Unknown,
            event = feed.next() => match event {
                // The attempt does not exist, or not yet: this proves nothing.
                Ok(Event::Ended(Report { outcome: Outcome::Lost { .. }, .. })) => {}
                Ok(Event::Ended(report)) => return Settlement::Ended(report),
                Ok(started @ Event::Started(_)) => {
                    client.report(started);
                    return Settlement::MayHaveStarted;
                }
                Ok(event) => client.report(event),
                Err(error) => client.trouble(&error),
            },
        }
    }
}

impl From<Settled> for Settlement {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::NeverStarted => Self::NeverStarted,
            // Anything not proven never to have started is followed.
            _ => Self::MayHaveStarted,
        }
    }
}

async fn ask(client: &AttemptClient) -> Option<Settled> {
    client.settle(SETTLE).await.map_err(|error| client.trouble(&error)).ok()
}

async fn ask_again(client: &AttemptClient) -> Settled {
    let mut backoff = client.backoff();
    loop {
        sleep(backoff.next_pause()).await;
        if let Some(settled) = ask(client).await {
            return settled;
        }
    }
}

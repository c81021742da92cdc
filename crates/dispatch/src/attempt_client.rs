//! An attempt that may be on its runner, and the calls to the runner about it.

use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, Fuse};
use longshore_core::{Backoff, Error, ErrorKind, Event, Handle, Runner, Settled};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::event_sink::JobEventSink;
use crate::job_event::JobEvent;

/// How long one call of a runner may take that has no deadline of its own.
pub(crate) const CALL: Duration = Duration::from_secs(60);
/// The extra time that a runner is given after a deadline.
const SLACK: Duration = Duration::from_secs(5);
/// The pause before a broken stream is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Returns the pauses between the retries of a call about `subject`: from one second to half a
/// minute. They are the same in every run, for the simulations.
pub(crate) fn backoff(subject: &impl Hash) -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).seeded_by(subject)
}

/// An attempt that may be on its runner.
#[derive(Clone, Debug)]
pub(crate) struct AttemptClient {
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) handle: Handle,
    pub(crate) sink: JobEventSink,
    /// Makes a drain of the runner wait for the attempt.
    pub(crate) _kept: TaskTrackerToken,
}

impl AttemptClient {
    pub(crate) fn trouble(&self, error: &Error) {
        self.sink.trouble(self.runner.name(), error);
    }

    pub(crate) fn report(&self, event: Event) {
        self.sink.send(JobEvent::Runner { runner: self.runner.name().clone(), event });
    }

    pub(crate) fn error(&self, message: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, message).on(self.runner.name())
    }

    /// Returns the pauses between the retries of a call about this attempt.
    pub(crate) fn backoff(&self) -> Backoff {
        backoff(&self.handle.attempt)
    }

    /// Passes each cancel request on to the runner, and retries until the runner accepts it. Never
    /// returns.
    pub(crate) async fn forward_cancel(
        &self,
        mut graces: watch::Receiver<Option<Duration>>,
    ) -> Infallible {
        loop {
            let asked = *graces.borrow_and_update();
            let told = async {
                match asked {
                    Some(grace) => self.cancel(grace).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = graces.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return std::future::pending().await,
                },
                () = told => {}
            }
            if graces.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Cancels the attempt. Retries until the runner accepts the request.
    async fn cancel(&self, grace: Duration) {
        let mut backoff = self.backoff();
        while let Err(error) = self.cancel_once(grace).await {
            self.trouble(&error);
            sleep(backoff.next_pause()).await;
        }
    }

    /// Cancels the attempt.
    pub(crate) async fn cancel_once(&self, grace: Duration) -> Result<(), Error> {
        match timeout(CALL, self.runner.cancel(&self.handle, grace)).await {
            Ok(cancelled) => cancelled.map_err(|error| error.on(self.runner.name())),
            Err(_) => Err(self.error("no answer to a cancel")),
        }
    }

    /// Removes the attempt from its runner. Returns false if that failed three times; a later
    /// clean-up must then remove it.
    pub(crate) async fn remove(&self) -> bool {
        let mut backoff = self.backoff();
        for attempt in 0..3 {
            if attempt > 0 {
                sleep(backoff.next_pause()).await;
            }
            match self.remove_once().await {
                Ok(()) => return true,
                Err(error) => self.trouble(&error),
            }
        }
        tracing::warn!(attempt = %self.handle.attempt, "failed to remove a finished attempt");
        false
    }

    /// Removes the attempt from its runner.
    pub(crate) async fn remove_once(&self) -> Result<(), Error> {
        match timeout(CALL, self.runner.remove(&self.handle)).await {
            Ok(removed) => removed.map_err(|error| error.on(self.runner.name())),
            Err(_) => Err(self.error("no answer to a removal")),
        }
    }

    /// Asks once whether the attempt has started, and fences it if not.
    pub(crate) async fn settle(&self, within: Duration) -> Result<Settled, Error> {
        let deadline = Instant::now() + within;
        match timeout_at(deadline + SLACK, self.runner.settle(&self.handle, deadline)).await {
            Ok(settled) => settled.map_err(|error| error.on(self.runner.name())),
            Err(_) => Err(self.error("no answer on whether the attempt started")),
        }
    }
}

/// The events of an attempt. The stream is opened again if it breaks off.
pub(crate) struct EventStream {
    client: AttemptClient,
    stream: Fuse<BoxStream<'static, Result<Event, Error>>>,
}

impl EventStream {
    pub(crate) fn open(client: &AttemptClient) -> Self {
        let stream = client.runner.events(&client.handle).fuse();
        Self { client: client.clone(), stream }
    }

    /// Returns the next event, or what went wrong. There is always a next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        if let Some(item) = self.stream.next().await {
            return item;
        }
        sleep(REOPEN).await;
        self.stream = self.client.runner.events(&self.client.handle).fuse();
        Err(self.client.error("the stream of events broke off; it was opened again"))
    }
}

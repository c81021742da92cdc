//! When a followed job should have ended, and what to do if its end is not reported.

use std::time::Duration;

use longshore_core::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::attempt_client::CALL;
use crate::launch::OVERDUE;
use crate::patience::Patience;

/// When a job that is cancelled, or has a timeout, should have ended.
///
/// A stream of events may be silent for as long as the job runs. Only after this time does silence
/// mean that something is wrong with the stream: then it is opened again, and in the end the job is
/// given up.
pub(crate) struct ExpectedEnd {
    graces: watch::Receiver<Option<Duration>>,
    patience: Patience,
    at: Option<Instant>,
    /// When to open the events again.
    listen: Option<Instant>,
}

/// What to do about an end that is not reported.
pub(crate) enum Overdue {
    /// Open the events again.
    Listen,
    /// Give the job up, after this long.
    GiveUp(Duration),
}

impl ExpectedEnd {
    pub(crate) fn new(
        graces: watch::Receiver<Option<Duration>>,
        patience: Patience,
        started: bool,
    ) -> Self {
        let mut graces = graces;
        graces.mark_changed();
        let mut end = Self { graces, patience, at: None, listen: None };
        if started {
            end.starts();
        }
        end
    }

    /// Notes an event. Progress before the start puts the end off.
    pub(crate) fn heard(&mut self, event: &Event) {
        match event {
            Event::Started(_) if self.at.is_none() => self.starts(),
            Event::Started(_) | Event::Running => {}
            _ => self.put_off(),
        }
    }

    /// Notes that the runner could not report for a while.
    pub(crate) fn put_off(&mut self) {
        if self.at.is_some() {
            let grace = (*self.graces.borrow()).unwrap_or(self.patience.grace);
            self.expect(self.at.max(Some(Instant::now() + grace)));
        }
    }

    /// Returns when something is to be done about an end that is not reported.
    pub(crate) async fn overdue(&mut self) -> Overdue {
        loop {
            let (give_up, listen) = (self.give_up(), self.listen);
            tokio::select! {
                biased;
                Ok(()) = self.graces.changed() => self.cancelled(),
                () = at(give_up) => return Overdue::GiveUp(self.waits()),
                () = at(listen) => {
                    self.listen = Some(Instant::now() + CALL);
                    return Overdue::Listen;
                }
            }
        }
    }

    fn starts(&mut self) {
        if let Some(timeout) = self.patience.timeout {
            self.expect(Instant::now().checked_add(timeout.saturating_add(self.patience.grace)));
        }
    }

    fn cancelled(&mut self) {
        let grace = *self.graces.borrow_and_update();
        let Some(end) = grace.and_then(|grace| Instant::now().checked_add(grace)) else { return };
        self.expect(Some(self.at.map_or(end, |at| at.min(end))));
    }

    fn expect(&mut self, at: Option<Instant>) {
        self.at = at;
        self.listen = at.and_then(|at| at.checked_add(OVERDUE));
    }

    /// How long an end may be overdue. Even a short `lostAfter` gives a runner time to report.
    fn waits(&self) -> Duration {
        self.patience.lost_after.max(CALL)
    }

    fn give_up(&self) -> Option<Instant> {
        self.at.and_then(|at| at.checked_add(self.waits()))
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

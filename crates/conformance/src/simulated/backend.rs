//! The simulated backend itself: its true state, which its runner may not see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use longshore_core::{Attempt, AttemptId, LogStream, Outcome, Report, RunnerName, Settled};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::ledger::{Ledger, What};
use super::script::Run;

/// The exit codes for the default actions of TERM and KILL: 128 + 15 and 128 + 9.
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// An entry on a backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: RunnerName,
    pub(super) ledger: Ledger,
    places: Mutex<BTreeMap<AttemptId, Place>>,
}

#[derive(Clone, Debug)]
enum Place {
    /// Never started and never will. Stays after a removal, as a fence is permanent.
    Fenced,
    There(Arc<Live>),
}

/// An attempt that started.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) run: Run,
    pub(super) started: Instant,
    timeout: Option<Duration>,
    pub(super) phase: watch::Sender<Phase>,
    ending: watch::Sender<Option<Ending>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Running,
    Ended { report: Report, at: Instant },
    Removed,
}

/// A cancel in progress.
#[derive(Clone, Copy, Debug)]
struct Ending {
    term: Instant,
    kill: Instant,
}

impl Backend {
    pub(super) fn new(name: RunnerName, ledger: Ledger) -> Self {
        Self { name, ledger, places: Mutex::default() }
    }

    pub(super) fn note(&self, attempt: &AttemptId, what: What) {
        self.ledger.note(&self.name, attempt, what);
    }

    /// Starts the attempt unless it already exists. Returns `None` if it is fenced.
    pub(super) fn commit(
        self: &Arc<Self>,
        attempt: &Attempt,
        run: impl FnOnce() -> Run,
    ) -> Option<Arc<Live>> {
        let mut places = self.places();
        match places.get(&attempt.id) {
            Some(Place::There(live)) => return Some(Arc::clone(live)),
            Some(Place::Fenced) => {
                self.note(&attempt.id, What::StartPrevented);
                return None;
            }
            None => {}
        }
        let live = Arc::new(Live {
            run: run(),
            started: Instant::now(),
            timeout: attempt.spec.timeout.map(longshore_core::HumanDuration::get),
            phase: watch::channel(Phase::Running).0,
            ending: watch::channel(None).0,
        });
        places.insert(attempt.id.clone(), Place::There(Arc::clone(&live)));
        self.note(&attempt.id, What::Started);
        tokio::spawn(Arc::clone(self).run_to_end(attempt.id.clone(), Arc::clone(&live)));
        Some(live)
    }

    /// Fences the attempt unless it has started.
    pub(super) fn fence(&self, attempt: &AttemptId) -> Settled {
        let mut places = self.places();
        match places.get(attempt) {
            Some(Place::There(_)) => Settled::MayHaveStarted,
            Some(Place::Fenced) => Settled::NeverStarted,
            None => {
                places.insert(attempt.clone(), Place::Fenced);
                self.note(attempt, What::Fenced);
                Settled::NeverStarted
            }
        }
    }

    pub(super) fn find(&self, attempt: &AttemptId) -> Option<Arc<Live>> {
        match self.places().get(attempt) {
            Some(Place::There(live)) => Some(Arc::clone(live)),
            _ => None,
        }
    }

    /// Returns the attempts that started and are not removed.
    pub(super) fn present(&self) -> Vec<AttemptId> {
        let there = |place: &Place| match place {
            Place::There(live) => *live.phase.borrow() != Phase::Removed,
            Place::Fenced => false,
        };
        self.places().iter().filter(|(_, p)| there(p)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn cancel(&self, attempt: &AttemptId, grace: Duration) {
        self.note(attempt, What::CancelAsked);
        let Some(live) = self.find(attempt) else { return };
        let now = Instant::now();
        live.ending.send_modify(|ending| {
            let before = ending.unwrap_or(Ending { term: now, kill: now + grace });
            *ending = Some(Ending { term: before.term, kill: before.kill.min(now + grace) });
        });
    }

    pub(super) fn remove(&self, attempt: &AttemptId) {
        let Some(live) = self.find(attempt) else { return };
        let before = live.phase.send_replace(Phase::Removed);
        if before != Phase::Removed {
            self.note(attempt, What::Removed { running: before == Phase::Running });
        }
    }

    async fn run_to_end(self: Arc<Self>, attempt: AttemptId, live: Arc<Live>) {
        let mut ending = live.ending.subscribe();
        let mut phase = live.phase.subscribe();
        let vanishes = live.run.vanishes.map(|d| live.started + d);
        let outcome = loop {
            let asked = *ending.borrow_and_update();
            let (at, outcome) = live.end(asked);
            tokio::select! {
                biased;
                _ = phase.wait_for(|p| *p == Phase::Removed) => return,
                _ = ending.changed() => {}
                () = until(at) => break outcome,
                () = until(vanishes) => {
                    self.note(&attempt, What::Vanished);
                    live.phase.send_replace(Phase::Removed);
                    return;
                }
            }
        };
        let mut report = Report::new(outcome.clone());
        report.started_at = Some(self.timestamp(live.started));
        report.finished_at = Some(self.timestamp(Instant::now()));
        let at = Instant::now();
        self.note(&attempt, What::Ended { outcome, output: live.written_by(at) });
        live.phase.send_replace(Phase::Ended { report, at });
    }

    /// Converts `instant` to this backend's clock, which began in 1970.
    pub(super) fn timestamp(&self, instant: Instant) -> jiff::Timestamp {
        let millis = (instant - self.ledger.epoch()).as_millis();
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Returns what it wrote to standard output until `at`.
    fn written_by(&self, at: Instant) -> Bytes {
        let until = at - self.started;
        let stdout = self.run.output.iter().filter(|w| w.stream == LogStream::Stdout);
        stdout.filter(|w| w.at <= until).flat_map(|w| w.bytes.iter().copied()).collect()
    }

    /// Returns when and how it ends according to the current state, or `None` for never.
    fn end(&self, ending: Option<Ending>) -> (Option<Instant>, Outcome) {
        let by_itself = self.run.lasts.map(|d| (self.started + d, self.run.outcome.clone()));
        let late = Outcome::DeadlineExceeded { code: Some(TERMINATED) };
        let by_timeout = self.timeout.map(|d| (self.started + d, late));
        let by_cancel = ending.map(|ending| match self.run.term {
            Some(term) if ending.term + term < ending.kill => {
                (ending.term + term, Outcome::Cancelled { code: Some(TERMINATED) })
            }
            _ => (ending.kill, Outcome::Cancelled { code: Some(KILLED) }),
        });
        let ends = [by_itself, by_timeout, by_cancel];
        match ends.into_iter().flatten().min_by_key(|(at, _)| *at) {
            Some((at, outcome)) => (Some(at), outcome),
            None => (None, self.run.outcome.clone()),
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

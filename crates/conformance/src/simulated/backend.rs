//! The simulated backend itself: its true state, which its runner may not see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Attempt, AttemptId, RunnerName, Settled};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, sleep_until};

use super::ledger::{Ledger, What};
use super::live::{Beginning, Live, Next, Phase};
use super::meddling::SecondStart;
use super::script::Run;

/// An entry on a backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: RunnerName,
    pub(super) ledger: Ledger,
    entries: Mutex<BTreeMap<AttemptId, Entry>>,
}

#[derive(Clone, Debug)]
enum Entry {
    /// Created and not committed.
    Prepared,
    /// Created and not committed, and a third party removed its marks. It can be neither committed
    /// nor fenced.
    Unmarked {
        /// The attempt, whose job the third party may start.
        attempt: Arc<Attempt>,
        /// Whether the labels are gone too.
        unlabelled: bool,
    },
    /// Never started and never will. Stays after a removal, as a fence is permanent.
    Fenced {
        /// Whether a third party removed its marks, so that it proves nothing.
        unmarked: bool,
    },
    There(Arc<Live>),
}

/// What became of a commit.
pub(super) enum Committed {
    /// The attempt is there, committed now or before.
    Here(Arc<Live>),
    /// It was fenced before.
    Fenced,
    /// Its marks are gone: nothing shows whether it started.
    Unknown,
}

impl Backend {
    pub(super) fn new(name: RunnerName, ledger: Ledger) -> Self {
        Self { name, ledger, entries: Mutex::default() }
    }

    pub(super) fn note(&self, attempt: &AttemptId, what: What) {
        self.ledger.note(&self.name, attempt, what);
    }

    /// Creates the attempt's object, uncommitted, unless there is one.
    pub(super) fn prepare(&self, attempt: &AttemptId) {
        self.entries().entry(attempt.clone()).or_insert(Entry::Prepared);
    }

    /// Takes back what was prepared. Returns whether it is proven that the attempt did not start.
    pub(super) fn withdraw(&self, attempt: &AttemptId) -> bool {
        let mut entries = self.entries();
        match entries.get(attempt) {
            Some(Entry::There(_) | Entry::Unmarked { .. }) => false,
            Some(Entry::Fenced { .. }) | None => true,
            Some(Entry::Prepared) => {
                entries.remove(attempt);
                true
            }
        }
    }

    /// Starts the attempt as `beginning` says, unless it already exists.
    pub(super) fn commit(
        self: &Arc<Self>,
        attempt: &Attempt,
        beginning: Beginning,
        run: impl FnOnce() -> Run,
    ) -> Committed {
        let mut entries = self.entries();
        match entries.get(&attempt.id) {
            Some(Entry::There(live)) if live.beginning == Beginning::Released => Committed::Unknown,
            Some(Entry::There(live)) => Committed::Here(Arc::clone(live)),
            Some(Entry::Fenced { .. }) => {
                self.note(&attempt.id, What::StartPrevented);
                Committed::Fenced
            }
            Some(Entry::Unmarked { .. }) => Committed::Unknown,
            Some(Entry::Prepared) | None => {
                Committed::Here(self.begin(&mut entries, attempt, beginning, run()))
            }
        }
    }

    fn begin(
        self: &Arc<Self>,
        entries: &mut BTreeMap<AttemptId, Entry>,
        attempt: &Attempt,
        beginning: Beginning,
        run: Run,
    ) -> Arc<Live> {
        self.note(
            &attempt.id,
            match &beginning {
                Beginning::Committed { .. } => What::Started,
                Beginning::Blocked { .. } => What::Blocked,
                Beginning::Released => What::Released,
            },
        );
        let live = Arc::new(Live::new(run, beginning, attempt.spec.timeout));
        entries.insert(attempt.id.clone(), Entry::There(Arc::clone(&live)));
        tokio::spawn(Arc::clone(self).run_to_end(attempt.id.clone(), Arc::clone(&live)));
        live
    }

    /// Fences the attempt unless it has started. Without marks, nothing is proven.
    pub(super) fn fence(&self, attempt: &AttemptId) -> Settled {
        let mut entries = self.entries();
        match entries.get(attempt) {
            Some(Entry::Fenced { unmarked: false }) => Settled::NeverStarted,
            Some(Entry::There(_) | Entry::Unmarked { .. } | Entry::Fenced { unmarked: true }) => {
                Settled::MayHaveStarted
            }
            Some(Entry::Prepared) | None => {
                entries.insert(attempt.clone(), Entry::Fenced { unmarked: false });
                self.note(attempt, What::Fenced);
                Settled::NeverStarted
            }
        }
    }

    /// Lets a third party remove Longshore's marks from the attempt's object, if there is one.
    pub(super) fn strip(&self, attempt: &Arc<Attempt>, labels: bool) {
        let mut entries = self.entries();
        match entries.get(&attempt.id) {
            None | Some(Entry::Unmarked { .. }) => return,
            Some(Entry::There(live)) => {
                if live.is_removed() {
                    return;
                }
                if labels {
                    live.lose_labels();
                }
            }
            Some(Entry::Prepared) => {
                let stripped = Entry::Unmarked { attempt: Arc::clone(attempt), unlabelled: labels };
                entries.insert(attempt.id.clone(), stripped);
            }
            Some(Entry::Fenced { .. }) => {
                entries.insert(attempt.id.clone(), Entry::Fenced { unmarked: true });
            }
        }
        self.note(&attempt.id, What::MarksLost);
    }

    /// Lets a third party start an attempt whose marks are gone and that was not committed.
    pub(super) fn release(self: &Arc<Self>, attempt: &AttemptId, run: impl FnOnce() -> Run) {
        let mut entries = self.entries();
        let Some(Entry::Unmarked { attempt, unlabelled }) = entries.get(attempt).cloned() else {
            return;
        };
        let live = self.begin(&mut entries, &attempt, Beginning::Released, run());
        if unlabelled {
            live.lose_labels();
        }
    }

    pub(super) fn find(&self, attempt: &AttemptId) -> Option<Arc<Live>> {
        match self.entries().get(attempt) {
            Some(Entry::There(live)) => Some(Arc::clone(live)),
            _ => None,
        }
    }

    /// Returns how many attempts are there: created without being fenced, and not removed.
    pub(super) fn present(&self) -> usize {
        let there = |place: &&Entry| match place {
            Entry::There(live) => !live.is_removed(),
            Entry::Unmarked { .. } => true,
            Entry::Prepared | Entry::Fenced { .. } => false,
        };
        self.entries().values().filter(there).count()
    }

    /// Returns the attempts that a search by labels finds: those that started and whose removal was
    /// not asked for, and those that lost their other marks.
    pub(super) fn labelled(&self) -> Vec<AttemptId> {
        let found = |place: &Entry| match place {
            Entry::There(live) => live.is_listed(),
            Entry::Unmarked { unlabelled, .. } => !unlabelled,
            Entry::Prepared | Entry::Fenced { .. } => false,
        };
        self.entries().iter().filter(|(_, p)| found(p)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn cancel(&self, attempt: &AttemptId, grace: Duration) {
        self.note(attempt, What::CancelAsked);
        if let Some(live) = self.find(attempt) {
            live.cancel(grace);
        } else {
            self.discard(attempt);
        }
    }

    pub(super) fn remove(self: &Arc<Self>, attempt: &AttemptId) {
        match self.find(attempt) {
            Some(live) => self.delete(attempt, &live, true),
            None => self.discard(attempt),
        }
    }

    /// Deletes an uncommitted object whose marks are gone. What is still on its way to it names
    /// this object and not a later one, so that the attempt cannot start any more.
    fn discard(&self, attempt: &AttemptId) {
        let mut entries = self.entries();
        if matches!(entries.get(attempt), Some(Entry::Unmarked { .. })) {
            entries.insert(attempt.clone(), Entry::Fenced { unmarked: false });
            self.note(attempt, What::Removed { running: false });
        }
    }

    /// Deletes an attempt: at once, or after the finalizer of another controller.
    fn delete(self: &Arc<Self>, attempt: &AttemptId, live: &Arc<Live>, by_longshore: bool) {
        let first = live.ask_deletion(by_longshore);
        let Some(wait) = live.run.finalizer else { return self.deleted(attempt, live) };
        if !first || live.is_removed() {
            return;
        }
        self.note(attempt, What::DeletionPending);
        let (backend, attempt, live) = (Arc::clone(self), attempt.clone(), Arc::clone(live));
        tokio::spawn(async move {
            sleep(wait).await;
            backend.deleted(&attempt, &live);
        });
    }

    fn deleted(&self, attempt: &AttemptId, live: &Live) {
        if live.phase.send_replace(Phase::Removed) == Phase::Removed {
            return;
        }
        self.note(
            attempt,
            match live.removal_asked() {
                Some(running) => What::Removed { running },
                None => What::Vanished,
            },
        );
    }

    async fn run_to_end(self: Arc<Self>, attempt: AttemptId, live: Arc<Live>) {
        let mut ending = live.ending.subscribe();
        let mut phase = live.phase.subscribe();
        let mut vanishes = live.run.vanishes.map(|wait| live.started + wait);
        let mut again = live.starts_again();
        let outcome = loop {
            let asked = *ending.borrow_and_update();
            let Next { at, outcome, by_itself } = live.end(asked);
            tokio::select! {
                biased;
                _ = phase.wait_for(|p| *p == Phase::Removed) => return,
                _ = ending.changed() => {}
                () = until(at) => {
                    if by_itself {
                        self.start_after_the_end(&attempt, &live);
                    }
                    break outcome;
                }
                () = until(vanishes) => {
                    vanishes = None;
                    self.delete(&attempt, &live, false);
                }
                () = until(again) => {
                    again = None;
                    self.start_again(&attempt, &live);
                    if let Some(SecondStart::InPlace(_)) = live.run.second_start {
                        break Live::replaced();
                    }
                }
            }
        };
        let now = Instant::now();
        let started = live.program_runs().then(|| self.timestamp(live.started));
        let report = live.report(outcome.clone(), started, self.timestamp(now));
        self.note(&attempt, What::Ended { outcome, output: live.written_by(now) });
        live.phase.send_replace(Phase::Ended { report, at: now });
    }

    fn start_again(&self, attempt: &AttemptId, live: &Live) {
        let name = format!("{attempt}-again");
        live.started_again(&name);
        self.note(attempt, What::StartedAgain(name));
    }

    fn start_after_the_end(self: &Arc<Self>, attempt: &AttemptId, live: &Arc<Live>) {
        let Some(SecondStart::AfterTheEnd(wait)) = live.run.second_start else { return };
        if wait.is_zero() {
            return self.start_again(attempt, live);
        }
        let (backend, attempt, live) = (Arc::clone(self), attempt.clone(), Arc::clone(live));
        tokio::spawn(async move {
            sleep(wait).await;
            if !live.is_removed() {
                backend.start_again(&attempt, &live);
            }
        });
    }

    /// Converts `instant` to this backend's clock, which began in 1970.
    pub(super) fn timestamp(&self, instant: Instant) -> jiff::Timestamp {
        let millis = (instant - self.ledger.epoch()).as_millis();
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Entry>> {
        self.entries.lock()
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

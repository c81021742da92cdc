//! Decides whether a runner is worth asking now, based on its earlier answers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{Backoff, Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::runner_status::{BreakerState, RunnerError};

/// How long after a good answer jobs skip the probe.
const FRESH: Duration = Duration::from_secs(30);
/// The first pause after a runner became unavailable.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A backend that asks for a longer wait than this is asked again after this time.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What to do with a job that wants this runner.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Launch it: the runner was healthy just now.
    Healthy,
    /// Probe first.
    Probe {
        /// The last refusal, if it still holds until another job has probed again.
        last_refusal: Option<Error>,
    },
    /// Pass the runner over at once, for this reason.
    Refused(Error),
}

/// Remembers the last answer of a runner.
///
/// `Unavailable` opens the breaker. While it is open, every job gets the stored reason at once.
/// After a pause, the runner is probed again, whether or not a job waits. The pause doubles each
/// time, has jitter, and is never shorter than the backend's `Retry-After`. `Saturated` never opens
/// the breaker, but its `Retry-After` is kept.
#[derive(Debug)]
pub(crate) struct Breaker {
    memory: Mutex<Memory>,
    /// Notified when the breaker opens: the task that probes again may have to probe sooner.
    opened: Arc<Notify>,
}

#[derive(Debug)]
struct Memory {
    state: State,
    /// The pauses after each time that the runner was unavailable, since a job last started on it.
    backoff: Backoff,
    /// Whether a task probes the runner until it is back.
    probing: bool,
    /// The last `Saturated` answer that came with a `Retry-After`.
    full: Option<Stored>,
}

#[derive(Debug)]
enum State {
    Unknown,
    Healthy { until: Instant },
    Open(Stored),
}

#[derive(Debug)]
struct Stored {
    kind: ErrorKind,
    message: String,
    since: Instant,
    until: Instant,
}

impl Stored {
    fn error(&self) -> Error {
        let error = Error::new(self.kind, self.message.clone());
        match self.since.elapsed().as_secs() {
            0 => error,
            seconds => error.with("seen", format_args!("{seconds}s ago")),
        }
    }

    fn report(&self) -> RunnerError {
        let at = Timestamp::now().checked_sub(self.since.elapsed()).unwrap_or(Timestamp::MIN);
        RunnerError { at, kind: self.kind, message: self.message.clone() }
    }

    fn retry_at(&self) -> Timestamp {
        let left = self.until.saturating_duration_since(Instant::now());
        Timestamp::now().checked_add(left).unwrap_or(Timestamp::MAX)
    }
}

impl Breaker {
    /// Creates a breaker that knows nothing yet. `seed` determines the jitter of its pauses.
    pub(crate) fn new(seed: u64) -> Self {
        let backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE).seeded_by(&seed);
        let memory = Memory { state: State::Unknown, backoff, probing: false, full: None };
        Self { memory: Mutex::new(memory), opened: Arc::default() }
    }

    pub(crate) fn admission(&self) -> Admission {
        let mut memory = self.memory.lock();
        let now = Instant::now();
        match &memory.full {
            Some(stored) if now < stored.until => return Admission::Refused(stored.error()),
            _ => memory.full = None,
        }
        match &memory.state {
            State::Unknown => Admission::Probe { last_refusal: None },
            State::Healthy { until } if now < *until => Admission::Healthy,
            State::Healthy { .. } => Admission::Probe { last_refusal: None },
            State::Open(stored) if now < stored.until => Admission::Refused(stored.error()),
            State::Open(stored) => Admission::Probe { last_refusal: Some(stored.error()) },
        }
    }

    /// Returns what jobs do about the runner now.
    pub(crate) fn state(&self) -> BreakerState {
        let memory = self.memory.lock();
        let now = Instant::now();
        if let State::Open(stored) = &memory.state {
            return BreakerState::Open { error: stored.report(), retry_at: stored.retry_at() };
        }
        match &memory.full {
            Some(stored) if now < stored.until => {
                BreakerState::Full { error: stored.report(), retry_at: stored.retry_at() }
            }
            _ => BreakerState::Closed,
        }
    }

    /// Records a successful probe.
    pub(crate) fn probe_succeeded(&self) {
        self.memory.lock().state = State::Healthy { until: Instant::now() + FRESH };
    }

    /// Records that the runner was ready a moment ago, which holds for another `time`.
    pub(crate) fn is_ready_for(&self, time: Duration) {
        self.memory.lock().state = State::Healthy { until: Instant::now() + time };
    }

    /// Records that a job started.
    pub(crate) fn launch_succeeded(&self) {
        let mut memory = self.memory.lock();
        memory.state = State::Healthy { until: Instant::now() + FRESH };
        memory.backoff.reset();
    }

    /// Returns the time until which no job may ask the runner, or `None` if the breaker is not
    /// open.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        self.memory.lock().open_until()
    }

    /// Returns when the task that [`refused`](Self::refused) requested must probe next, and the
    /// notification on which it must call this again sooner. Returns `None` if the runner is back
    /// and the task must end.
    pub(crate) fn next_probe(&self) -> Option<(Instant, Arc<Notify>)> {
        let mut memory = self.memory.lock();
        let until = memory.open_until();
        memory.probing = until.is_some();
        until.map(|until| (until, Arc::clone(&self.opened)))
    }

    /// Records a refusal of a probe or of a launch. Returns whether the caller must start a task
    /// that probes the runner until it is back. Only one such task runs at a time, even if the
    /// runner comes back and goes away in between.
    pub(crate) fn refused(&self, error: &Error) -> bool {
        let mut memory = self.memory.lock();
        let now = Instant::now();
        let retry_after = error.asked_to_wait().map(|wait| wait.min(LONGEST_RETRY_AFTER));
        match error.kind() {
            ErrorKind::Unavailable => {
                if !matches!(memory.state, State::Open(_)) {
                    self.opened.notify_one();
                }
                memory.open(error, now, retry_after);
                return !std::mem::replace(&mut memory.probing, true);
            }
            ErrorKind::Saturated => {
                memory.full = retry_after.map(|wait| stored(error, now, wait));
            }
            _ => {}
        }
        false
    }

    /// Records a failed probe of the background task. If the refusal is not `Unavailable`, the next
    /// job probes again and gets the answer itself.
    pub(crate) fn probe_failed(&self, error: &Error) {
        self.refused(error);
        if error.kind() != ErrorKind::Unavailable {
            self.memory.lock().state = State::Unknown;
        }
    }
}

impl Memory {
    const fn open_until(&self) -> Option<Instant> {
        match &self.state {
            State::Open(stored) => Some(stored.until),
            _ => None,
        }
    }

    fn open(&mut self, error: &Error, now: Instant, retry_after: Option<Duration>) {
        // Of many launches that fail at once, only the first lengthens the pause.
        if matches!(&self.state, State::Open(open) if now < open.until) {
            return;
        }
        let wait = self.backoff.next_pause().max(retry_after.unwrap_or_default());
        self.state = State::Open(stored(error, now, wait));
    }
}

fn stored(error: &Error, now: Instant, wait: Duration) -> Stored {
    Stored { kind: error.kind(), message: error.to_string(), since: now, until: now + wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Error {
        Error::new(ErrorKind::Unavailable, "failed to reach the engine")
    }

    fn refuses(breaker: &Breaker) -> bool {
        matches!(breaker.admission(), Admission::Refused(_))
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_doubles_is_jittered_and_never_exceeds_a_minute() {
        let breaker = Breaker::new(7);
        for longest in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            breaker.refused(&unavailable());
            tokio::time::advance(Duration::from_secs_f64(longest / 2.0 - 0.01)).await;
            assert!(refuses(&breaker), "{longest}");
            tokio::time::advance(Duration::from_secs_f64(longest / 2.0 + 0.01)).await;
            assert!(
                matches!(breaker.admission(), Admission::Probe { last_refusal: Some(_) }),
                "{longest}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn launches_that_fail_at_once_lengthen_the_pause_once() {
        let breaker = Breaker::new(7);
        for _ in 0..50 {
            breaker.refused(&unavailable());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!refuses(&breaker));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_started_job_forgets_the_failures_before() {
        let breaker = Breaker::new(7);
        let pause_after_one_more = async |breaker: &Breaker| {
            breaker.refused(&unavailable());
            let since = Instant::now();
            while refuses(breaker) {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
            since.elapsed()
        };
        for _ in 0..5 {
            pause_after_one_more(&breaker).await;
        }
        breaker.probe_succeeded();
        assert!(pause_after_one_more(&breaker).await > Duration::from_secs(10));
        breaker.launch_succeeded();
        assert!(pause_after_one_more(&breaker).await <= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_at_a_time_asks_a_runner_that_comes_and_goes() {
        let breaker = Breaker::new(7);
        assert!(breaker.refused(&unavailable()), "somebody has to ask");
        breaker.launch_succeeded();
        assert!(!breaker.refused(&unavailable()), "somebody does");
        assert!(breaker.next_probe().is_some());
        breaker.launch_succeeded();
        assert!(breaker.next_probe().is_none(), "it is back");
        assert!(breaker.refused(&unavailable()), "nobody asks any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_is_honoured_up_to_an_hour() {
        let breaker = Breaker::new(7);
        breaker.refused(&unavailable().retry_after(Duration::from_secs(300)));
        tokio::time::advance(Duration::from_secs(299)).await;
        assert!(refuses(&breaker));
        tokio::time::advance(Duration::from_secs(2)).await;
        breaker.refused(&unavailable().retry_after(Duration::MAX));
        tokio::time::advance(Duration::from_secs(3601)).await;
        assert!(!refuses(&breaker));
    }

    #[tokio::test(start_paused = true)]
    async fn saturated_never_opens_it_but_says_when_to_come_back() {
        let breaker = Breaker::new(7);
        breaker.probe_succeeded();
        let full = || Error::new(ErrorKind::Saturated, "exceeded quota");
        breaker.refused(&full());
        assert!(matches!(breaker.admission(), Admission::Healthy));
        breaker.refused(&full().retry_after(Duration::from_secs(10)));
        let Admission::Refused(error) = breaker.admission() else { panic!("not refused") };
        assert_eq!(error.kind(), ErrorKind::Saturated);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(matches!(breaker.admission(), Admission::Healthy));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_reason_says_when_it_was_seen() {
        let breaker = Breaker::new(7);
        breaker.refused(&unavailable().retry_after(Duration::from_secs(60)));
        tokio::time::advance(Duration::from_secs(12)).await;
        let Admission::Refused(error) = breaker.admission() else { panic!("not refused") };
        assert_eq!(error.to_string(), "failed to reach the engine (seen: 12s ago)");
    }
}

//! Following an attempt to its end.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use longshore_core::{Backoff, Event, LogStream, Outcome, Report, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backend::Backend;
use crate::client::{Answer, Engine};
use crate::labels::{Decision, Facts, Mark};
use crate::location::Location;
use crate::outcome::{
    Death, MADE_UP, init_refusal, is_made_up, is_shortly_before, outcome, overwritten, restarted,
    stopped,
};
use crate::past_events::{past_events, signalled_while_coming_up};
use crate::snapshot::{Coverage, Snapshot};

/// The first and the longest pause between two requests to an engine that does not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How much longer than its grace period an ended job may take before the follower ends it again:
/// the process that marked it may have died before its request reached the engine.
const SLACK: Duration = Duration::from_secs(5);

/// How long after an end by KILL the engine may report that the job was out of memory. On a busy
/// machine, 0.7 seconds were seen.
const OOM_SHOWS: Duration = Duration::from_secs(2);
/// How long after an end the restart may take that a restart policy or `docker restart` causes. The
/// first one of a policy is due after 100 ms.
const RESTART_SHOWS: Duration = Duration::from_secs(2);

/// The events of an attempt, up to its end.
pub(crate) fn follow(
    backend: Arc<Backend>,
    location: Location,
) -> BoxStream<'static, Result<Event>> {
    async_stream::stream! {
        let mut follower = Follower::new(&backend, &location);
        loop {
            match follower.step().await {
                Ok(Step::Started(at)) => yield Ok(Event::Started(at)),
                Ok(Step::Running) => yield Ok(Event::Running),
                Ok(Step::Ended(report)) => {
                    yield Ok(Event::Ended(report));
                    return;
                }
                Err(error) => yield Err(error),
            }
        }
    }
    .boxed()
}

/// What a follower reports next.
enum Step {
    Started(Option<Timestamp>),
    Running,
    Ended(Report),
}

struct Follower<'a> {
    backend: &'a Backend,
    location: &'a Location,
    snapshot: watch::Receiver<Snapshot>,
    start_reported: bool,
    running_reported: bool,
    backoff: Backoff,
    /// When the job must be ended (again).
    end_at: Option<Instant>,
    marked: bool,
    /// Whether this has asked for the events that the engine remembers.
    past_events_read: bool,
}

impl<'a> Follower<'a> {
    fn new(backend: &'a Backend, location: &'a Location) -> Self {
        let snapshot = backend.informer.subscribe(&location.attempt);
        Self {
            backend,
            location,
            snapshot,
            start_reported: false,
            running_reported: false,
            backoff: Backoff::new(BACKOFF.0, BACKOFF.1),
            end_at: None,
            marked: false,
            past_events_read: false,
        }
    }

    /// Waits for the next event.
    async fn step(&mut self) -> Result<Step> {
        loop {
            let snapshot = self.snapshot.borrow_and_update().clone();
            if !snapshot.synced && !snapshot.removed {
                self.inspect().await?;
                continue;
            }
            if snapshot.started && !self.start_reported {
                self.start_reported = true;
                return Ok(Step::Started(snapshot.started_at));
            }
            if snapshot.is_over() {
                match self.report(&snapshot).await {
                    Ok(Some(report)) => return Ok(Step::Ended(report)),
                    Ok(None) => {}
                    Err(error) => {
                        self.back_off().await;
                        return Err(error);
                    }
                }
            } else if snapshot.started && !self.running_reported {
                self.running_reported = true;
                return Ok(Step::Running);
            }
            if let Err(error) = self.schedule_end(&snapshot).await {
                self.back_off().await;
                return Err(error);
            }
            match self.end_at {
                None => self.changed().await,
                Some(at) => tokio::select! {
                    () = self.changed() => {}
                    () = sleep_until(at) => self.end_now(&snapshot).await?,
                },
            }
        }
    }

    async fn changed(&self) {
        // The informer drops the sender when it forgets the attempt, and reports that before.
        let mut snapshot = self.snapshot.clone();
        let _ = snapshot.changed().await;
    }

    /// Inspects the attempt. Reports the failure of each try; each retry waits longer.
    async fn inspect(&mut self) -> Result<()> {
        match self.backend.inspect(self.location).await {
            Ok(_) => {
                self.backoff.reset();
                Ok(())
            }
            Err(fault) => {
                self.back_off().await;
                Err(self.backend.error(fault, "failed to look for the attempt", self.location))
            }
        }
    }

    async fn back_off(&mut self) {
        sleep(self.backoff.next_pause()).await;
    }

    /// Sets when the job must be ended: at its timeout, or, if it is marked and still runs, some
    /// time after its grace period.
    async fn schedule_end(&mut self, snapshot: &Snapshot) -> Result<()> {
        if !snapshot.started || snapshot.is_over() {
            self.end_at = None;
            return Ok(());
        }
        if let Some(mark) = snapshot.mark {
            if !self.marked {
                self.marked = true;
                self.end_at = Some(Instant::now() + mark.grace + SLACK);
            }
        } else if self.end_at.is_none()
            && let Some(timeout) = snapshot.facts.as_ref().and_then(|facts| facts.timeout)
        {
            self.end_at = Some(match snapshot.start_observed {
                Some(observed) => observed + timeout,
                None => {
                    let now = self.backend.engine.now().await.map_err(|fault| {
                        let action = "failed to ask for the engine's time";
                        self.backend.error(fault, action, self.location)
                    })?;
                    due(snapshot.started_at, now, timeout)
                }
            });
        }
        Ok(())
    }

    async fn end_now(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.end_at = None;
        let Some(id) = &snapshot.id else { return Ok(()) };
        let grace = snapshot.facts.as_ref().map_or(Duration::ZERO, |facts| facts.grace);
        let mark = snapshot.mark.unwrap_or(Mark { decision: Decision::Deadline, grace });
        let ended = self.backend.terminate(self.location, id, mark, self.snapshot.clone()).await;
        self.marked = true;
        let again = if ended.is_ok() { mark.grace + SLACK } else { self.backoff.next_pause() };
        self.end_at = Some(Instant::now() + again);
        ended
    }

    /// How it ended; `None` if it must be inspected again.
    async fn report(&mut self, snapshot: &Snapshot) -> Result<Option<Report>> {
        let lost = |message: &str| Outcome::Lost { message: message.to_owned() };
        if snapshot.mark.is_none()
            && !self.past_events_read
            && snapshot.coverage != Coverage::All
            && snapshot.started
        {
            self.read_past_events().await?;
            // What it remembers may change what is known.
            return Ok(None);
        }
        let outcome = match (&snapshot.lost, &snapshot.death, snapshot.restarted) {
            (None, Some(death), _) => match self.certain(death, snapshot.mark).await? {
                Some(outcome) => outcome,
                None => lost("the container was killed and removed by another client"),
            },
            (Some(why), ..) => lost(why),
            (None, None, _)
                if was_cancelled(snapshot.mark)
                    && (!snapshot.started || snapshot.restarted.is_some()) =>
            {
                Outcome::Cancelled { code: None }
            }
            (None, None, _) if snapshot.id.is_none() && !snapshot.started => {
                lost("there is no container of this attempt: it was never started, or was removed")
            }
            (None, None, Some(again)) => restarted(again.starts),
            (None, None, None) => lost("another client removed the container"),
        };
        let snapshot = self.with_further_starts(matches!(outcome, Outcome::Lost { .. })).await?;
        let mut report = Report::new(outcome);
        report.started_at = snapshot.started_at;
        report.finished_at = snapshot.death.as_ref().and_then(|death| death.finished_at);
        report.image = snapshot.facts.as_ref().map(image);
        report.started_again = snapshot.describe_further_starts(&self.location.name);
        if !report.started_again.is_empty() {
            let starts = report.started_again.join("; ");
            tracing::error!(starts, "the container was started again");
        }
        Ok(Some(report))
    }

    /// What is known once a restart that follows the end at once has shown: that of a restart policy
    /// that another client has set, or that of `docker restart`, which ends the job as `lost`.
    async fn with_further_starts(&self, lost: bool) -> Result<Snapshot> {
        let snapshot = self.snapshot.borrow().clone();
        if snapshot.removed || snapshot.mark.is_some() || snapshot.started_again() {
            return Ok(snapshot);
        }
        if snapshot.updated {
            let inspected = self.backend.inspect(self.location).await;
            inspected.map_err(|f| {
                self.backend.error(f, "failed to look for the attempt", self.location)
            })?;
        }
        let has_restart_policy = self.snapshot.borrow().has_restart_policy;
        if has_restart_policy || (lost && snapshot.signals.count() > 0) {
            let mut shows = self.snapshot.clone();
            let _ =
                timeout(RESTART_SHOWS, shows.wait_for(|s| s.started_again() || s.removed)).await;
        }
        Ok(self.snapshot.borrow().clone())
    }

    /// The outcome of a death that an event reported; `None` if the container was removed. Where
    /// the event is not enough, this inspects the container: 137 may be due to the OOM killer or to
    /// a removal; 126 and 127 may be the init's own. Where the engine may have gone down, this asks
    /// it.
    async fn certain(&mut self, death: &Death, mark: Option<Mark>) -> Result<Option<Outcome>> {
        if mark.is_some() {
            return Ok(Some(outcome(death, mark)));
        }
        if let Some(message) = self.engine_went_down(death).await? {
            return Ok(Some(Outcome::Lost { message: message.to_owned() }));
        }
        let signals = self.snapshot.borrow().signals;
        let cause = self.backend.foreign_cause(self.location, signals, death.code).await;
        let cause = cause.map_err(|fault| {
            self.backend.error(fault, "failed to look for the marks of signals", self.location)
        })?;
        if let Some(signal) = cause {
            return Ok(Some(stopped(signal, death.code)));
        }
        if death.overwritten {
            return Ok(Some(overwritten(death.code)));
        }
        match death.code {
            137 if !death.oom_killed => {
                // The engine may report the cause after the end.
                let _ = timeout(OOM_SHOWS, self.snapshot.clone().wait_for(|s| s.oom || s.removed))
                    .await;
                let container = self.backend.inspect(self.location).await.map_err(|fault| {
                    self.backend.error(fault, "failed to look for the attempt", self.location)
                })?;
                let known = self.snapshot.borrow().clone();
                let whole = container.is_some() && known.lost.is_none() && !known.removed;
                Ok(whole.then(|| outcome(known.death.as_ref().unwrap_or(death), known.mark)))
            }
            code @ (126 | 127) => Ok(Some(match self.init_says(code).await {
                Some(rejected) => rejected,
                None => outcome(death, None),
            })),
            _ => Ok(Some(outcome(death, None))),
        }
    }

    /// Asks the engine for the events that this process did not hear, once.
    async fn read_past_events(&mut self) -> Result<()> {
        let snapshot = self.snapshot.borrow().clone();
        let Some(id) =
            snapshot.id.filter(|_| !self.past_events_read && snapshot.coverage != Coverage::All)
        else {
            return Ok(());
        };
        let past = past_events(&self.backend.engine, &id).await.map_err(|fault| {
            self.backend.error(fault, "failed to ask for the container's past", self.location)
        })?;
        self.backend.informer.record_past_events(&self.location.attempt, &past);
        self.past_events_read = true;
        Ok(())
    }

    /// Why `death` says nothing about the job, if the engine went down while the job ran. A
    /// follower that received every event, with no signal among them, knows that the engine did not.
    async fn engine_went_down(&self, death: &Death) -> Result<Option<&'static str>> {
        let snapshot = self.snapshot.borrow().clone();
        if snapshot.coverage == Coverage::All && snapshot.signals.count() == 0 {
            return Ok(None);
        }
        let down = went_down(&self.backend.engine, &snapshot, death).await;
        down.map_err(|fault| {
            self.backend.error(fault, "failed to ask when the engine came up", self.location)
        })
    }

    /// Whether the init could not execute the command: then its message is all the output.
    async fn init_says(&self, code: i32) -> Option<Outcome> {
        let name = self.snapshot.borrow().id.clone().unwrap_or_else(|| self.location.name.clone());
        let tty = self.location.tty;
        let logs = crate::logs::tail(&self.backend.engine, &name, 2, tty);
        let limit = self.backend.engine.config().request_timeout.get();
        let said = timeout(limit, logs.try_collect::<Vec<_>>()).await.ok()?.ok()?;
        let [(stream, bytes)] = said.as_slice() else { return None };
        if *stream != LogStream::Stderr && !tty {
            return None;
        }
        let message = String::from_utf8_lossy(bytes).trim().to_owned();
        Some(Outcome::Rejected { reason: init_refusal(code, &message)?, message })
    }
}

/// As [`Follower::engine_went_down`].
///
/// An engine without live-restore that stops, or that was killed and finds a running container when
/// it comes up, sends the container TERM. The exit code is then the job's reaction to the signal,
/// possibly 0. In the first case the signal is among the engine's last events; in the second it is
/// among the first that the new engine remembers. Where no process listened, only the times remain
/// as evidence.
async fn went_down(
    engine: &Engine,
    snapshot: &Snapshot,
    death: &Death,
) -> Answer<Option<&'static str>> {
    let Some(came_up) = engine.came_up().await? else {
        return Ok(may_be_made_up(snapshot, death).then_some(
            "the engine does not tell when it came up, and writes the exit code 255 if it has gone \
             down while a job ran and does not know how the job ended",
        ));
    };
    if snapshot.started_at.is_some_and(|started| came_up <= started) {
        return Ok(None);
    }
    if is_made_up(death, came_up) {
        let message = "the engine went down while the job ran, and does not know how it ended";
        return Ok(Some(message));
    }
    if engine.leaves_containers_alone().await? {
        return Ok(None);
    }
    if snapshot.coverage == Coverage::None && is_shortly_before(death, came_up) {
        return Ok(Some(
            "the engine went down at about the time when the job ended, and may have ended it",
        ));
    }
    let ended = match &snapshot.id {
        _ if snapshot.signals.count() > 0 => true,
        Some(id) => signalled_while_coming_up(engine, id, came_up).await?,
        None => false,
    };
    Ok(ended.then_some("the engine went down while the job ran, and ended it"))
}

/// Whether the engine may have made up a death, if it does not tell when it came up: it has no default
/// network (`bridge: none`).
fn may_be_made_up(snapshot: &Snapshot, death: &Death) -> bool {
    death.code == MADE_UP && !snapshot.start_remembered
}

fn image(facts: &Facts) -> longshore_core::ImageReport {
    facts.image.clone()
}

fn was_cancelled(mark: Option<Mark>) -> bool {
    mark.is_some_and(|mark| mark.decision == Decision::Cancelled)
}

/// When `timeout` has passed for a job that started at `started_at`, if it is `now` there. Both times
/// are the engine's, whose clock may differ from this machine's.
fn due(started_at: Option<Timestamp>, now: Timestamp, timeout: Duration) -> Instant {
    let ran = started_at.and_then(|at| Duration::try_from(now.duration_since(at)).ok());
    Instant::now() + timeout.saturating_sub(ran.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On an engine without its default network, each 255 was taken for the job's own.
    #[test]
    fn a_255_of_an_engine_that_does_not_tell_when_it_came_up_was_trusted() {
        let death = |code| Death { code, ..Death::default() };
        let unheard = Snapshot::default();
        assert!(may_be_made_up(&unheard, &death(255)) && !may_be_made_up(&unheard, &death(3)));
        let remembered = Snapshot { start_remembered: true, ..Snapshot::default() };
        assert!(!may_be_made_up(&remembered, &death(255)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_counts_from_the_start_by_the_clock_of_the_engine() {
        let started: Timestamp = "2001-02-03T04:05:06Z".parse().unwrap();
        let after = |ran: i64| {
            let now = started + jiff::SignedDuration::from_secs(ran);
            due(Some(started), now, Duration::from_secs(60)).duration_since(Instant::now())
        };
        assert_eq!(after(20), Duration::from_secs(40));
        assert_eq!(after(61), Duration::ZERO);
        assert_eq!(after(-5), Duration::from_secs(60), "an engine's clock may be set back");
    }
}

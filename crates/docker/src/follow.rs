//! Following an attempt to its end.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use longshore_core::{Event, LogStream, Outcome, Report, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backend::Backend;
use crate::labels::{Decision, Facts, Mark};
use crate::outcome::{Death, MADE_UP, init_refusal, is_made_up, outcome};
use crate::place::Place;
use crate::sight::Sight;

/// The bounds of the time between two looks at an engine that does not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How much longer than its grace period a job that was told to end may take before it is told
/// again: whoever told it may have died before the engine heard.
const SLACK: Duration = Duration::from_secs(5);

/// What happens to an attempt, to its end.
pub(crate) fn follow(backend: Arc<Backend>, place: Place) -> BoxStream<'static, Result<Event>> {
    async_stream::stream! {
        let mut follower = Follower::new(&backend, &place);
        loop {
            match follower.step().await {
                Ok(Step::Started(at)) => yield Ok(Event::Started(at)),
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

/// What a follower has to tell.
enum Step {
    Started(Option<Timestamp>),
    Ended(Report),
}

struct Follower<'a> {
    backend: &'a Backend,
    place: &'a Place,
    sight: watch::Receiver<Sight>,
    told_started: bool,
    backoff: Duration,
    /// When the job must be told to end (again).
    alarm: Option<Instant>,
    marked: bool,
}

impl<'a> Follower<'a> {
    fn new(backend: &'a Backend, place: &'a Place) -> Self {
        let sight = backend.watcher.watch(&place.attempt);
        Self {
            backend,
            place,
            sight,
            told_started: false,
            backoff: BACKOFF.0,
            alarm: None,
            marked: false,
        }
    }

    /// Goes on to the next thing that is worth telling.
    async fn step(&mut self) -> Result<Step> {
        loop {
            let sight = self.sight.borrow_and_update().clone();
            if !sight.trusted && !sight.removed {
                self.look().await?;
                continue;
            }
            if sight.started && !self.told_started {
                self.told_started = true;
                return Ok(Step::Started(sight.started_at));
            }
            if sight.is_over()
                && let Some(report) = self.report(&sight).await?
            {
                return Ok(Step::Ended(report));
            }
            self.set_alarm(&sight);
            match self.alarm {
                None => self.changed().await,
                Some(at) => tokio::select! {
                    () = self.changed() => {}
                    () = sleep_until(at) => self.ring(&sight).await?,
                },
            }
        }
    }

    async fn changed(&self) {
        // The sender lives as long as the attempt is known; when it is forgotten, that was told.
        let mut sight = self.sight.clone();
        let _ = sight.changed().await;
    }

    /// Looks for itself; a failure is told once per try, and each try waits longer.
    async fn look(&mut self) -> Result<()> {
        match self.backend.look(self.place).await {
            Ok(_) => {
                self.backoff = BACKOFF.0;
                Ok(())
            }
            Err(fault) => {
                sleep_until(Instant::now() + self.backoff).await;
                self.backoff = (self.backoff * 2).min(BACKOFF.1);
                Err(self.backend.error(fault, "failed to look for the attempt", self.place))
            }
        }
    }

    /// Sets when the job must be told to end: at its timeout, or, if it has been told and goes
    /// on, some time after its grace period.
    fn set_alarm(&mut self, sight: &Sight) {
        if !sight.started || sight.is_over() {
            self.alarm = None;
            return;
        }
        if let Some(mark) = sight.mark {
            if !self.marked {
                self.marked = true;
                self.alarm = Some(Instant::now() + mark.grace + SLACK);
            }
        } else if self.alarm.is_none() {
            let timeout = sight.facts.as_ref().and_then(|facts| facts.timeout);
            self.alarm = timeout.map(|timeout| due(sight.started_at, timeout));
        }
    }

    async fn ring(&mut self, sight: &Sight) -> Result<()> {
        self.alarm = None;
        let Some(id) = &sight.id else { return Ok(()) };
        let grace = sight.facts.as_ref().map_or(Duration::ZERO, |facts| facts.grace);
        let mark = sight.mark.unwrap_or(Mark { decision: Decision::Deadline, grace });
        let ended = self.backend.end(self.place, id, mark, self.sight.clone()).await;
        self.marked = true;
        let again = if ended.is_ok() { mark.grace + SLACK } else { self.backoff };
        self.alarm = Some(Instant::now() + again);
        ended
    }

    /// How it ended; none if it must be looked at anew.
    async fn report(&self, sight: &Sight) -> Result<Option<Report>> {
        let facts = sight.facts.as_ref();
        let lost = |message: &str| Outcome::Lost { message: message.to_owned() };
        let outcome = match (&sight.lost, &sight.death) {
            (None, Some(death)) => match self.certain(death, sight.mark).await? {
                Some(outcome) => outcome,
                None => lost("somebody removed the container when it had been killed"),
            },
            (Some(why), _) => lost(why),
            (None, None) if !sight.started && was_cancelled(sight.mark) => {
                Outcome::Cancelled { code: None }
            }
            (None, None) if sight.id.is_none() && !sight.started => {
                lost("there is no container of this attempt: it was never started, or was removed")
            }
            (None, None) => lost("somebody removed the container"),
        };
        let mut report = Report::new(outcome);
        report.started_at = sight.started_at;
        report.finished_at = sight.death.as_ref().and_then(|death| death.finished_at);
        report.image = facts.map(image);
        Ok(Some(report))
    }

    /// The outcome of a death that an event told of. Where the event does not say all, the
    /// container is looked at: 137 may be the OOM killer's doing, or that of somebody who removes
    /// the container (then none); with 126 and 127 it may be the init that speaks, with 255 the
    /// engine.
    async fn certain(&self, death: &Death, mark: Option<Mark>) -> Result<Option<Outcome>> {
        if mark.is_some() {
            return Ok(Some(outcome(death, mark)));
        }
        match death.code {
            137 if !death.oom_killed => {
                let seen = self.backend.look(self.place).await.map_err(|fault| {
                    self.backend.error(fault, "failed to look for the attempt", self.place)
                })?;
                let known = self.sight.borrow().clone();
                let whole = seen.is_some() && known.lost.is_none() && !known.removed;
                Ok(whole.then(|| outcome(known.death.as_ref().unwrap_or(death), known.mark)))
            }
            MADE_UP => {
                let came_up = self.backend.engine.came_up().await.map_err(|fault| {
                    self.backend.error(fault, "failed to ask when the engine came up", self.place)
                })?;
                Ok(Some(if is_made_up(death, came_up) {
                    let message =
                        "the engine went down while the job ran, and does not know how it ended";
                    Outcome::Lost { message: message.to_owned() }
                } else {
                    outcome(death, None)
                }))
            }
            code @ (126 | 127) => Ok(Some(match self.init_says(code).await {
                Some(rejected) => rejected,
                None => outcome(death, None),
            })),
            _ => Ok(Some(outcome(death, None))),
        }
    }

    /// Whether the init could not execute the command: then its words are all the output.
    async fn init_says(&self, code: i32) -> Option<Outcome> {
        let logs = crate::logs::tail(&self.backend.engine, &self.place.name, 2);
        let limit = self.backend.engine.config().request_timeout.get();
        let said = timeout(limit, logs.try_collect::<Vec<_>>()).await.ok()?.ok()?;
        let [(LogStream::Stderr, bytes)] = said.as_slice() else { return None };
        let message = String::from_utf8_lossy(bytes).trim().to_owned();
        Some(Outcome::Rejected { reason: init_refusal(code, &message)?, message })
    }
}

fn image(facts: &Facts) -> longshore_core::ImageReport {
    facts.image.clone()
}

fn was_cancelled(mark: Option<Mark>) -> bool {
    mark.is_some_and(|mark| mark.decision == Decision::Cancelled)
}

/// When a job that started at `started_at`, by the engine's clock, has had `timeout`. A clock
/// that is ahead of ours gives it its whole timeout from now on, at most.
fn due(started_at: Option<Timestamp>, timeout: Duration) -> Instant {
    let now = Timestamp::now();
    let had = started_at.map_or(Duration::ZERO, |at| {
        Duration::try_from(now.duration_since(at)).unwrap_or(Duration::ZERO)
    });
    Instant::now() + timeout.saturating_sub(had)
}

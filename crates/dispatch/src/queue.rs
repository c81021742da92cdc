//! What a job does while there is no place for it: among the jobs in flight, or on any runner.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Backoff, Error, ErrorKind, JobSpec, NotRunReason, Outcome};
use tokio::time::{Instant, sleep_until};

use crate::dispatcher::{Dispatcher, closed};
use crate::job::State;
use crate::job_event::JobEvent;
use crate::places::Rank;
use crate::standing::{Left, Standing, WhenFull, end_of_wait};
use crate::task::JobTask;
use crate::{Settings, Stopped, Submission};

/// The pauses before all runners are asked again. A runner does not report when it is no longer
/// saturated, but the end of a job of this dispatcher ends a pause early.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl Submission {
    /// Sets what happens if there is no place for the job. Default: `submit` waits, without a limit,
    /// until fewer than `maxJobs` jobs are in flight. The job is not on record meanwhile. If all
    /// runners are saturated, the job ends as `NotRun`.
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = Some(when_full);
        self
    }

    /// Sets the priority with which the job waits for a place. Higher values go first. Default: 0.
    ///
    /// Jobs of equal priority go first come, first served, unless `fairShareLabel` is set: then the
    /// values of that label take turns.
    #[must_use]
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}

impl Dispatcher {
    /// Takes a place for a job, or a turn in the queue for one, before the job is on record.
    pub(crate) async fn stand(
        &self,
        spec: &JobSpec,
        priority: i32,
        when_full: Option<WhenFull>,
    ) -> Result<Standing, Error> {
        let (places, setup) = (self.places(), self.setup());
        let settings = &*setup.settings;
        let rank = rank(settings, spec, priority);
        let standing = Standing { places: Some(Arc::clone(places)), ..Standing::default() };
        match when_full {
            Some(WhenFull::Wait(patience)) => {
                let limit = usize::try_from(settings.max_queued_jobs).unwrap_or(usize::MAX);
                let ticket = Some(places.queue_within(rank, limit)?);
                let until = Some((end_of_wait(patience), patience));
                Ok(Standing { ticket, until, ..standing })
            }
            Some(WhenFull::Refuse) if !places.is_free() => {
                let message = format!("{} jobs are in flight (job.maxJobs)", settings.max_jobs);
                Err(Error::new(ErrorKind::Saturated, message))
            }
            Some(WhenFull::Refuse) | None => {
                let mut ticket = places.queue(rank, false);
                let place = tokio::select! {
                    biased;
                    () = self.closing().cancelled() => return Err(closed()),
                    place = ticket.place() => place?,
                };
                Ok(Standing { place: Some(place), ..standing })
            }
        }
    }

    /// Takes a turn in the queue for a job that is on record.
    pub(crate) fn queued(
        &self,
        spec: &JobSpec,
        priority: i32,
        until: Option<(Instant, Duration)>,
    ) -> Standing {
        let places = self.places();
        let ticket = Some(places.queue(rank(&self.setup().settings, spec, priority), true));
        Standing { ticket, until, places: Some(Arc::clone(places)), ..Standing::default() }
    }
}

fn rank(settings: &Settings, spec: &JobSpec, priority: i32) -> Rank {
    let label = settings.fair_share_label.as_ref();
    let share = label.and_then(|label| spec.labels.get(label.as_str()));
    Rank { priority, share: share.map_or_else(Arc::default, |value| value.as_str().into()) }
}

impl JobTask {
    /// Waits for a place if the job has none.
    pub(crate) async fn take_place(&mut self) -> Result<(), Left> {
        let Some(mut ticket) = self.standing.ticket.take() else { return Ok(()) };
        if !ticket.is_ready() {
            self.sink.send(JobEvent::Queued);
        }
        let reason = || format!("{} jobs are in flight (job.maxJobs)", self.settings.max_jobs);
        let placed = self.patiently(ticket.place(), reason).await?;
        self.standing.place = Some(placed.map_err(|error| Left::Over(Outcome::refused(&error)))?);
        Ok(())
    }

    /// Waits until it is worth asking all runners again. Fails if the job does not wait for them.
    pub(crate) async fn wait_for_runners(&mut self, backoff: &mut Backoff) -> Result<(), Left> {
        let saturated = ErrorKind::Saturated.name();
        let full = self.search.passed_over.iter().any(|passed| passed.kind == saturated);
        let (Some(places), Some(_), true) =
            (self.standing.places.clone(), self.standing.until, full)
        else {
            return Err(Left::Over(self.nobody_took_it()));
        };
        self.sink.send(JobEvent::Queued);
        self.search.again = true;
        let pause = Instant::now() + backoff.next_pause();
        let worth = async {
            tokio::select! {
                () = places.freed() => {}
                () = sleep_until(pause) => {}
            }
        };
        self.patiently(worth, || self.nobody_took_it().to_string()).await
    }

    /// Returns the pauses for [`wait_for_runners`](Self::wait_for_runners).
    pub(crate) fn pauses(&self) -> Backoff {
        Backoff::new(PAUSES.0, PAUSES.1).seeded_by(&self.id)
    }

    /// Waits for `wait`, at most for as long as the job does.
    async fn patiently<T>(
        &self,
        wait: impl Future<Output = T>,
        reason: impl Fn() -> String,
    ) -> Result<T, Left> {
        let until = self.standing.until;
        let out_of_time = async {
            match until {
                Some((until, _)) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let closing = async {
            match &self.standing.closing {
                Some(closing) => closing.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.canceller.token().cancelled() => {
                Err(Left::Over(Outcome::Cancelled { code: None }))
            }
            done = wait => Ok(done),
            () = closing => Err(Left::ToAnother),
            () = out_of_time => {
                let patience = until.map(|(_, patience)| patience).unwrap_or_default();
                let message = format!("there was no place for {patience:?}: {}", reason());
                Err(Left::Over(Outcome::NotRun { reason: NotRunReason::NoRunner, message }))
            }
        }
    }

    /// Ends the wait of a job.
    pub(crate) async fn leave(mut self, left: Left) {
        match left {
            Left::Over(outcome) => self.end_without_start(outcome, None).await,
            Left::ToAnother => {
                let message = "the dispatcher shuts down; the job goes on when it is taken up";
                // The claim is released before the report, since a reader may take the job up.
                let Self { claim, state, sink, id, .. } = self;
                drop(claim);
                sink.announce(&JobEvent::Stopped { message: message.to_owned() });
                state.send_replace(State::Stopped(Stopped::new(&id, message)));
            }
        }
    }
}

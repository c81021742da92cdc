//! The launches of the simulated runner.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{
    Attempt, Error, ErrorKind, Event, LaunchContext, LaunchError, RejectReason, Runner, Started,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::backend::Committed;
use super::ledger::What;
use super::live::{Beginning, Live};
use super::meddling::{Change, Meddling};
use super::runner::SimulatedRunner;
use super::script::{LaunchStep, Run};

type Launched<T> = Result<T, LaunchError>;

impl SimulatedRunner {
    pub(super) async fn play_launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> Launched<Started> {
        if let Some(target) = &attempt.target {
            self.find_target(target).map_err(LaunchError::Refused)?;
        }
        let (latency, step, meddling) = {
            let mut script = self.script();
            let meddling = script.meddling.pop_front().unwrap_or_default();
            (script.latency, script.launches.pop_front(), meddling)
        };
        if let Meddling::Changes { difference, effect } = meddling {
            return self.launch_changed(attempt, context, difference, effect).await;
        }
        let step = step.unwrap_or(LaunchStep::Start { after: latency });
        self.meddle(attempt, &step, meddling);
        match step {
            LaunchStep::Start { after } => self.start(attempt, context, after).await,
            LaunchStep::Refuse(refusal) => {
                sleep(latency).await;
                Err(self.refused(attempt, refusal.error(&self.backend.name)))
            }
            LaunchStep::AnswerLost { effect, answer } => {
                self.start_later(attempt, effect);
                sleep_until(context.deadline.min(Instant::now() + answer)).await;
                Err(LaunchError::Indeterminate(self.lost()))
            }
            LaunchStep::Hang { effect } => {
                self.start_later(attempt, effect);
                std::future::pending().await
            }
        }
    }

    /// Prepares what `step` commits, and lets a third party strip it.
    fn meddle(&self, attempt: &Attempt, step: &LaunchStep, meddling: Meddling) {
        let Meddling::StripsMarks { after, labels, releases } = meddling else { return };
        match step {
            LaunchStep::Start { .. }
            | LaunchStep::AnswerLost { effect: Some(_), .. }
            | LaunchStep::Hang { effect: Some(_) } => self.backend.prepare(&attempt.id),
            _ => return,
        }
        let (runner, attempt) = (self.clone(), Arc::new(attempt.clone()));
        tokio::spawn(async move {
            sleep(after).await;
            runner.backend.strip(&attempt, labels);
            if let Some(wait) = releases {
                sleep(wait).await;
                runner.backend.release(&attempt.id, || runner.run());
            }
        });
    }

    fn run(&self) -> Run {
        self.next(|s| &mut s.runs).unwrap_or_default()
    }

    fn commit(&self, attempt: &Attempt, beginning: Beginning) -> Committed {
        self.backend.commit(attempt, beginning, || self.run())
    }

    fn refused(&self, attempt: &Attempt, error: Error) -> LaunchError {
        self.backend.note(&attempt.id, What::Refused(error.kind()));
        LaunchError::Refused(error.on(&self.backend.name))
    }

    /// Gives up before the commit: refuses if what was prepared can be taken back.
    fn give_up(&self, attempt: &Attempt, error: Error) -> LaunchError {
        if self.backend.withdraw(&attempt.id) {
            self.refused(attempt, error)
        } else {
            LaunchError::Indeterminate(error.on(&self.backend.name))
        }
    }

    /// Returns the answer of a commit.
    fn answer(&self, attempt: &Attempt, committed: Committed) -> Launched<Arc<Live>> {
        match committed {
            Committed::Here(live) => Ok(live),
            Committed::Fenced => {
                let error = Error::new(ErrorKind::Internal, "simulated: it was fenced");
                Err(self.refused(attempt, error))
            }
            Committed::Unknown => {
                let message = "simulated: its marks are gone, so it cannot be committed";
                let error = Error::new(ErrorKind::Internal, message);
                Err(LaunchError::Indeterminate(error.on(&self.backend.name)))
            }
        }
    }

    /// Starts the job later, whatever the launch answers.
    fn start_later(&self, attempt: &Attempt, effect: Option<Duration>) {
        let Some(effect) = effect else { return };
        let (runner, attempt) = (self.clone(), attempt.clone());
        tokio::spawn(async move {
            sleep(effect).await;
            runner.commit(&attempt, Beginning::Committed { difference: None });
        });
    }

    async fn start(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
        after: Duration,
    ) -> Launched<Started> {
        self.come_to_the_commit(attempt, context, after).await?;
        context.events.emit(Event::Scheduled);
        let committed = self.commit(attempt, Beginning::Committed { difference: None });
        let live = self.answer(attempt, committed)?;
        Ok(self.started(attempt, &live))
    }

    fn started(&self, attempt: &Attempt, live: &Live) -> Started {
        let started_at = Some(self.backend.timestamp(live.started));
        Started::new(self.handle(attempt), started_at, None)
    }

    /// Waits until the commit is due, unless the launch is given up before.
    async fn come_to_the_commit(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
        after: Duration,
    ) -> Launched<()> {
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => {
                return Err(self.give_up(attempt, Error::cancelled()));
            }
            () = sleep_until(context.deadline) => {
                let error = Error::new(ErrorKind::Unavailable, "not started by the deadline");
                return Err(self.give_up(attempt, error));
            }
            () = sleep(after) => {}
        }
        if self.away().is_some() {
            return Err(self.give_up(attempt, self.out_of_reach()));
        }
        Ok(())
    }

    /// Launches an attempt whose object a third party changes when it is created.
    async fn launch_changed(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
        difference: String,
        effect: Change,
    ) -> Launched<Started> {
        let latency = self.script().latency;
        self.come_to_the_commit(attempt, context, latency).await?;
        self.backend.note(&attempt.id, What::Changed(difference.clone()));
        let error = |kind| {
            let error = Error::new(kind, "simulated: a third party changed it");
            error.on(&self.backend.name).with("changes", &difference)
        };
        let beginning = match effect {
            Change::Refused => return Err(self.refused(attempt, error(ErrorKind::Unsupported))),
            Change::Harmless | Change::Unclear => {
                Beginning::Committed { difference: Some(difference.clone()) }
            }
            Change::Blocks => Beginning::Blocked { difference: difference.clone() },
        };
        context.events.emit(Event::Waiting(difference.clone()));
        let committed = self.commit(attempt, beginning);
        let live = self.answer(attempt, committed)?;
        match effect {
            Change::Harmless => Ok(self.started(attempt, &live)),
            Change::Blocks => {
                let kind = ErrorKind::Rejected(RejectReason::ContainerConfig);
                Err(LaunchError::Indeterminate(error(kind)))
            }
            _ => Err(LaunchError::Indeterminate(error(ErrorKind::Unsupported))),
        }
    }
}

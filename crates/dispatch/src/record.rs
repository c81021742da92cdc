//! The points of a job's way that must be in the journal before the next step is taken: the intent
//! before a launch, what became of it, the job's one outcome, that nothing of it is left.

use std::sync::Arc;

use longshore_core::{
    Attempt, Error, ErrorKind, Handle, JobResult, PassedOver, PullPolicy, Report,
};
use longshore_journal::{JournalError, NewAttempt};
use tracing::{info, warn};

use crate::attempt::{Found, Taken};
use crate::fail_point::FailPoint;
use crate::job::{JobEvent, State};
use crate::lane::Lane;
use crate::task::JobTask;

impl JobTask {
    /// Before a launch: from here on the attempt may be on the runner, at `handle`.
    ///
    /// # Errors
    /// If it is not on record: then nothing may be launched.
    pub(crate) async fn record_intent(
        &mut self,
        lane: &Lane,
        attempt: &Attempt,
        handle: &Handle,
    ) -> Result<(), Error> {
        let number = self.search.attempts;
        let intent = NewAttempt::new(number, handle.clone(), attempt.pull_policy);
        self.claim.intent(intent).await.map_err(unrecorded)?;
        FailPoint::Intent.reach();
        info!(attempt = %attempt.id, runner = %handle.runner, policy = %attempt.pull_policy, "launching");
        self.search.last_attempt = Some(attempt.id.clone());
        self.progress.tell(JobEvent::Launching {
            runner: lane.name().clone(),
            attempt: attempt.id.clone(),
            pull_policy: attempt.pull_policy,
        });
        Ok(())
    }

    /// Once it is proven that the last attempt never started and never can, because of `error`.
    ///
    /// # Errors
    /// If it is not on record: then no other attempt may be made.
    pub(crate) async fn record_refusal(&self, error: &Error) -> Result<(), Error> {
        self.claim.refused(self.search.attempts, error).await.map_err(unrecorded)?;
        FailPoint::Refused.reach();
        Ok(())
    }

    /// A runner was passed over.
    pub(crate) async fn record_passed_over(&mut self, passed: PassedOver) {
        // For people only; the result says it again.
        self.heed(self.claim.passed_over(&passed).await);
        self.progress.tell(JobEvent::PassedOver(passed.clone()));
        self.search.passed_over.push(passed);
    }

    /// Once an attempt has started, or may have: no other will be made.
    pub(crate) async fn record_start(&self, taken: &Taken) {
        let Found::Started(started) = &taken.found else {
            info!(attempt = %taken.attempt, runner = %taken.lane.name(), "may have started");
            return;
        };
        info!(attempt = %taken.attempt, runner = %taken.lane.name(), "started");
        taken.lane.breaker.launched_well();
        // Without it a recovery asks the runner, which knows.
        let (at, image) = (started.started_at, started.image.as_ref());
        FailPoint::Launched.reach();
        self.heed(self.claim.started(taken.number, at, image).await);
        FailPoint::Started.reach();
        self.progress.tell(JobEvent::Started {
            runner: taken.lane.name().clone(),
            attempt: taken.attempt.clone(),
            started_at: started.started_at,
        });
    }

    /// Once: how the job ended. False if it is not on record: then the attempt must be left where
    /// it is, for a recovery to find.
    pub(crate) async fn record_outcome(&self, result: &JobResult) -> bool {
        info!(attempt = ?result.attempt.as_ref().map(|a| a.as_str()), outcome = %result.outcome, "ended");
        FailPoint::Ended.reach();
        let recorded = self.heed(self.claim.outcome(result).await);
        FailPoint::Outcome.reach();
        self.state.send_replace(State::Known(Arc::new(result.clone())));
        recorded
    }

    /// Nothing of the job is left on any backend.
    pub(crate) async fn record_removal(&self) {
        FailPoint::Removed.reach();
        if self.heed(self.claim.removed().await) && self.forgotten {
            self.heed(self.claim.forget().await);
        }
    }

    /// Whether a step is on record; tells of one that is not and that the job can go on without.
    fn heed(&self, step: Result<(), JournalError>) -> bool {
        let Err(error) = step else { return true };
        let message = Error::from(error).to_string();
        warn!(message, "a step of the job is not on record");
        self.progress.tell(JobEvent::Warning { message });
        false
    }

    /// Last: output and clean-up are done, too.
    pub(crate) fn tell_done(&self) {
        self.state.send_modify(|state| {
            if let State::Known(result) = state {
                *state = State::Done(Arc::clone(result));
            }
        });
    }

    /// The job's result, of an end that no attempt's start is known of.
    pub(crate) fn result(&self, report: Report) -> JobResult {
        let mut result = JobResult::new(self.id.clone(), report.outcome);
        result.attempt.clone_from(&self.search.last_attempt);
        result.passed_over.clone_from(&self.search.passed_over);
        result.started_at = report.started_at;
        result.finished_at = report.finished_at;
        result.image = report.image;
        result.started_again = report.started_again;
        result
    }

    /// The job's result, of an attempt that ran.
    pub(crate) fn result_of(&self, taken: &Taken, report: Report) -> JobResult {
        let mut result = self.result(report);
        result.runner = Some(taken.lane.name().clone());
        result.separate_streams = Some(taken.lane.runner.capabilities().separate_streams);
        if let Found::Started(started) = &taken.found {
            result.started_at = result.started_at.or(started.started_at);
            result.image = result.image.or_else(|| started.image.clone());
        }
        self.complete_image(&mut result, taken);
        result
    }

    /// What a runner cannot know of the image that it ran.
    fn complete_image(&self, result: &mut JobResult, taken: &Taken) {
        let ran = result.started_at.is_some() || matches!(taken.found, Found::Started(_));
        let (Some(report), Some(container)) = (&mut result.image, &self.spec.container) else {
            return;
        };
        // It may have been given a digest in place of the tag.
        report.requested = container.image.to_string();
        let asked_none = match report.pulled {
            Some(pulled) => !pulled,
            // The evidence is gone; it may have been a local copy under any policy but this.
            None => report.policy != PullPolicy::Always,
        };
        // What a digest names does not change, and so is never old.
        report.stale = taken.after_no_answer && ran && asked_none && container.image.is_mutable();
    }
}

/// What the journal failed with. Never a reason to try another runner.
pub(crate) fn unrecorded(error: JournalError) -> Error {
    let error = Error::from(error);
    Error::new(ErrorKind::Internal, error.to_string())
}

//! Records the points of a job that must be in the journal before the next step: the intent before
//! a launch, the launch's result, the job's one outcome, and that nothing of it is left.

use std::sync::Arc;

use longshore_core::{Attempt, Error, Handle, JobResult, PassedOver, PullPolicy, Report};
use longshore_journal::{JournalError, NewAttempt};
use tracing::field::display;
use tracing::{info, warn};

use crate::candidate::Candidate;
use crate::fail_point::FailPoint;
use crate::input::{INTERRUPTED, Input};
use crate::job::State;
use crate::job_event::JobEvent;
use crate::taken::{Found, Taken};
use crate::task::JobTask;
use crate::unrecorded::unrecorded;

impl JobTask {
    /// Records the intent to launch. From then on, the attempt may be on the runner, at `handle`.
    ///
    /// # Errors
    /// If the intent was not recorded: then nothing may be launched.
    pub(crate) async fn record_intent(
        &mut self,
        candidate: &Candidate,
        attempt: &Attempt,
        handle: &Handle,
    ) -> Result<(), Error> {
        let number = self.search.attempts;
        let intent = NewAttempt::new(number, handle.clone(), attempt.pull_policy);
        self.claim.intent(intent).await.map_err(unrecorded)?;
        FailPoint::Intent.reach();
        let (attempt_id, pull_policy) = (&attempt.id, attempt.pull_policy);
        info!(attempt = %attempt_id, runner = %handle.runner, %pull_policy, "launching");
        self.search.last_attempt = Some(attempt.id.clone());
        self.sink.send(JobEvent::Launching {
            runner: candidate.name().clone(),
            attempt: attempt.id.clone(),
            pull_policy: attempt.pull_policy,
        });
        Ok(())
    }

    /// Records that the last attempt provably never started and never can, because of `error`.
    ///
    /// # Errors
    /// If the refusal was not recorded: then no other attempt may be made.
    pub(crate) async fn record_refusal(&self, error: &Error) -> Result<(), Error> {
        self.claim.refused(self.search.attempts, error).await.map_err(unrecorded)?;
        FailPoint::Refused.reach();
        Ok(())
    }

    /// Records that a runner was passed over.
    pub(crate) async fn record_passed_over(&mut self, passed: PassedOver) {
        // Of many reasons of one runner, the last one counts: a job that waits for a runner would
        // collect any number.
        if self.search.again
            && let Some(known) =
                self.search.passed_over.iter_mut().find(|known| known.runner == passed.runner)
        {
            *known = passed;
            return;
        }
        // For people only; the result contains it too.
        self.heed(self.claim.passed_over(&passed).await);
        self.sink.send(JobEvent::PassedOver(passed.clone()));
        self.search.passed_over.push(passed);
    }

    /// Records that an attempt has started, or may have. No other attempt will be made.
    pub(crate) async fn record_start(&self, taken: &Taken) {
        let Found::Started(started) = &taken.found else {
            info!(attempt = %taken.attempt, runner = %taken.candidate.name(), "may have started");
            return;
        };
        let started_at = started.started_at.as_ref().map(display);
        info!(attempt = %taken.attempt, runner = %taken.candidate.name(), started_at, "started");
        taken.candidate.started();
        // Without this record, a recovery asks the runner, which knows.
        let (at, image) = (started.started_at, started.image.as_ref());
        FailPoint::Launched.reach();
        self.heed(self.claim.started(taken.number, at, image).await);
        FailPoint::Started.reach();
        self.sink.send(JobEvent::Started {
            runner: taken.candidate.name().clone(),
            attempt: taken.attempt.clone(),
            started_at: started.started_at,
        });
    }

    /// Records how the job ended. Called once. Returns false if that failed: then the attempt must
    /// stay where it is, for a recovery to find.
    pub(crate) async fn record_outcome(&self, result: &JobResult) -> bool {
        info!(
            attempt = result.attempt.as_ref().map(display),
            runner = result.runner.as_ref().map(display),
            outcome = result.outcome.kind(),
            exit_code = result.outcome.exit_code(),
            reason = %result.outcome,
            "ended"
        );
        FailPoint::Ended.reach();
        let recorded = self.heed(self.claim.outcome(result).await);
        FailPoint::Outcome.reach();
        // Before the result is known, so that those who wait for it find it counted.
        self.sink.announce(&JobEvent::Ended(Box::new(result.clone())));
        self.state.send_replace(State::Known(Arc::new(result.clone())));
        recorded
    }

    /// Records that nothing of the job is left on any backend.
    pub(crate) async fn record_removal(&self) {
        FailPoint::Removed.reach();
        if self.heed(self.claim.removed().await) && self.forgotten {
            self.heed(self.claim.forget().await);
        }
    }

    /// Returns whether a step was recorded. Reports a failure that the job can continue without.
    pub(crate) fn heed(&self, step: Result<(), JournalError>) -> bool {
        let Err(error) = step else { return true };
        let message = Error::from(error).to_string();
        warn!(error = message, "failed to record a step of the job");
        self.sink.send(JobEvent::Warning { message });
        false
    }

    /// Reports that output and clean-up are done too. Called last.
    pub(crate) fn tell_done(&self) {
        self.state.send_modify(|state| {
            if let State::Known(result) = state {
                *state = State::Done(Arc::clone(result));
            }
        });
    }

    /// Returns the result of a job for which no attempt is known to have started.
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

    /// Returns the result of a job whose attempt ran.
    pub(crate) fn result_of(&self, taken: &Taken, report: Report) -> JobResult {
        let mut result = self.result(report);
        result.runner = Some(taken.candidate.name().clone());
        let separates = taken.candidate.runner.capabilities().separate_streams;
        // A terminal is one stream.
        result.separate_streams = Some(separates && !self.spec.tty);
        if let Found::Started(started) = &taken.found {
            result.started_at = result.started_at.or(started.started_at);
            result.image = result.image.or_else(|| started.image.clone());
        }
        if matches!(self.input, Input::Interrupted) {
            result.stdin_error = Some(INTERRUPTED.to_owned());
        }
        self.complete_image(&mut result, taken);
        result
    }

    /// Fills in what a runner cannot know about the image that it ran.
    fn complete_image(&self, result: &mut JobResult, taken: &Taken) {
        let ran = result.started_at.is_some() || matches!(taken.found, Found::Started(_));
        let (Some(report), Some(container)) = (&mut result.image, &self.spec.container) else {
            return;
        };
        // The runner may have been given a digest instead of the tag.
        report.requested = container.image.to_string();
        let asked_none = match report.pulled {
            Some(pulled) => !pulled,
            // The evidence is gone. Under any policy but `Always`, the image may have been a local
            // copy.
            None => report.policy != PullPolicy::Always,
        };
        // A digest always names the same image, so its copy is never stale.
        report.stale = taken.after_no_answer && ran && asked_none && container.image.is_mutable();
    }
}

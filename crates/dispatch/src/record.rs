//! The points of a job's way that must be on record before the next step is taken: the intent
//! before a launch, where it started, its one outcome. Each is one call, so that a durable record
//! has one place to hook in.

use std::sync::Arc;

use longshore_core::{Attempt, Handle, JobResult, PullPolicy, Report};
use tracing::info;

use crate::attempt::{Found, Taken};
use crate::job::{JobEvent, State};
use crate::lane::Lane;
use crate::task::JobTask;

impl JobTask {
    /// Before a launch: from here on the attempt may be on the runner, at `handle`.
    pub(crate) fn record_intent(&mut self, lane: &Lane, attempt: &Attempt, handle: &Handle) {
        info!(attempt = %attempt.id, runner = %handle.runner, policy = %attempt.pull_policy, "launching");
        self.search.last_attempt = Some(attempt.id.clone());
        self.progress.tell(JobEvent::Launching {
            runner: lane.name().clone(),
            attempt: attempt.id.clone(),
            pull_policy: attempt.pull_policy,
        });
    }

    /// Once an attempt has started, or may have: no other will be made.
    pub(crate) fn record_start(&self, taken: &Taken) {
        let Found::Started(started) = &taken.found else {
            info!(attempt = %taken.attempt, runner = %taken.lane.name(), "may have started");
            return;
        };
        info!(attempt = %taken.attempt, runner = %taken.lane.name(), "started");
        taken.lane.breaker.launched_well();
        self.progress.tell(JobEvent::Started {
            runner: taken.lane.name().clone(),
            attempt: taken.attempt.clone(),
            started_at: started.started_at,
        });
    }

    /// Once: how the job ended.
    pub(crate) fn record_outcome(&self, result: &JobResult) {
        info!(attempt = ?result.attempt.as_ref().map(|a| a.as_str()), outcome = %result.outcome, "ended");
        self.state.send_replace(State::Known(Arc::new(result.clone())));
    }

    /// Last: output and clean-up are done, too.
    pub(crate) fn record_done(&self) {
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

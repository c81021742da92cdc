//! Compares what truly happened with what was reported: the promises that every fault must keep.

use std::time::Duration;

use longshore_core::{AttemptId, JobResult, NotRunReason, Outcome, RunnerName};

use super::ledger::{Entry, What};

/// What the submitter of one job observed.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its one result.
    pub result: JobResult,
    /// All of its output, if it was read to its end without a gap.
    pub output: Option<Vec<u8>>,
    /// What its listener heard about its attempts, in words, if it listened to the end.
    pub heard: Option<Vec<String>>,
    /// When it was first cancelled, since the world's beginning, and with which grace period.
    pub cancelled: Option<(Duration, Duration)>,
    /// The runners on which it may run, in order.
    pub order: Vec<RunnerName>,
    /// Whether the backends were unreachable for so long that it may be reported as lost.
    pub may_be_lost: bool,
    /// Whether the backends were unreachable for so long that a finished attempt may remain.
    pub may_be_left: bool,
    /// Whether the dispatcher was killed at some point, together with its unfinished launches.
    pub killed: bool,
}

/// Checks what was `observed` of one job against the ledger.
///
/// - At most one attempt is ever committed or starts. Only the backend starts its program again, and
///   the result then says so.
/// - Another attempt is made only once the previous ones have not started and cannot start.
/// - A job that started is reported with its own outcome and output, and as the attempt that ran.
/// - A job that did not start is not reported as one that did.
/// - `Lost` is reported only if a third party deleted the attempt or removed its marks before the
///   commit, or if the observation allows it.
/// - What a third party changed in an attempt is named.
/// - A cancelled job ends soon after its grace period.
/// - Nothing is left running, nothing that could still start, nothing that is finished.
/// - Only an ended attempt is removed, and only a kill drops an unfinished launch.
/// - A job that no runner took reports a reason for each runner.
///
/// # Errors
/// The first broken promise, in words.
pub fn check(ledger: &[Entry], observed: &Observed) -> Result<(), String> {
    let job = observed.result.job.as_str();
    let entries: Vec<&Entry> = ledger.iter().filter(|e| e.job() == job).collect();
    let story = Story { entries: &entries, observed };
    story.at_most_one_start()?;
    story.no_attempt_beside_an_open_one()?;
    story.only_the_ended_is_removed()?;
    story.the_truth_is_told()?;
    story.second_starts_are_reported()?;
    story.changes_are_named()?;
    story.a_cancel_ends_it()?;
    story.nothing_is_left()
}

/// How long after its grace period a cancelled job may still run. Settling and cancelling may each
/// fail a few times.
const CANCEL: Duration = Duration::from_secs(300);

struct Story<'a> {
    entries: &'a [&'a Entry],
    observed: &'a Observed,
}

impl Story<'_> {
    fn at_most_one_start(&self) -> Result<(), String> {
        match self.started().count() {
            0 | 1 => Ok(()),
            many => Err(format!("it started {many} times")),
        }
    }

    /// The attempts that were committed or started, by Longshore or by a third party.
    fn started(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().copied().filter(|e| begins(e))
    }

    fn has(&self, attempt: &AttemptId, what: fn(&What) -> bool) -> bool {
        self.entries.iter().any(|e| e.attempt == *attempt && what(&e.what))
    }

    /// Whether the attempt lost its marks before it was committed. Nothing then shows whether it
    /// started.
    fn is_unprovable(&self, attempt: &AttemptId) -> bool {
        let of_it = || self.entries.iter().filter(|e| e.attempt == *attempt);
        let committed = of_it().position(|e| matches!(e.what, What::Started | What::Blocked));
        let stripped = of_it().position(|e| e.what == What::MarksLost);
        stripped.is_some_and(|at| committed.is_none_or(|committed| at < committed))
    }

    fn no_attempt_beside_an_open_one(&self) -> Result<(), String> {
        for (i, asked) in self.entries.iter().enumerate() {
            if asked.what != What::LaunchAsked {
                continue;
            }
            let before = &self.entries[..i];
            let asked_before = before.iter().filter(|e| e.what == What::LaunchAsked);
            for other in asked_before {
                if !is_closed(before, other) {
                    return Err(format!(
                        "{} was launched while {} could still start",
                        asked.attempt, other.attempt
                    ));
                }
            }
        }
        Ok(())
    }

    fn only_the_ended_is_removed(&self) -> Result<(), String> {
        let dropped = self.entries.iter().find(|e| e.what == What::LaunchDropped);
        if let Some(dropped) = dropped.filter(|_| !self.observed.killed) {
            return Err(format!(
                "the launch of {} was dropped before it answered",
                dropped.attempt
            ));
        }
        let removed = self.entries.iter().filter(|e| e.what == What::Removed { running: true });
        // A third party may start a job after it was reported as lost.
        let mut removed = removed.filter(|e| !self.has(&e.attempt, |w| *w == What::Released));
        match removed.next() {
            Some(removed) => Err(format!("{} was removed while it ran", removed.attempt)),
            None => Ok(()),
        }
    }

    fn the_truth_is_told(&self) -> Result<(), String> {
        let told = &self.observed.result;
        let ended = self.entries.iter().find_map(|e| match &e.what {
            What::Ended { outcome, output } => Some((e, outcome, output)),
            _ => None,
        });
        let told_of = |cause: &dyn Fn(&AttemptId) -> bool| told.attempt.as_ref().is_some_and(cause);
        let vanished = told_of(&|attempt| self.has(attempt, |w| *w == What::Vanished));
        let unprovable = told_of(&|attempt| self.is_unprovable(attempt));
        match &told.outcome {
            Outcome::Lost { .. } if vanished || unprovable || self.observed.may_be_lost => {
                return Ok(());
            }
            other if vanished && ended.is_none() => {
                return Err(format!("another party deleted it; {other:?} was reported"));
            }
            _ => {}
        }
        match (self.started().next(), ended) {
            (None, _) => self.no_start_is_told(),
            (Some(started), None) => {
                Err(format!("{} still runs, and {:?} was reported", started.attempt, told.outcome))
            }
            (Some(_), Some((entry, outcome, output))) => {
                if told.outcome != *outcome {
                    return Err(format!(
                        "it ended as {outcome:?}; {:?} was reported",
                        told.outcome
                    ));
                }
                if told.attempt.as_ref() != Some(&entry.attempt)
                    || told.runner.as_ref() != Some(&entry.runner)
                {
                    return Err(format!("{} ran; {:?} was reported", entry.attempt, told.attempt));
                }
                match &self.observed.output {
                    Some(read) if read != output => {
                        Err(format!("{} bytes were written, {} read", output.len(), read.len()))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// The end of an attempt shows each second start of its program up to then.
    fn second_starts_are_reported(&self) -> Result<(), String> {
        let told = &self.observed.result;
        let ended = self.entries.iter().position(
            |e| matches!(&e.what, What::Ended { outcome, .. } if *outcome == told.outcome),
        );
        let name = |entry: &&Entry| match &entry.what {
            What::StartedAgain(name) => Some(name.clone()),
            _ => None,
        };
        let until = ended.unwrap_or(self.entries.len());
        let names: Vec<String> = self.entries[..until].iter().filter_map(name).collect();
        let wrong = match ended {
            Some(_) => told.started_again != names,
            None => told.started_again.iter().any(|again| !names.contains(again)),
        };
        if wrong {
            let told = &told.started_again;
            return Err(format!("it started again as {names:?}; {told:?} was reported"));
        }
        Ok(())
    }

    /// A change that does not keep the attempt from its commit is heard by the listener, and one
    /// that does is the reason why the runner was passed over.
    fn changes_are_named(&self) -> Result<(), String> {
        // A killed dispatcher may have heard it and not passed it on.
        if self.observed.killed {
            return Ok(());
        }
        for entry in self.entries {
            let What::Changed(difference) = &entry.what else { continue };
            let passed = self.observed.result.passed_over.iter();
            let passed = passed.filter(|p| p.runner == entry.runner).map(|p| &p.message);
            let named = if self.has(&entry.attempt, |w| matches!(w, What::Refused(_))) {
                passed.clone().count() == 0 || passed.clone().any(|m| m.contains(difference))
            } else {
                let heard = self.observed.heard.as_ref();
                heard.is_none_or(|heard| heard.iter().any(|text| text.contains(difference)))
            };
            if !named {
                return Err(format!("{}: nothing names the change: {difference}", entry.attempt));
            }
        }
        Ok(())
    }

    fn no_start_is_told(&self) -> Result<(), String> {
        let told = &self.observed.result;
        match &told.outcome {
            Outcome::Cancelled { code: None }
            | Outcome::ImageUnavailable { .. }
            | Outcome::Rejected { .. } => Ok(()),
            Outcome::NotRun { reason: NotRunReason::NoRunner, .. } if told.runner.is_none() => {
                let named: Vec<&RunnerName> = told.passed_over.iter().map(|p| &p.runner).collect();
                if named.iter().copied().eq(&self.observed.order) {
                    Ok(())
                } else {
                    Err(format!("no runner accepted it, but only {named:?} were passed over"))
                }
            }
            Outcome::NotRun { .. } => Ok(()),
            other => Err(format!("it never started; {other:?} was reported")),
        }
    }

    fn a_cancel_ends_it(&self) -> Result<(), String> {
        let Some((asked, grace)) = self.observed.cancelled else { return Ok(()) };
        if self.observed.may_be_left {
            return Ok(());
        }
        match self.entries.iter().find(|e| matches!(e.what, What::Ended { .. })) {
            Some(ended) if ended.at > asked + grace + CANCEL => {
                Err(format!("cancelled at {asked:?}, it ran until {:?}", ended.at))
            }
            _ => Ok(()),
        }
    }

    fn nothing_is_left(&self) -> Result<(), String> {
        let lost = matches!(self.observed.result.outcome, Outcome::Lost { .. });
        if lost && self.observed.may_be_lost {
            return Ok(());
        }
        for asked in self.entries.iter().filter(|e| e.what == What::LaunchAsked) {
            let has = |what| self.has(&asked.attempt, what);
            let started = self.started().any(|e| e.attempt == asked.attempt);
            let removed = has(|w| matches!(w, What::Removed { .. } | What::Vanished));
            // Without its marks, Longshore cannot commit it any more.
            let may_stay = self.observed.may_be_left && has(|w| *w == What::MarksLost);
            if !started && !removed && !may_stay && !is_closed(self.entries, asked) {
                return Err(format!("{} could still start after the end", asked.attempt));
            }
            if started && !removed && !self.observed.may_be_left {
                return Err(format!("{} was left behind", asked.attempt));
            }
        }
        Ok(())
    }
}

const fn begins(entry: &Entry) -> bool {
    matches!(entry.what, What::Started | What::Blocked | What::Released)
}

/// Whether, by these entries, the attempt has not started and cannot start.
fn is_closed(entries: &[&Entry], asked: &Entry) -> bool {
    let mut of_it = entries.iter().filter(|e| e.attempt == asked.attempt);
    let has_started = of_it.clone().any(|e| begins(e));
    !has_started && of_it.any(|e| matches!(e.what, What::Refused(_) | What::Fenced))
}

//! What the dispatcher's process does, and its successor after a crash.

use crate::explore::Action;
use crate::flaw::Flaw;
use crate::world::{
    Answer, Ask, Entry, Object, Outcome, Process, Request, Runner, Sender, Step, World,
};

/// How many equal requests may be under way before the process waits for one to arrive or be lost.
const ALIKE: usize = 2;

/// Returns everything that the process can do, or that can happen to it.
pub(crate) fn moves(world: &World, flaw: Option<Flaw>) -> Vec<(Action, World)> {
    let Some(process) = world.process else { return recover(world, flaw) };
    let mut found = vec![(Action::Crash, crash(world))];
    match process.question(flaw) {
        None => {
            let write = Action::Write(process.step);
            found.extend(
                write_down(world, process.step, flaw).into_iter().map(|next| (write, next)),
            );
        }
        Some((to, asks)) if !process.asked => found.extend(ask(world, to, asks)),
        Some(_) => {
            if let Some(answer) = world.answer {
                found.push((Action::Hear(answer), hear(world, process.step, answer, flaw)));
            }
            found.extend(tire(world, process.step, flaw));
        }
    }
    found
}

impl Process {
    /// Returns what the process must ask, and of whom; `None` at a step that writes to the journal.
    fn question(self, flaw: Option<Flaw>) -> Option<(Runner, Ask)> {
        match self.step {
            Step::Prepare(runner) => Some((runner, Ask::Prepare)),
            Step::Commit(runner) => Some((runner, Ask::Commit)),
            Step::Fence(runner) if flaw == Some(Flaw::LooksInsteadOfFencing) => {
                Some((runner, Ask::Look))
            }
            Step::Fence(runner) => Some((runner, Ask::Fence)),
            Step::Follow(runner) => Some((runner, Ask::Look)),
            Step::Remove(runner) => Some((runner, Ask::Remove)),
            Step::Intent(_)
            | Step::Started(_)
            | Step::Refused(_)
            | Step::Outcome(_)
            | Step::Removed => None,
        }
    }
}

fn crash(world: &World) -> World {
    let mut next = world.clone();
    next.process = None;
    next.hang_up(false);
    next
}

/// Another process takes the job up and continues from what is recorded.
fn recover(world: &World, flaw: Option<Flaw>) -> Vec<(Action, World)> {
    if world.is_finished() {
        return Vec::new();
    }
    let forgets = flaw == Some(Flaw::RecoveryForgetsTheOutcome);
    let steps = match world.journal.outcome.filter(|_| !forgets) {
        Some(outcome) => after_outcome(outcome, flaw).into_iter().collect(),
        None => where_it_stopped(world, flaw),
    };
    steps.into_iter().map(|step| (Action::Recover(step), world.at(step))).collect()
}

/// Returns the possible next steps of a job that has no outcome yet.
fn where_it_stopped(world: &World, flaw: Option<Flaw>) -> Vec<Step> {
    let [a, b] = world.journal.attempts;
    let (runner, last) = if b == Entry::Nothing { (Runner::A, a) } else { (Runner::B, b) };
    match last {
        // The job is over, or was submitted again with its key and continues.
        Entry::Nothing => vec![Step::Outcome(Outcome::NotRun), Step::Intent(runner)],
        Entry::Refused => after_refusal(runner),
        Entry::Intent if flaw == Some(Flaw::RecoveryLaunchesAgain) => vec![Step::Prepare(runner)],
        Entry::Intent if flaw == Some(Flaw::RecoveryLeavesAnIntent) => Vec::new(),
        Entry::Intent => vec![Step::Fence(runner)],
        Entry::Started => vec![Step::Follow(runner)],
    }
}

/// The search ends, because of the kind of the refusal or because the job was cancelled, or it
/// continues with the next runner.
fn after_refusal(runner: Runner) -> Vec<Step> {
    let next = (runner == Runner::A).then_some(Step::Intent(Runner::B));
    [Step::Outcome(Outcome::NotRun)].into_iter().chain(next).collect()
}

/// Writes a step. Returns each world that may result.
fn write_down(world: &World, step: Step, flaw: Option<Flaw>) -> Vec<World> {
    let mut next = world.clone();
    let attempts = &mut next.journal.attempts;
    match step {
        Step::Intent(runner) => {
            if flaw != Some(Flaw::WritesNoIntent) {
                attempts[runner as usize] = Entry::Intent;
            }
            vec![next.at(Step::Prepare(runner))]
        }
        Step::Started(runner) => {
            attempts[runner as usize] = Entry::Started;
            // The only step after which a job continues even if the journal fails.
            vec![next.at(Step::Follow(runner)), world.at(Step::Follow(runner))]
        }
        Step::Refused(runner) => {
            attempts[runner as usize] = Entry::Refused;
            after_refusal(runner).into_iter().map(|step| next.at(step)).collect()
        }
        Step::Outcome(outcome) => {
            next.journal.outcome = Some(outcome);
            next.history.outcomes = 2.min(next.history.outcomes + 1);
            vec![next.with(after_outcome(outcome, flaw))]
        }
        Step::Removed => {
            next.journal.removed = true;
            vec![next.with(None)]
        }
        question => unreachable!("{question:?} is not for the journal"),
    }
}

/// Returns what is left to do once the outcome is recorded.
fn after_outcome(outcome: Outcome, flaw: Option<Flaw>) -> Option<Step> {
    match outcome {
        Outcome::Ran(_) if flaw == Some(Flaw::RemovesBeforeTheOutcome) => Some(Step::Removed),
        Outcome::Ran(runner) => Some(Step::Remove(runner)),
        Outcome::NotRun | Outcome::Gone => Some(Step::Removed),
        Outcome::OutOfReach => None,
    }
}

fn ask(world: &World, to: Runner, asks: Ask) -> Option<(Action, World)> {
    let alike = world.wire.iter().filter(|it| it.to == to && it.asks == asks).count();
    if alike >= ALIKE {
        return None;
    }
    let mut next = world.clone();
    next.send(Request { to, asks, sender: Sender::Waits });
    next.history.asked[to as usize] |= matches!(asks, Ask::Prepare | Ask::Commit);
    if let Some(process) = &mut next.process {
        process.asked = true;
    }
    Some((Action::Send(to, asks), next))
}

fn hear(world: &World, step: Step, answer: Answer, flaw: Option<Flaw>) -> World {
    let mut next = world.clone();
    next.answer = None;
    next.at(after_answer(step, answer, flaw))
}

/// Returns the next step after an answer.
fn after_answer(step: Step, answer: Answer, flaw: Option<Flaw>) -> Step {
    match (step, answer) {
        (Step::Prepare(runner), Answer::Prepared) => Step::Commit(runner),
        (Step::Prepare(runner) | Step::Commit(runner), Answer::Refused) => Step::Refused(runner),
        (Step::Prepare(runner) | Step::Commit(runner), Answer::Started) => Step::Started(runner),
        (Step::Commit(runner), Answer::MayHaveStarted) => Step::Fence(runner),
        (Step::Fence(runner), Answer::Fenced) => Step::Refused(runner),
        (Step::Fence(runner), Answer::MayHaveStarted) => Step::Follow(runner),
        (Step::Fence(runner), Answer::Seen(Object::Running | Object::Ended)) => {
            Step::Follow(runner)
        }
        (Step::Fence(runner), Answer::Seen(_)) => Step::Refused(runner),
        (Step::Follow(runner), Answer::Seen(Object::Running)) => Step::Follow(runner),
        (Step::Follow(runner), Answer::Seen(Object::Ended))
            if flaw == Some(Flaw::RemovesBeforeTheOutcome) =>
        {
            Step::Remove(runner)
        }
        (Step::Follow(runner), Answer::Seen(Object::Ended)) => Step::Outcome(Outcome::Ran(runner)),
        (Step::Follow(_), Answer::Seen(_)) => Step::Outcome(Outcome::Gone),
        (Step::Remove(runner), Answer::Removed) if flaw == Some(Flaw::RemovesBeforeTheOutcome) => {
            Step::Outcome(Outcome::Ran(runner))
        }
        (Step::Remove(_), Answer::Removed) => Step::Removed,
        (step, answer) => unreachable!("{answer:?} is no answer to {step:?}"),
    }
}

/// The process stops waiting for an answer. Its request may still take effect.
fn tire(world: &World, step: Step, flaw: Option<Flaw>) -> Vec<(Action, World)> {
    let mut next = world.clone();
    next.hang_up(true);
    let fence = |runner| match flaw {
        Some(Flaw::FallsBackWithoutTheFence) => Step::Refused(runner),
        _ => Step::Fence(runner),
    };
    match step {
        Step::Prepare(runner) => {
            let mut found = vec![(Action::TimeOut, next.clone().at(fence(runner)))];
            if world.answer == Some(Answer::Prepared) {
                // The launch receives the answer that the process did not wait for.
                next.send(Request { to: runner, asks: Ask::Commit, sender: Sender::Gone });
                found.push((Action::LaunchGoesOn, next.at(fence(runner))));
            }
            found
        }
        Step::Commit(runner) => vec![(Action::TimeOut, next.at(fence(runner)))],
        Step::Remove(_) => {
            vec![(Action::GiveUp, next.with(None)), (Action::TimeOut, next.at(step))]
        }
        // An attempt that cannot be settled or found for lostAfter is lost. Before that, the
        // process asks again.
        _ => {
            let lost = next.at(Step::Outcome(Outcome::OutOfReach));
            vec![(Action::TimeOut, next.at(step)), (Action::GiveUp, lost)]
        }
    }
}

impl World {
    fn at(&self, step: Step) -> Self {
        self.with(Some(step))
    }

    /// Returns the same world with the process at `step`, or without a process if `step` is `None`.
    fn with(&self, step: Option<Step>) -> Self {
        let mut next = self.clone();
        next.process = step.map(|step| Process { step, asked: false });
        if let Some(Step::Refused(runner)) = step {
            next.history.never_started[runner as usize] = true;
        }
        next
    }
}

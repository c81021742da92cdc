//! What must hold in every state.

use crate::world::{Object, Outcome, RUNNERS, Runner, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// The job starts once at most, over all runners.
    StartsOnce,
    /// The next runner is asked only when the one before can never start the job any more.
    AsksOnlyAfterProof,
    /// What may still start, or has started, is never reported as never started.
    NeverStartedIsTrue,
    /// One outcome is told at most.
    OneOutcome,
    /// What ended on a backend is never told as gone; what is told to have run has run.
    LosesNothing,
    /// Once it is on record that nothing is left, nothing is left but the mark of a fence.
    LeavesNothing,
    /// Where nothing more fails, all comes to its end, and nobody has to give up.
    ComesToItsEnd,
}

/// The promises that a world breaks.
///
/// Each is about what has happened so far and what has happened stays, so that "can never" is
/// checked, too: if a runner that was asked too late or an attempt reported too early could start
/// after all, there would be a later state in which it did.
pub(crate) fn broken(world: &World) -> Vec<Promise> {
    let starts = RUNNERS.map(|runner| world.starts(runner));
    let never = world.history.never_started;
    let not_run = world.journal.outcome == Some(Outcome::NotRun);
    let untrue = |runner: Runner| world.starts(runner) > 0 && (not_run || never[runner as usize]);
    let lost = match world.journal.outcome {
        Some(Outcome::Gone) => true,
        Some(Outcome::Ran(runner)) => world.starts(runner) == 0,
        Some(Outcome::NotRun | Outcome::OutOfReach) | None => false,
    };
    let is_left = |object| !matches!(object, Object::Absent | Object::Fenced);
    let left = world.journal.removed && world.backends.iter().any(|it| is_left(it.object));
    [
        (Promise::StartsOnce, starts.iter().sum::<u8>() > 1),
        (Promise::AsksOnlyAfterProof, world.history.asked[1] && starts[0] > 0),
        (Promise::NeverStartedIsTrue, RUNNERS.into_iter().any(untrue)),
        (Promise::OneOutcome, world.history.outcomes > 1),
        (Promise::LosesNothing, lost),
        (Promise::LeavesNothing, left),
    ]
    .into_iter()
    .filter_map(|(promise, broken)| broken.then_some(promise))
    .collect()
}
